import * as path from "node:path";
import type { Manifest } from "../../operators/operator";
import type { Evaluation } from "../../program/evaluate";
import { plain } from "../../program/values";
import type { LocalImage } from "../images";
import { built, type WebhookConfiguration } from "./build";
import { certManager, certManagerImage } from "./cert-manager";
import { metricsServer } from "./metrics-server";
import { monitoring, type ServerVersions } from "./monitoring";
import { ended, type Release, run } from "./stand-in";

const CNPG_IMAGE = `ghcr.io/cloudnative-pg/cloudnative-pg:${built("cnpg").slice(1)}`;
const WEBHOOK_PORT = 9443;

interface ReleaseInputs {
  readonly namespace: string;
  readonly values: {
    readonly additionalEnv?: readonly { readonly name: string; readonly value: string }[];
    readonly webhook?: { readonly validating: { readonly failurePolicy: string } };
  };
}

/** The images of the operators, of binaries in `bin`, and of cert-manager's. */
export function operatorImages(bin: string, certManagerBinary: string): LocalImage[] {
  const program = (name: string, target: string) => ({ kind: "copy", source: path.join(bin, name), target }) as const;
  return [
    certManagerImage(certManagerBinary),
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
  versions: ServerVersions,
): (release: string, objects: readonly Manifest[]) => Manifest[] {
  const valuesOf = (release: string): ReleaseInputs =>
    plain(
      program.registrations.find((one) => one.type.endsWith(":Release") && one.inputs["name"] === release)?.inputs,
    ) as ReleaseInputs;
  return (name, standIn) => {
    const objects = standIn.map(ended);
    const release = { ...valuesOf(name), objects };
    switch (name) {
      case "cert-manager":
        return certManager(release);
      case "cnpg":
        return cnpg(release, webhooks);
      case "kube-prometheus-stack":
        return monitoring(release, versions);
      case "metrics-server":
        return metricsServer(release);
      default:
        return objects;
    }
  };
}

function cnpg(
  { namespace, values, objects }: Release & ReleaseInputs,
  webhooks: readonly WebhookConfiguration[],
): Manifest[] {
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
    ...objects.map((object) => (isDeployment(object, "cnpg") ? run(object, running, { volumes }) : object)),
    ...webhooks.map(({ metadata, webhooks: all, ...kind }) => ({
      ...kind,
      metadata: { name: `cnpg-${metadata.name}` },
      webhooks: all.map(({ clientConfig: { service }, ...webhook }) => ({
        ...webhook,
        ...values.webhook?.validating,
        clientConfig: { service: { ...service, name: "cnpg-webhook-service", namespace } },
      })),
    })),
  ];
}

function isDeployment({ kind, metadata }: Manifest, name: string): boolean {
  return kind === "Deployment" && metadata.name === name;
}
