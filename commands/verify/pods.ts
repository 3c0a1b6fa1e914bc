import type { V1ContainerStatus, V1Pod } from "@kubernetes/client-node";
import type { Fault, Question } from "./check";
import { type ClusterView, nameOf } from "./cluster";
import type { Expected } from "./expected";

const TOPIC = "pods";
// A kubelet may need a few seconds longer than a pod's grace period.
const GOING_SECONDS = 60;
const DAY_SECONDS = 86_400;

/** Whether pods in the program's namespaces are stuck: where, why, and what to do. `patience` is in seconds. */
export function pods(expected: Expected, cluster: ClusterView, patience: number): Question[] {
  const ours = async () =>
    (await cluster.pods()).filter(({ metadata }) => expected.namespaces.includes(metadata?.namespace ?? ""));
  const question = (name: string, faultsOf: (pod: V1Pod) => Fault[]): Question => ({
    topic: TOPIC,
    name,
    ask: async () => {
      const all = await ours();
      const faults = all.flatMap(faultsOf);
      return { found: faults.length === 0 ? `none of ${all.length} pods` : `${faults.length} of them`, faults };
    },
  });
  return [
    ...KINDS.map(({ name, reasons, next }) =>
      question(name, (pod) =>
        containers(pod)
          .filter(({ state }) => reasons.test(state?.waiting?.reason ?? ""))
          .map((container) => ({ what: waitingText(pod, container), next: next(pod, container.name) })),
      ),
    ),
    question("were killed for their memory within a day", killedForMemory),
    question(`start or are not ready for over ${patience} s`, (pod) => slow(pod, patience)),
    question("have no place on a node", (pod) => unplaced(pod, expected.stack)),
    question("failed or do not go", (pod) => [...failed(pod), ...lingering(pod)]),
  ];
}

/** The kubelet's reasons for a container that does not run, and what to do about each. */
const KINDS: readonly {
  readonly name: string;
  readonly reasons: RegExp;
  readonly next: (pod: V1Pod, container: string) => string;
}[] = [
  {
    name: "crash",
    reasons: /^(CrashLoopBackOff|RunContainerError|StartError|PostStartHookError)$/,
    next: ({ metadata }, container) =>
      `kubectl logs -n ${metadata?.namespace} ${metadata?.name} -c ${container} --previous`,
  },
  {
    name: "have no image",
    reasons:
      /^(ImagePullBackOff|ErrImagePull|ErrImageNeverPull|InvalidImageName|ImageInspectError|RegistryUnavailable)$/,
    next: ({ metadata }) =>
      "see whether the image and its tag exist, and whether the node reaches the registry; a pod that stays after the image " +
      `was corrected: kubectl delete pod -n ${metadata?.namespace} ${metadata?.name}`,
  },
  {
    name: "lack what their containers name",
    reasons: /^(CreateContainerConfigError|CreateContainerError)$/,
    next: () => "create the Secret, ConfigMap or key that the message names: npx pulumi up",
  },
];

