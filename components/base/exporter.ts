import type * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "./connect";
import { deployment } from "./deployment";
import { podsNamed } from "./endpoint";
import { container, type ContainerArgs, type PodArgs, podTemplate, serviceAccount } from "./pod";
import { type Metrics, scrape } from "./scrape";

/** Inputs of {@link exporter}. */
export interface ExporterArgs
  extends
    Pick<ContainerArgs, "image" | "size" | "args" | "env" | "secretEnv" | "mounts">,
    Pick<PodArgs, "uid" | "volumes"> {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly port: number;
  /** What answers whether it runs, whatever the server does. */
  readonly healthPath: string;
  readonly talksTo: readonly Destination[];
  readonly by: Metrics;
}

/** Runs a pod that asks a server for its metrics, and has it scraped: for servers that tell Prometheus nothing themselves. */
export function exporter(parent: pulumi.Resource, name: string, args: ExporterArgs): void {
  const { namespace, uid, port, healthPath, talksTo, by, secretEnv = [], volumes = [] } = args;
  const pods = podsNamed(name, namespace);
  const account = serviceAccount(pods, { parent });
  const wires = connect(parent, { from: pods, talksTo });
  deployment(
    pods,
    {
      replicas: 1,
      // Two at a time would tell of two servers.
      strategy: { type: "Recreate" },
      template: podTemplate(pods, {
        containers: [
          container(name, {
            ...args,
            ports: { metrics: port },
            probe: { kind: "http", path: healthPath, port: "metrics", liveness: { kind: "tcp", port: "metrics" } },
          }),
        ],
        uid,
        priorityClass: "standard-services",
        secretEnv,
        volumes,
      }),
    },
    { parent, dependsOn: [account, ...wires, ...secretEnv.map(({ resource }) => resource)] },
  );
  scrape(parent, { pods, port: { name: "metrics", number: port }, by });
}
