import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "./connect";
import { podsNamed } from "./endpoint";
import type { MountedFiles } from "./files";
import { container, type ContainerArgs, podTemplate, serviceAccount } from "./pod";

/** How long a finished Job and its log stay, unless a later one takes its place. */
export const KEPT_SECONDS = 3 * 86400;

/** Inputs of {@link ScheduledJob}. */
export interface ScheduledJobArgs extends ContainerArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly uid: number;
  /** Cron schedule with five fields, in UTC. */
  readonly schedule: string;
  readonly talksTo: readonly Destination[];
  /** Volume name to its files. */
  readonly files?: Readonly<Record<string, MountedFiles>>;
  /** Volumes besides the files. */
  readonly volumes?: readonly k8s.types.input.core.v1.Volume[];
  /** How long one run may take, in seconds. */
  readonly timeoutSeconds: number;
  /** Whether its work goes on elsewhere where its pod is gone, so that another pod would do it twice. @default false */
  readonly worksElsewhere?: boolean;
}

// What a drain, a preemption or a lost node takes away did not fail (alphagov/govuk-helm-charts#4210): another pod begins again.
const TAKEN_AWAY = {
  rules: [
    { action: "Ignore", onPodConditions: [{ type: "DisruptionTarget", status: "True" }] },
    // What containerd says of a container that it does not find again, after a loss of power.
    { action: "Ignore", onExitCodes: { operator: "In", values: [255] } },
  ],
};

/**
 * A Job that runs on a schedule, never concurrently. A failed run is not retried before the next; one whose pod was taken away
 * begins again.
 */
export class ScheduledJob extends pulumi.ComponentResource {
  constructor(name: string, args: ScheduledJobArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:base:ScheduledJob", name, {}, opts);
    const { namespace, uid, schedule, talksTo, secretEnv = [], files = {}, volumes = [], timeoutSeconds } = args;
    const { worksElsewhere = false } = args;
    const identity = podsNamed(name, namespace);

    const account = serviceAccount(identity, { parent: this });
    const wires = connect(this, { from: identity, talksTo });
    const template = podTemplate(identity, {
      containers: [container(name, { ...args, mounts: { "/tmp": "tmp", ...args.mounts } })],
      uid,
      priorityClass: "low-priority-batch",
      secretEnv,
      scratch: { tmp: { sizeMiB: 64 } },
      files,
      volumes,
      restartPolicy: "Never",
    });
    new k8s.batch.v1.CronJob(
      name,
      {
        metadata: { name, namespace, labels: identity.matchLabels },
        spec: {
          schedule,
          timeZone: "Etc/UTC",
          concurrencyPolicy: "Forbid",
          successfulJobsHistoryLimit: 1,
          failedJobsHistoryLimit: 1,
          jobTemplate: {
            spec: {
              backoffLimit: 0,
              ...(!worksElsewhere && { podFailurePolicy: TAKEN_AWAY }),
              activeDeadlineSeconds: timeoutSeconds,
              ttlSecondsAfterFinished: KEPT_SECONDS,
              template,
            },
          },
        },
      },
      {
        parent: this,
        dependsOn: [account, ...wires, ...[...secretEnv, ...Object.values(files)].map((one) => one.resource)],
      },
    );
    this.registerOutputs();
  }
}