function containers({ status }: V1Pod): V1ContainerStatus[] {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

function waitingText(pod: V1Pod, { name, state, lastState, restartCount }: V1ContainerStatus): string {
  const { reason = "", message } = state?.waiting ?? {};
  const ended = lastState?.terminated;
  return [
    `${nameOf(pod)}, container ${name}: ${reason}`,
    ...(message === undefined ? [] : [message]),
    ...(ended === undefined
      ? []
      : [`it ended with ${ended.exitCode} (${[ended.reason, ended.message].filter(Boolean).join(": ")})`]),
    ...(restartCount > 0 ? [`${restartCount} restarts`] : []),
  ].join("; ");
}

/** Containers that were killed and started again: in lists of pods, Kubernetes shows such a pod as Running. */
function killedForMemory(pod: V1Pod): Fault[] {
  return containers(pod).flatMap(({ name, lastState, restartCount }) => {
    const { reason, finishedAt } = lastState?.terminated ?? {};
    if (reason !== "OOMKilled" || finishedAt === undefined || secondsSince(finishedAt) > DAY_SECONDS) return [];
    const declared = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
    const limit = declared.find((one) => one.name === name)?.resources?.limits?.["memory"];
    const what = `${nameOf(pod)}, container ${name}: OOMKilled at its limit of ${limit}; ${restartCount} restarts`;
    return [{ what, next: "raise memoryMiB of its system in the stack file" }];
  });
}

/** A pod that is on a node and not ready after `patience`, for a reason that no other check names. */
function slow(pod: V1Pod, patience: number): Fault[] {
  const { spec, status, metadata } = pod;
  const isReady = condition(pod, "Ready")?.status === "True";
  if (isReady || spec?.nodeName === undefined || metadata?.deletionTimestamp !== undefined) return [];
  if (status?.phase !== "Pending" && status?.phase !== "Running") return [];
  if (containers(pod).some(({ state }) => KINDS.some(({ reasons }) => reasons.test(state?.waiting?.reason ?? "")))) {
    return [];
  }
  const since = condition(pod, "Ready")?.lastTransitionTime ?? metadata?.creationTimestamp ?? new Date();
  const seconds = secondsSince(since);
  if (seconds < patience) return [];
  const next = `kubectl describe pod -n ${metadata?.namespace} ${metadata?.name}`;
  return [{ what: `${nameOf(pod)}, ${stageOf(pod)} for ${seconds} s`, next }];
}

/** What delays a pod's start: `init container wait-for-head: running`, `container mlflow: ContainerCreating`. */
function stageOf(pod: V1Pod): string {
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status ?? {};
  const init = initContainerStatuses.find(({ state }) => state?.terminated?.exitCode !== 0);
  const blocked = init ?? containerStatuses.find(({ ready }) => !ready);
  if (blocked === undefined) return condition(pod, "Ready")?.message ?? "not ready";
  const { waiting, terminated, running } = blocked.state ?? {};
  const state =
    running !== undefined
      ? init === undefined
        ? "runs, but its readiness probe fails"
        : "still runs"
      : [waiting?.reason ?? terminated?.reason ?? "ContainerCreating", waiting?.message ?? terminated?.message]
          .filter(Boolean)
          .join(": ");
  return `${init === undefined ? "container" : "init container"} ${blocked.name}: ${state}`;
}

function secondsSince(time: Date): number {
  return Math.round((Date.now() - new Date(time).getTime()) / 1000);
}

function condition({ status }: V1Pod, type: string) {
  return status?.conditions?.find((one) => one.type === type);
}

function unplaced(pod: V1Pod, stack: string): Fault[] {
  const scheduled = condition(pod, "PodScheduled");
  if (pod.status?.phase !== "Pending" || scheduled?.status !== "False") return [];
  const next = `npm run capacity -- --stack ${stack} says where there is room`;
  return [{ what: `${nameOf(pod)}: ${scheduled.reason}: ${scheduled.message}`, next }];
}

/** Failed pods, except those of Jobs, which have their own check. */
function failed(pod: V1Pod): Fault[] {
  const { metadata, status } = pod;
  if (status?.phase !== "Failed" || metadata?.ownerReferences?.some(({ kind }) => kind === "Job")) return [];
  const why = [status.reason, status.message].filter(Boolean).join(": ") || "a container ended with an error";
  return [{ what: `${nameOf(pod)}: ${why}`, next: `kubectl delete pod -n ${metadata?.namespace} ${metadata?.name}` }];
}

function lingering(pod: V1Pod): Fault[] {
  const { deletionTimestamp, namespace, name } = pod.metadata ?? {};
  if (deletionTimestamp === undefined) return [];
  // The timestamp is the end of the grace period.
  const seconds = secondsSince(deletionTimestamp);
  if (seconds < GOING_SECONDS) return [];
  const next = `see whether node ${pod.spec?.nodeName} is up; kubectl describe pod -n ${namespace} ${name}`;
  return [{ what: `${nameOf(pod)}: should have been gone for ${seconds} s`, next }];
}
