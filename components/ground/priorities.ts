import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import type { PriorityClassName } from "../base/pod";

const PRIORITIES: Readonly<Record<PriorityClassName, { value: number; description: string }>> = {
  "critical-services": { value: 1000, description: "Operators and what owns data" },
  "standard-services": { value: 500, description: "Services that answer users" },
  "low-priority-batch": { value: 100, description: "Jobs and Ray workers: the first to give way" },
};

/** The PriorityClasses, one of which every workload uses. */
export class Priorities extends pulumi.ComponentResource {
  /** Resolves once all of them exist. */
  readonly ready: pulumi.Output<unknown>;

  constructor(name: string, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ground:Priorities", name, {}, opts);
    const classes = Object.entries(PRIORITIES).map(
      ([className, { value, description }]) =>
        new k8s.scheduling.v1.PriorityClass(
          className,
          { metadata: { name: className }, value, description, globalDefault: className === "standard-services" },
          { parent: this },
        ),
    );
    this.ready = pulumi.all(classes.map((one) => one.id));
    this.registerOutputs();
  }
}
