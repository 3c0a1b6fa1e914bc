import * as pulumi from "@pulumi/pulumi";
import { type Endpoint, url } from "../base/endpoint";
import { objectName } from "../base/names";
import type { ContainerSize } from "../base/pod";
import { ScheduledJob } from "../base/scheduled-job";
import type { EnvSecret } from "../base/secret";
import { images } from "../base/versions";

const RAY_UID = 1000;

/** A job on the Ray cluster, by the clock. */
export interface TrainingJob {
  readonly name: string;
  /** When it runs, as five cron fields in UTC. */
  readonly schedule: string;
  /** What Ray runs, word by word. */
  readonly command: readonly string[];
  /** Logical CPUs that it takes on a worker: without any Ray would start it on the head. */
  readonly cpu: number;
  /** How long it may take, in seconds. */
  readonly timeoutSeconds: number;
  /** Where its code lies: a zip in a bucket. */
  readonly code: pulumi.Output<string>;
}

/** Inputs of {@link ServeTraining}. */
export interface ServeTrainingArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly jobs: readonly TrainingJob[];
  /** Dashboard and job API. */
  readonly dashboard: Endpoint<"http">;
  /** The token that the job API demands, as RAY_AUTH_TOKEN. */
  readonly auth: EnvSecret;
  /** Size of the container that submits a job and follows its log. */
  readonly size: ContainerSize;
}

/** Training on the Ray cluster, by the clock: a Kubernetes Job fails when its Ray job does, and shows its log. */
export class ServeTraining extends pulumi.ComponentResource {
  constructor(name: string, args: ServeTrainingArgs, opts?: pulumi.ComponentResourceOptions) {
    super("carbon:ml:ServeTraining", name, {}, opts);
    const { namespace, jobs, dashboard, auth, size } = args;

    for (const job of jobs) {
      new ScheduledJob(
        objectName(job.name),
        {
          namespace,
          image: images.ray,
          size,
          uid: RAY_UID,
          command: [
            "ray",
            "job",
            "submit",
            pulumi.interpolate`--working-dir=${job.code}`,
            `--entrypoint-num-cpus=${job.cpu}`,
            "--",
            // Kubernetes ends what follows the Ray job, not the job itself.
            "timeout",
            `${job.timeoutSeconds}`,
            ...job.command,
          ],
          env: { HOME: "/tmp", RAY_ADDRESS: url(dashboard), RAY_AUTH_MODE: "token" },
          secretEnv: [auth],
          talksTo: [dashboard],
          schedule: job.schedule,
          timeoutSeconds: job.timeoutSeconds,
        },
        { parent: this, dependsOn: [...dashboard.ready] },
      );
    }
    this.registerOutputs();
  }
}
