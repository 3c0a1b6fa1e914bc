import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** What a Service is besides an entry to pods that are ready. */
export interface ServiceOptions {
  /** A name for each pod instead of one address for all. */
  readonly headless?: boolean;
  /** Whether pods have their names before they are ready, and while they end. */
  readonly unready?: boolean;
  /** Labels besides those of the pods. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Makes a Service of a fixed name that leads to pods, each port to the container port of the same name. It bears their labels. */
export function service(
  name: string,
  { namespace, matchLabels }: PodIdentity,
  ports: Readonly<Record<string, number>>,
  opts: pulumi.CustomResourceOptions,
  { headless = false, unready = false, labels = {} }: ServiceOptions = {},
): k8s.core.v1.Service {
  return new k8s.core.v1.Service(
    name,
    {
      // Whoever runs the pods decides about readiness; waiting for endpoints would add 10 s to every Service.
      metadata: {
        name,
        namespace,
        labels: { ...matchLabels, ...labels },
        annotations: { "pulumi.com/skipAwait": "true" },
      },
      spec: {
        ...(headless && { clusterIP: "None" }),
        ...(unready && { publishNotReadyAddresses: true }),
        selector: matchLabels,
        ports: Object.entries(ports).map(([portName, port]) => ({ name: portName, port, targetPort: portName })),
      },
    },
    opts,
  );
}
