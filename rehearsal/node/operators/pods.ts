import * as path from "node:path";
import { charts } from "../../../components/base/versions";
import type { Manifest } from "../../operators/operator";
import type { Evaluation } from "../../program/evaluate";
import { plain } from "../../program/values";
import { versions } from "../../simulation/toolchain";
import type { LocalImage } from "../images";
import { everything, haveRights, rights } from "./rights";
import { built, type WebhookConfiguration } from "./build";

const CNPG_IMAGE = `ghcr.io/cloudnative-pg/cloudnative-pg:${built("cnpg").slice(1)}`;
const WEBHOOK_PORT = 9443;
const CERT_MANAGER_IMAGE = `quay.io/jetstack/cert-manager-controller:${versions.certManager}`;

interface ReleaseInputs {
  readonly namespace: string;
  readonly values: { readonly additionalEnv?: readonly { readonly name: string; readonly value: string }[] };
}

interface Workload extends Manifest {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly object[] } } };
}

/** The images of the operators, of binaries in `bin`, and of cert-manager's. */
export function operatorImages(bin: string, certManager: string): LocalImage[] {
  const program = (name: string, target: string) => ({ kind: "copy", source: path.join(bin, name), target }) as const;
  return [
    { name: CERT_MANAGER_IMAGE, parts: [{ kind: "copy", source: certManager, target: "/cert-manager" }] },
    {
      name: CNPG_IMAGE,
      // It hands its own binary to the instances, by the name of their architecture.
      parts: [
        program("cnpg", "/operator/manager_amd64"),
        { kind: "link", source: "/operator/manager_amd64", target: "/manager" },
      ],
    },
  ];
}

/** Puts operators in the place of what only keeps their pods, with the rights that their charts give them. */
export function withOperators(
  program: Evaluation,
  webhooks: readonly WebhookConfiguration[],
): (release: string, objects: readonly Manifest[]) => Manifest[] {
  const valuesOf = (release: string): ReleaseInputs =>
    plain(
      program.registrations.find((one) => one.type.endsWith(":Release") && one.inputs["name"] === release)?.inputs,
    ) as ReleaseInputs;
  return (release, objects) => {
    const all = objects.map(ended);
    const { namespace, values } = valuesOf(release);
    if (release === "cert-manager") {
      const owner = { namespace, name: "cert-manager" };
      const given = haveRights ? rights(charts.certManager, owner, undefined) : [everything(owner)];
      const running = {
        image: CERT_MANAGER_IMAGE,
        command: ["/cert-manager", "--cluster-resource-namespace=cert-manager"],
      };
      return [...all.map((object) => run(object, "cert-manager", running)), ...given];
    }
    if (release === "cnpg") {
      const running = {
        image: CNPG_IMAGE,
        command: ["/manager"],
        args: ["controller", "--leader-elect", `--webhook-port=${WEBHOOK_PORT}`],
        env: [
          ...(values.additionalEnv ?? []),
          { name: "OPERATOR_NAMESPACE", value: namespace },
          { name: "OPERATOR_IMAGE_NAME", value: CNPG_IMAGE },
        ],
        readinessProbe: { httpGet: { scheme: "HTTPS", path: "/readyz", port: WEBHOOK_PORT } },
        volumeMounts: [{ name: "certificates", mountPath: "/run/secrets/cnpg.io/webhook" }],
      };
      const volumes = [{ name: "certificates", secret: { secretName: "cnpg-webhook-cert", optional: true } }];
      return [
        ...all.map((object) => run(object, "cnpg", running, volumes)),
        ...webhooks.map(({ metadata, webhooks: all, ...kind }) => ({
          ...kind,
          metadata: { name: `cnpg-${metadata.name}` },
          webhooks: all.map(({ clientConfig: { service }, ...webhook }) => ({
            ...webhook,
            clientConfig: { service: { ...service, name: "cnpg-webhook-service", namespace } },
          })),
        })),
      ];
    }
    return all;
  };
}

/** Has the container of a Deployment run a program. */
function run(object: Manifest, name: string, running: object, volumes: readonly object[] = []): Manifest {
  if (object.kind !== "Deployment" || object.metadata.name !== name) return object;
  const deployment = structuredClone(object) as Workload;
  const { spec } = deployment.spec.template;
  Object.assign(spec.containers[0] ?? {}, running);
  return volumes.length > 0 ? withSpec(deployment, { ...spec, volumes }) : deployment;
}

/** A hook's container has nothing to do here, and ends. */
function ended(object: Manifest): Manifest {
  if (object.kind !== "Job") return object;
  const job = object as Workload;
  const { spec } = job.spec.template;
  return withSpec(job, { ...spec, containers: spec.containers.map((one) => ({ ...one, command: ["true"] })) });
}

function withSpec(workload: Workload, spec: object): Manifest {
  return { ...workload, spec: { ...workload.spec, template: { ...workload.spec.template, spec } } };
}
