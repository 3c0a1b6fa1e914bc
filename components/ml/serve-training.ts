import * as pulumi from "@pulumi/pulumi";
import { type Endpoint, url } from "../base/endpoint";
import { objectName } from "../base/names";
import type { ContainerSize, RayResources } from "../base/pod";
import { ScheduledJob } from "../base/scheduled-job";
import type { EnvSecret } from "../base/secret";
import { images } from "../base/versions";

const RAY_UID = 1000;

/** A scheduled job on the Ray cluster. */
export interface TrainingJob {
  readonly name: string;
  /** Cron schedule with five fields, in UTC. */
  readonly schedule: string;
  /** Command that Ray runs. */
  readonly command: readonly string[];
  /** What Ray reserves for it; without a CPU Ray would start it on the head. */
  readonly resources: RayResources;
  /** How long it may take, in seconds. */
  readonly timeoutSeconds: number;
  /** Python packages that are installed for it, each with its version. */
  readonly packages: readonly string[];
  /** URL of its code, a zip in a bucket. */
  readonly code: pulumi.Output<string>;
}

/** Inputs of {@link ServeTraining}. */
export interface ServeTrainingArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly jobs: readonly TrainingJob[];
  /** Dashboard and job API. */
  readonly dashboard: Endpoint<"http">;
  /** The job API's token, as RAY_AUTH_TOKEN. */
  readonly auth: EnvSecret;
  /** Size of the container that submits a job and follows its log. */
  readonly size: ContainerSize;
}

/** Scheduled training on the Ray cluster: a Kubernetes Job shows its Ray job's log and fails with it. */
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
            ...(job.packages.length > 0 ? [`--runtime-env-json=${JSON.stringify({ pip: job.packages })}`] : []),
            ...entrypointFlags(job.resources),
            "--",
            // Kubernetes only stops following the Ray job; the job itself continues.
            "timeout",
            `${job.timeoutSeconds}`,
            ...job.command,
          ],
          env: { HOME: "/tmp", RAY_ADDRESS: url(dashboard), RAY_AUTH_MODE: "token" },
          secretEnv: [auth],
          talksTo: [dashboard],
          schedule: job.schedule,
          timeoutSeconds: job.timeoutSeconds,
          worksElsewhere: true,
        },
        { parent: this },
      );
    }
    this.registerOutputs();
  }
}

function entrypointFlags({ cpu, gpus, memoryMiB, labels }: RayResources): string[] {
  return [
    `--entrypoint-num-cpus=${cpu}`,
    ...(gpus === undefined ? [] : [`--entrypoint-num-gpus=${gpus}`]),
    ...(memoryMiB === undefined ? [] : [`--entrypoint-memory=${memoryMiB * 1024 ** 2}`]),
    ...(labels === undefined ? [] : [`--entrypoint-label-selector=${JSON.stringify(labels)}`]),
  ];
}
