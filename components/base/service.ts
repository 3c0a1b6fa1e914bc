import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** Options of a Service. */
export interface ServiceOptions {
  /** Headless: a DNS name per pod instead of one address. */
  readonly headless?: boolean;
  /** Whether pods have DNS names before they are ready and while they terminate. */
  readonly unready?: boolean;
  /** Labels besides those of the pods. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Makes a Service of a fixed name for pods, with their labels, that maps each port to the container port of the same name. */
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
      // The pods' workload waits for readiness; waiting for endpoints would add 10 s to every Service.
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
