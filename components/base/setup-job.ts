import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { connect, type Destination } from "./connect";
import { podsNamed } from "./endpoint";
import type { MountedFiles } from "./files";
import { container, type ContainerArgs, type PodArgs, podTemplate, serviceAccount } from "./pod";

/** Inputs of {@link SetupJob}. */
export interface SetupJobArgs extends ContainerArgs, Pick<PodArgs, "scratch" | "volumes"> {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly uid: number;
  readonly talksTo: readonly Destination[];
  /** Volume name to its files; the Job runs again when they change. */
  readonly files?: Readonly<Record<string, MountedFiles>>;
  /** How long all tries together may take, in seconds. @default 600 */
  readonly timeoutSeconds?: number;
}

/**
 * An idempotent Job that prepares something. It runs again when its template changes (image, script, list or login), because a
 * Job's template is immutable and a change replaces the Job.
 */
export class SetupJob extends pulumi.ComponentResource {
  /** The Job; resources that depend on it wait for its success. */
  readonly job: k8s.batch.v1.Job;

  constructor(name: string, args: SetupJobArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:base:SetupJob", name, {}, opts);
    const { namespace, uid, talksTo, secretEnv = [], files = {}, volumes = [], timeoutSeconds = 600 } = args;
    const identity = podsNamed(name, namespace);

    const account = serviceAccount(identity, { parent: this });
    const wires = connect(this, { from: identity, talksTo });
    const template = podTemplate(identity, {
      containers: [container(name, { ...args, mounts: { "/tmp": "tmp", ...args.mounts } })],
      uid,
      priorityClass: "low-priority-batch",
      secretEnv,
      scratch: { tmp: { sizeMiB: 64 }, ...args.scratch },
      files,
      volumes,
      restartPolicy: "OnFailure",
    });
    this.job = new k8s.batch.v1.Job(
      name,
      {
        // A failed Job stays failed: the next `up` must recreate it instead of waiting for it.
        metadata: { name, namespace, annotations: { "pulumi.com/replaceUnready": "true" } },
        spec: { backoffLimit: 6, activeDeadlineSeconds: timeoutSeconds, template },
      },
      {
        parent: this,
        dependsOn: [account, ...wires, ...[...secretEnv, ...Object.values(files)].map((one) => one.resource)],
        deleteBeforeReplace: true,
        // A little longer than the Job's deadline, so that the Job reports why it ended.
        customTimeouts: { create: `${timeoutSeconds + 60}s`, update: `${timeoutSeconds + 60}s` },
      },
    );
    this.registerOutputs();
  }
}
