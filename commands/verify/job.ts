import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { V1CronJob, V1Job } from "@kubernetes/client-node";
import { REHEARSAL_ANNOTATION } from "../../rehearsal/simulation/cluster";
import { type HttpAnswer, TEMPLATE } from "./answers";
import { unanswered, Unanswered } from "./check";
import type { ClusterView } from "./cluster";

const NAMESPACE = "data-platform";
const INTERVAL_MS = 1000;
// Longer than the Job's own deadline, so that the Job reports why it ended.
const MARGIN_SECONDS = 30;
// The log is a few kilobytes; a kubelet that has not sent it by then never will.
const LOG_SECONDS = 15;

/**
 * Asks from inside the cluster: creates a Job from the suspended CronJob `verify`, waits for its end, reads its answers and
 * deletes it. A verification writes nothing else.
 */
export async function askInside(cluster: ClusterView, progress: (line: string) => void): Promise<HttpAnswer[]> {
  const template = await cluster.read({
    apiVersion: "batch/v1",
    kind: "CronJob",
    namespace: NAMESPACE,
    name: TEMPLATE,
  });
  if (template === undefined) {
    throw new Unanswered(
      `there is no CronJob ${NAMESPACE}/${TEMPLATE}, the template of the Job that asks`,
      "npx pulumi up",
    );
  }
  const job = jobOf(template);
  const name = job.metadata?.name ?? "";
  await cluster.batch.createNamespacedJob({ namespace: NAMESPACE, body: job });
  try {
    await ended(cluster, name, job.spec?.activeDeadlineSeconds ?? 0, progress);
    return parseAnswers(await logOf(cluster, name));
  } finally {
    await cluster.batch
      .deleteNamespacedJob({ namespace: NAMESPACE, name, propagationPolicy: "Background" })
      .catch((error: unknown) => {
        // Its TTL deletes it ten minutes after its end.
        progress(`Job ${NAMESPACE}/${name} could not be deleted: ${unanswered(error).message}`);
      });
  }
}

/** The same Job as from `kubectl create job --from=cronjob/verify`. */
function jobOf({ metadata, spec }: V1CronJob): V1Job {
  const { name = "", uid = "" } = metadata ?? {};
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: `${name}-${randomBytes(4).toString("hex")}`,
      namespace: NAMESPACE,
      annotations: { "cronjob.kubernetes.io/instantiate": "manual" },
      ownerReferences: [{ apiVersion: "batch/v1", kind: "CronJob", name, uid, controller: true }],
    },
    ...(spec?.jobTemplate.spec && { spec: spec.jobTemplate.spec }),
  };
}

/** Waits until the Job has ended, and reports the state of its pod. */
async function ended(
  cluster: ClusterView,
  name: string,
  deadlineSeconds: number,
  progress: (line: string) => void,
): Promise<void> {
  const deadline = Date.now() + (deadlineSeconds + MARGIN_SECONDS) * 1000;
  let shown = "";
  let state = "no pod yet";
  while (Date.now() < deadline) {
    const { status } = await cluster.batch.readNamespacedJob({ namespace: NAMESPACE, name });
    if ((status?.succeeded ?? 0) > 0) return;
    const failed = status?.conditions?.find(({ type, status: value }) => type === "Failed" && value === "True");
    if (failed !== undefined) {
      throw new Unanswered(`Job ${name} failed: ${failed.reason}: ${failed.message}; its pod: ${state}`, NEXT);
    }
    const refusal = await refusalOf(cluster, name);
    if (refusal !== undefined) throw new Unanswered(`Job ${name} gets no pod: ${refusal}`, NEXT);
    state = await podState(cluster, name);
    if (state !== shown) progress(`asking from inside the cluster: ${state}`);
    shown = state;
    await sleep(INTERVAL_MS);
  }
  throw new Unanswered(`Job ${name} has not ended within its deadline; its pod: ${state}`, NEXT);
}

const NEXT = `kubectl create job -n ${NAMESPACE} --from=cronjob/${TEMPLATE} ask-by-hand, and kubectl describe it`;

async function podsOf(cluster: ClusterView, job: string) {
  const { items } = await cluster.core.listNamespacedPod({
    namespace: NAMESPACE,
    labelSelector: `batch.kubernetes.io/job-name=${job}`,
  });
  return items;
}

/** Why the Job's controller may not create its pod, such as a quota; waiting would not help. */
async function refusalOf(cluster: ClusterView, job: string): Promise<string | undefined> {
  const { items } = await cluster.core.listNamespacedEvent({
    namespace: NAMESPACE,
    fieldSelector: `involvedObject.kind=Job,involvedObject.name=${job},reason=FailedCreate`,
  });
  return items[0]?.message;
}

async function podState(cluster: ClusterView, job: string): Promise<string> {
  const [pod] = await podsOf(cluster, job);
  if (pod === undefined) return "no pod yet";
  const unplaced = pod.status?.conditions?.find(({ type, status }) => type === "PodScheduled" && status === "False");
  if (unplaced !== undefined) return `${unplaced.reason}: ${unplaced.message}`;
  const { waiting } = pod.status?.containerStatuses?.[0]?.state ?? {};
  return waiting === undefined ? `${pod.status?.phase}` : [waiting.reason, waiting.message].filter(Boolean).join(": ");
}

async function logOf(cluster: ClusterView, job: string): Promise<string> {
  const kubeSystem = (await cluster.namespaces()).find(({ metadata }) => metadata?.name === "kube-system");
  if (kubeSystem?.metadata?.annotations?.[REHEARSAL_ANNOTATION] === "true") {
    throw new Unanswered("this cluster is a rehearsal: its containers do not run", "ask a cluster that runs them");
  }
  const [pod] = await podsOf(cluster, job);
  const name = pod?.metadata?.name ?? "";
  const late = sleep(LOG_SECONDS * 1000, undefined, { ref: false }).then(() => {
    const what = `the log of pod ${NAMESPACE}/${name} did not come within ${LOG_SECONDS} s`;
    throw new Unanswered(what, `check that the API server reaches the kubelet of node ${pod?.spec?.nodeName}`);
  });
  return Promise.race([cluster.core.readNamespacedPodLog({ namespace: NAMESPACE, name }), late]);
}

/** The answers in a pod's log: its last line of JSON, possibly among Python's warnings. */
export function parseAnswers(log: string): HttpAnswer[] {
  const line = log
    .split("\n")
    .reverse()
    .find((one) => one.startsWith('{"answers": '));
  if (line === undefined) {
    const end = log.trim().split("\n").slice(-3).join(" ").slice(-300);
    throw new Unanswered(`the Job's log holds no answers; it ends with: ${end || "nothing"}`, NEXT);
  }
  return (JSON.parse(line) as { answers: HttpAnswer[] }).answers;
}
