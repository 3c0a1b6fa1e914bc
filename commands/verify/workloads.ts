import type { V1Job, V1OwnerReference, V1Pod } from "@kubernetes/client-node";
import type { PodGroup } from "../../rehearsal/program/demand";
import { isReadyOrDone } from "../../rehearsal/simulation/report";
import type { Answer, Fault, Question } from "./check";
import { type ClusterView, ENDED } from "./cluster";
import { type Expected, type ExpectedObject, title } from "./expected";
import { stillWaitsFor } from "./wait-for";

const TOPIC = "workloads";

/** Whether every workload has its pods, every Job succeeded and every custom resource meets its `waitFor`. */
export function workloads(expected: Expected, cluster: ClusterView): Question[] {
  const { groups, objects, stack } = expected;
  return [
    ...merged(groups.map((group) => ({ ...group, name: group.object }))).map((group) => ({
      topic: TOPIC,
      name: title(group),
      ask: () => asked(group, cluster, stack),
    })),
    ...objects
      .filter(({ waitFor }) => waitFor !== undefined)
      .map((object) => ({ topic: TOPIC, name: `${title(object)}: ready`, ask: () => awaited(object, cluster, stack) })),
  ];
}

/** Merges the groups of a workload with pods of several sizes, such as a RayCluster. */
function merged(groups: readonly PodGroup[]): PodGroup[] {
  const byTitle = new Map<string, PodGroup>();
  for (const group of groups) {
    const known = byTitle.get(title(group));
    byTitle.set(title(group), known === undefined ? group : { ...known, pods: sum(known.pods, group.pods) });
  }
  return [...byTitle.values()];
}

function sum(a: PodGroup["pods"], b: PodGroup["pods"]): PodGroup["pods"] {
  if (a === "each node" || b === "each node") return "each node";
  return { start: a.start + b.start, most: a.most + b.most };
}

function asked(group: PodGroup, cluster: ClusterView, stack: string): Promise<Answer> {
  switch (group.kind) {
    case "Deployment":
      return found(group, cluster.deployments, stack, ({ metadata, spec, status }) => ({
        wanted: spec?.replicas ?? 1,
        ready: status?.readyReplicas ?? 0,
        updated: status?.updatedReplicas ?? 0,
        isSeen: (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0),
        why: status?.conditions?.find(({ type, status: value }) =>
          type === "ReplicaFailure" ? value === "True" : type === "Progressing" && value === "False",
        )?.message,
      }));
    case "StatefulSet":
      return found(group, cluster.statefulSets, stack, ({ metadata, spec, status }) => ({
        wanted: spec?.replicas ?? 1,
        ready: status?.readyReplicas ?? 0,
        // With a partition or OnDelete, people roll out the rest.
        updated: status?.currentRevision === status?.updateRevision ? Infinity : (status?.updatedReplicas ?? 0),
        isSeen: (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0),
      }));
    case "DaemonSet":
      return found(group, cluster.daemonSets, stack, ({ metadata, status }) => ({
        wanted: status?.desiredNumberScheduled ?? 0,
        ready: status?.numberReady ?? 0,
        updated: status?.updatedNumberScheduled ?? 0,
        isSeen: (status?.observedGeneration ?? 0) >= (metadata?.generation ?? 0),
      }));
    case "Job":
      return job(group, cluster, stack);
    case "CronJob":
      return cronJob(group, cluster, stack);
    default:
      return operated(group, cluster, stack);
  }
}

interface Rollout {
  readonly wanted: number;
  readonly ready: number;
  readonly updated: number;
  /** Whether its controller has observed the last change. */
  readonly isSeen: boolean;
  readonly why?: string | undefined;
}

type Named = { readonly metadata?: { readonly namespace?: string; readonly name?: string } };

async function found<T extends Named>(
  group: PodGroup,
  list: () => Promise<T[]>,
  stack: string,
  rollout: (live: T) => Rollout,
): Promise<Answer> {
  const live = (await list()).find((one) => isSame(one, group));
  if (live === undefined) return missing(group, stack);
  const { wanted, ready, updated, isSeen, why } = rollout(live);
  const reason = why === undefined ? "" : `: ${why}`;
  const least = group.pods === "each node" ? 0 : group.pods.start;
  const faults: Fault[] = [];
  if (!isSeen) faults.push({ what: "its controller has not seen the last change", next: "look at kube-system's pods" });
  if (wanted < least) {
    faults.push({
      what: `scaled to ${wanted}, the program wants ${least}`,
      next: `npx pulumi refresh -s ${stack}, then up`,
    });
  }
  if (ready < wanted) faults.push({ what: `${ready} of ${wanted} pods ready${reason}`, next: describeCommand(group) });
  if (updated < wanted)
    faults.push({ what: `${updated} of ${wanted} pods are new${reason}`, next: rolloutCommand(group) });
  return { found: `${ready} of ${wanted} pods ready`, faults };
}

function isSame({ metadata }: Named, { namespace, name }: PodGroup): boolean {
  return metadata?.namespace === namespace && metadata.name === name;
}

