import type * as pulumi from "@pulumi/pulumi";
import { type Metrics, scrape } from "./scrape";
import { Workload, type WorkloadArgs } from "./workload";

/** Inputs of {@link exporter}. */
export interface ExporterArgs extends Pick<
  WorkloadArgs,
  "namespace" | "image" | "size" | "uid" | "args" | "env" | "secretEnv" | "mounts" | "volumes" | "talksTo"
> {
  readonly port: number;
  /** What answers whether it runs, whatever the server does. */
  readonly healthPath: string;
  readonly by: Metrics;
}

/** Runs a pod that asks a server for its metrics, and has it scraped: for servers that tell Prometheus nothing themselves. */
export function exporter(parent: pulumi.Resource, name: string, args: ExporterArgs): void {
  const { port, healthPath, by, ...pod } = args;
  const { identity } = new Workload(
    name,
    {
      ...pod,
      ports: { metrics: port },
      probe: { kind: "http", path: healthPath, port: "metrics" },
      replicas: 1,
      priorityClass: "standard-services",
    },
    { parent },
  );
  scrape(parent, { pods: identity, port: { name: "metrics", number: port }, by });
}
