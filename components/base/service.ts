import * as k8s from "@pulumi/kubernetes";
import type * as pulumi from "@pulumi/pulumi";
import type { PodIdentity } from "./endpoint";

/** Makes a Service of a fixed name that leads to pods, each port to the container port of the same name. It bears their labels. */
export function service(
  name: string,
  { namespace, matchLabels }: PodIdentity,
  ports: Readonly<Record<string, number>>,
  opts: pulumi.CustomResourceOptions,
  {
    headless = false,
    labels = {},
  }: { readonly headless?: boolean; readonly labels?: Readonly<Record<string, string>> } = {},
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
        selector: matchLabels,
        ports: Object.entries(ports).map(([portName, port]) => ({ name: portName, port, targetPort: portName })),
      },
    },
    opts,
  );
}