function missing({ kind }: Pick<PodGroup, "kind">, stack: string): Answer {
  return { found: "none", faults: [{ what: `there is no such ${kind}`, next: `npx pulumi up -s ${stack}` }] };
}

function describeCommand({ kind, namespace, name }: PodGroup): string {
  return `kubectl describe ${kind.toLowerCase()} -n ${namespace} ${name}`;
}

function rolloutCommand({ kind, namespace, name }: PodGroup): string {
  return `kubectl rollout status -n ${namespace} ${kind.toLowerCase()}/${name}`;
}

async function job(group: PodGroup, cluster: ClusterView, stack: string): Promise<Answer> {
  const live = (await cluster.jobs()).find((one) => isSame(one, group));
  if (live === undefined) return missing(group, stack);
  if ((live.status?.succeeded ?? 0) > 0) return { found: "succeeded" };
  const failed = failureOf(live);
  if (failed !== undefined) {
    const next = `kubectl logs -n ${group.namespace} job/${group.name}, correct it, then npx pulumi up -s ${stack}`;
    return { found: "failed", faults: [{ what: failed, next }] };
  }
  return { found: "under way", faults: [{ what: "it has not ended", next: describeCommand(group) }] };
}

function failureOf({ status }: V1Job): string | undefined {
  const failed = status?.conditions?.find(({ type, status: value }) => type === "Failed" && value === "True");
  return failed && `${failed.reason}: ${failed.message}`;
}

/** Whether a CronJob exists and its last ended Job succeeded. */
async function cronJob(group: PodGroup, cluster: ClusterView, stack: string): Promise<Answer> {
  const [cronJobs, jobs] = await Promise.all([cluster.cronJobs(), cluster.jobs()]);
  const live = cronJobs.find((one) => isSame(one, group));
  if (live === undefined) return missing(group, stack);
  const ended = jobs
    .filter(({ metadata }) => metadata?.ownerReferences?.some(({ uid }) => uid === live.metadata?.uid))
    .filter((one) => (one.status?.succeeded ?? 0) > 0 || failureOf(one) !== undefined)
    .sort((a, b) => started(b) - started(a));
  const [last] = ended;
  if (last === undefined) return { found: live.spec?.suspend === true ? "suspended" : "has not run yet" };
  const failed = failureOf(last);
  if (failed === undefined) return { found: "its last Job succeeded" };
  const name = last.metadata?.name ?? "";
  const next = `kubectl logs -n ${group.namespace} job/${name}`;
  return { found: "its last Job failed", faults: [{ what: `${name}: ${failed}`, next }] };
}

function started({ metadata }: V1Job): number {
  return metadata?.creationTimestamp?.getTime() ?? 0;
}

/** The pods that an operator makes for a custom resource: those whose chain of owners leads to it. */
async function operated(group: PodGroup, cluster: ClusterView, stack: string): Promise<Answer> {
  const pods = (await cluster.pods()).filter(({ metadata }) => metadata?.namespace === group.namespace);
  const owned = await Promise.all(pods.map((pod) => isOwnedBy(pod, group, cluster)));
  const running = pods.filter((pod, index) => owned[index] === true && !ENDED.has(pod.status?.phase ?? ""));
  const ready = running.filter(isReadyOrDone).length;
  const least = group.pods === "each node" ? 0 : group.pods.start;
  const wanted = Math.max(least, running.length);
  if (ready >= wanted) return { found: `${ready} of ${wanted} pods ready` };
  if (running.length > 0) {
    const what = `${ready} of ${wanted} pods ready`;
    return { found: what, faults: [{ what, next: describeCommand(group) }] };
  }
  const next = `npx pulumi up -s ${stack}; if it exists, look at its operator's log`;
  return { found: "no pods", faults: [{ what: `nothing runs for ${title(group)}`, next }] };
}

async function isOwnedBy(pod: V1Pod, { kind, namespace, name }: PodGroup, cluster: ClusterView): Promise<boolean> {
  let owners: V1OwnerReference[] = pod.metadata?.ownerReferences ?? [];
  // Pod, ReplicaSet or StatefulSet, custom resource, and the owner of that.
  for (let depth = 0; depth < 4 && owners.length > 0; depth++) {
    if (owners.some((owner) => owner.kind === kind && owner.name === name)) return true;
    const [owner] = owners;
    if (owner === undefined || owner.kind === "Node") return false;
    const live = await cluster.read({ apiVersion: owner.apiVersion, kind: owner.kind, namespace, name: owner.name });
    owners = live?.metadata?.ownerReferences ?? [];
  }
  return false;
}

async function awaited(object: ExpectedObject, cluster: ClusterView, stack: string): Promise<Answer> {
  const live = await cluster.read(object);
  if (live === undefined) return missing(object, stack);
  const { waitFor = "[]" } = object;
  const why = stillWaitsFor(waitFor, live);
  if (why === undefined) return { found: waitFor };
  const resource = object.kind.toLowerCase();
  const next = `kubectl describe ${resource}.${object.apiVersion.split("/")[0]} -n ${object.namespace} ${object.name}`;
  return { found: "waiting", faults: [{ what: why, next }] };
}
