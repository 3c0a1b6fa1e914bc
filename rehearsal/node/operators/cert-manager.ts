import { charts } from "../../../components/base/versions";
import type { Manifest } from "../../operators/operator";
import { versions } from "../../simulation/toolchain";
import type { LocalImage } from "../images";
import { rights } from "./rights";
import { type Release, run } from "./stand-in";

const NAME = "cert-manager";
const WEBHOOK = `${NAME}-webhook`;
const CHECK = `${NAME}-startupapicheck`;
const WEBHOOK_CA = `${WEBHOOK}-ca`;
const HEALTH_PORT = 6080;
const IMAGE = `quay.io/jetstack/cert-manager-controller:${versions.certManager}`;
const POD_NAMESPACE = { name: "POD_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } };
const ADMISSION = "admissionregistration.k8s.io/v1";
const RBAC = "rbac.authorization.k8s.io";

/** The image of all of cert-manager's programs, which are one binary here. */
export function certManagerImage(binary: string): LocalImage {
  return { name: IMAGE, parts: [{ kind: "copy", source: binary, target: "/cert-manager" }] };
}

/** The release of cert-manager with the real programs, as its chart starts them and with the rights that it gives. */
export function certManager({ namespace, objects }: Release): Manifest[] {
  return [
    ...objects.map((object) => {
      switch (`${object.kind} ${object.metadata.name}`) {
        case `Deployment ${NAME}`:
          return program(object, [
            "controller",
            "--cluster-resource-namespace=cert-manager",
            "--metrics-listen-address=:9402",
          ]);
        case `Deployment ${NAME}-cainjector`:
          return program(object, ["cainjector"]);
        case `Deployment ${WEBHOOK}`:
          return program(object, ["webhook", ...webhookArgs(namespace)], WEBHOOK_CONTAINER, TEMPORARY);
        case `Job ${CHECK}`:
          return program(object, ["startupapicheck"], { env: [POD_NAMESPACE] });
        default:
          return object;
      }
    }),
    ...[NAME, `${NAME}-cainjector`, WEBHOOK].flatMap((name) => rights(charts.certManager, { namespace, name })),
    ...within(namespace, WEBHOOK, [
      {
        ...{ apiGroups: [""], resources: ["secrets"], resourceNames: [WEBHOOK_CA] },
        verbs: ["get", "list", "watch", "update"],
      },
      { apiGroups: [""], resources: ["secrets"], verbs: ["create"] },
    ]),
    ...within(namespace, CHECK, [
      { apiGroups: ["cert-manager.io"], resources: ["certificaterequests"], verbs: ["create"] },
    ]),
    ...configurations(namespace),
  ];
}

function program(object: Manifest, command: readonly string[], container: object = {}, pod: object = {}): Manifest {
  return run(object, { image: IMAGE, command: ["/cert-manager", ...command], ...container }, pod);
}

function webhookArgs(namespace: string): string[] {
  const names = [WEBHOOK, `${WEBHOOK}.${namespace}`, `${WEBHOOK}.${namespace}.svc`];
  return [
    `--dynamic-serving-ca-secret-namespace=${namespace}`,
    `--dynamic-serving-ca-secret-name=${WEBHOOK_CA}`,
    ...names.map((name) => `--dynamic-serving-dns-names=${name}`),
  ];
}

const WEBHOOK_CONTAINER = {
  readinessProbe: { httpGet: { path: "/healthz", port: HEALTH_PORT }, initialDelaySeconds: 5, periodSeconds: 5 },
  volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
};
const TEMPORARY = { volumes: [{ name: "tmp", emptyDir: {} }] };

/** Rights in its own namespace. */
function within(namespace: string, name: string, rules: readonly object[]): Manifest[] {
  const metadata = { name, namespace };
  const subjects = [{ kind: "ServiceAccount", name, namespace }];
  return [
    { apiVersion: `${RBAC}/v1`, kind: "Role", metadata, rules },
    {
      apiVersion: `${RBAC}/v1`,
      kind: "RoleBinding",
      metadata,
      roleRef: { apiGroup: RBAC, kind: "Role", name },
      subjects,
    },
  ];
}

function configurations(namespace: string): Manifest[] {
  const metadata = {
    name: WEBHOOK,
    annotations: { "cert-manager.io/inject-ca-from-secret": `${namespace}/${WEBHOOK_CA}` },
  };
  const webhook = (path: string, rule: object): object => ({
    name: "webhook.cert-manager.io",
    rules: [{ apiVersions: ["v1"], ...rule }],
    clientConfig: { service: { name: WEBHOOK, namespace, path } },
    ...{ admissionReviewVersions: ["v1"], failurePolicy: "Fail", sideEffects: "None", timeoutSeconds: 30 },
  });
  const requests = { apiGroups: ["cert-manager.io"], operations: ["CREATE"], resources: ["certificaterequests"] };
  const all = {
    apiGroups: ["cert-manager.io", "acme.cert-manager.io"],
    ...{ operations: ["CREATE", "UPDATE"], resources: ["*/*"] },
  };
  return [
    { apiVersion: ADMISSION, kind: "MutatingWebhookConfiguration", metadata, webhooks: [webhook("/mutate", requests)] },
    { apiVersion: ADMISSION, kind: "ValidatingWebhookConfiguration", metadata, webhooks: [webhook("/validate", all)] },
  ];
}
