/** Waits until an object is what it should become, as the official plugin does, or is gone. */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, referenceOf, type ApiServer, type KubeObject, type Reference } from "./api";
import { asText, at, isList, isObject, numberAt, same, textAt, type Properties } from "../../program/values";
import { conditions, parseWaitFor, READY, waiting, type Verdict } from "./wait-for";

/** What a wait needs of its surroundings. */
export interface Waiter {
  readonly api: ApiServer;
  /** Aborted when the engine cancels. */
  readonly cancelled: AbortSignal;
  /** Shows what is waited for. */
  status(message: string): void;
}

/** The object is there, but is not what it should become. */
export class Unready extends Error {
  constructor(
    message: string,
    readonly object: KubeObject,
    /** Each on its own: what is missing, conditions, events. */
    readonly reasons: readonly string[],
  ) {
    super(message);
  }
}

// The official plugin waits 10 s after each change of the endpoints for stragglers; simulated pods are quicker.
const ENDPOINTS_SETTLE_SECONDS = 1;
const DEFAULT_TIMEOUT_SECONDS = 600;
const TIMEOUT_SECONDS: Readonly<Record<string, number>> = {
  "v1/PersistentVolume": 300,
  "v1/PersistentVolumeClaim": 300,
  "v1/ResourceQuota": 60,
};

type Check = (live: KubeObject) => Promise<Verdict> | Verdict;

/** Whether an annotation of ours is "true". */
export function isAnnotated(object: Properties, name: string): boolean {
  return textAt(object, "metadata", "annotations", `pulumi.com/${name}`) === "true";
}

/** Seconds that an operation may take: the resource option, else the annotation, else the default. */
export function timeoutSeconds(object: Properties, customTimeout: number, fallback = DEFAULT_TIMEOUT_SECONDS): number {
  const annotation = Number(textAt(object, "metadata", "annotations", "pulumi.com/timeoutSeconds"));
  return customTimeout > 0 ? customTimeout : annotation > 0 ? annotation : fallback;
}

/** Waits until an object that was just written is ready, and returns how it is then. */
export async function becomeReady(
  waiter: Waiter,
  inputs: Properties,
  live: KubeObject,
  customTimeout: number,
): Promise<KubeObject> {
  const check = readiness(waiter.api, inputs, live);
  if (check === undefined) {
    return live;
  }
  const seconds = timeoutSeconds(inputs, customTimeout, TIMEOUT_SECONDS[kindOf(live)]);
  const reference = referenceOf(live);
  let [last, why] = [live, ""];
  const ready = await within(seconds, waiter.cancelled, async (ended) => {
    const changes = check.polled ? waiter.api.poll(reference, ended) : waiter.api.watch(reference, ended);
    for await (const { object } of changes) {
      last = object ?? last;
      const verdict = object === undefined ? waiting("it was deleted meanwhile") : await check.run(last, ended);
      if (verdict.kind === "ready") {
        waiter.status("");
        return true;
      }
      if (verdict.kind === "failed") {
        throw await unready(waiter.api, `${describe(reference)} failed: ${verdict.why}`, last);
      }
      if (verdict.why !== why) {
        why = verdict.why;
        waiter.status(why);
      }
    }
    return false;
  });
  if (ready) {
    return last;
  }
  const end = waiter.cancelled.aborted
    ? "was waited for no longer, because of an interrupt"
    : `was not ready within ${seconds} s`;
  throw await unready(waiter.api, `${describe(reference)} ${end}: ${why}`, last);
}

/** Runs something that ends with a signal, which comes after some time or with a cancellation. */
async function within<T>(seconds: number, cancelled: AbortSignal, run: (ended: AbortSignal) => Promise<T>): Promise<T> {
  // AbortSignal.any and AbortSignal.timeout would do, but Node 20 may collect them before they fire (nodejs/node#57736).
  const ended = new AbortController();
  const end = (): void => {
    ended.abort();
  };
  const timer = setTimeout(end, seconds * 1000);
  cancelled.addEventListener("abort", end);
  if (cancelled.aborted) {
    end();
  }
  try {
    return await run(ended.signal);
  } finally {
    clearTimeout(timer);
    cancelled.removeEventListener("abort", end);
    end();
  }
}

/** Whether an object is ready right now, for a refresh; undefined when nothing is expected of its kind. */
export async function readyNow(api: ApiServer, inputs: Properties, live: KubeObject): Promise<Unready | undefined> {
  const check = isAnnotated(inputs, "skipAwait")
    ? undefined
    : CHECKED_ON_READ.has(kindOf(live))
      ? standard(api, live)
      : undefined;
  const verdict = (await check?.(live)) ?? READY;
  return verdict.kind === "ready"
    ? undefined
    : unready(api, `${describe(referenceOf(live))} is not ready: ${verdict.why}`, live);
}

/** Waits until an object is gone; one of the same name with another UID is another object. */
export async function becomeGone(
  waiter: Waiter,
  reference: Reference,
  live: KubeObject,
  seconds: number,
): Promise<void> {
  const uid = textAt(live, "metadata", "uid");
  let last = live;
  const gone = await within(seconds, waiter.cancelled, async (ended) => {
    for await (const { object } of waiter.api.watch(reference, ended)) {
      if (object === undefined || (uid !== "" && textAt(object, "metadata", "uid") !== uid)) {
        return true;
      }
      last = object;
    }
    return false;
  });
  if (gone) {
    return;
  }
  const finalizers = at(last, "metadata", "finalizers");
  const why =
    isList(finalizers) && finalizers.length > 0
      ? `its finalizers hold it: ${finalizers.map(asText).join(", ")}`
      : "it is still there";
  const end = waiter.cancelled.aborted
    ? "is being deleted, which an interrupt kept from being waited for"
    : `was not gone within ${seconds} s`;
  throw await unready(waiter.api, `${describe(reference)} ${end}: ${why}`, last);
}

interface Readiness {
  /** It depends on more than the object itself. */
  readonly polled: boolean;
  run(live: KubeObject, signal: AbortSignal): Promise<Verdict> | Verdict;
}

function readiness(api: ApiServer, inputs: Properties, live: KubeObject): Readiness | undefined {
  if (isAnnotated(inputs, "skipAwait")) {
    return undefined;
  }
  const waitFor = textAt(live, "metadata", "annotations", "pulumi.com/waitFor");
  if (waitFor !== "") {
    return { polled: false, run: parseWaitFor(waitFor) };
  }
  const check = standard(api, live);
  if (check === undefined || !needsPods(live)) {
    // A claim waits for its StorageClass too, which may come at the same time.
    return check && { polled: kindOf(live) === "v1/PersistentVolumeClaim", run: check };
  }
  return {
    polled: true,
    run: async (service, signal) => {
      const verdict = await check(service);
      if (verdict.kind !== "ready") {
        return verdict;
      }
      await sleep(ENDPOINTS_SETTLE_SECONDS * 1000, undefined, { signal }).catch(() => undefined);
      return check(service);
    },
  };
}

function standard(api: ApiServer, live: KubeObject): Check | undefined {
  switch (kindOf(live)) {
    case "apps/v1/Deployment":
      return deployment;
    case "apps/v1/StatefulSet":
      return statefulSet;
    case "apps/v1/DaemonSet":
      return daemonSet;
    case "batch/v1/Job":
      return job;
    case "v1/Pod":
      return pod;
    case "v1/Service":
      return (service) => serviceVerdict(api, service);
    case "v1/PersistentVolumeClaim":
      return (claim) => claimVerdict(api, claim);
    case "v1/PersistentVolume":
      return (volume) => phase(volume, ["Available", "Bound"]);
    case "v1/ReplicationController":
      return replicationController;
    case "v1/ResourceQuota":
      return resourceQuota;
    case "v1/Secret":
      return textAt(live, "type") === "kubernetes.io/service-account-token" ? tokenSecret : undefined;
    case "networking.k8s.io/v1/Ingress":
      return (ingress) => (hasAddress(ingress) ? READY : waiting("waiting for an address of the ingress controller"));
    case "apiextensions.k8s.io/v1/CustomResourceDefinition":
      return (definition) =>
        condition(definition, "Established") ? READY : waiting("waiting until it is Established");
    default:
      return undefined;
  }
}

const CHECKED_ON_READ: ReadonlySet<string> = new Set([
  "apps/v1/Deployment",
  "apps/v1/StatefulSet",
  "apps/v1/DaemonSet",
  "batch/v1/Job",
  "v1/Pod",
  "v1/Service",
  "networking.k8s.io/v1/Ingress",
]);

function deployment(live: KubeObject): Verdict {
  const wanted = numberAt(live, "spec", "replicas") ?? 1;
  if (!isObserved(live)) {
    return waiting("waiting for the Deployment controller");
  }
  const updated = count(live, "updatedReplicas");
  const available = count(live, "availableReplicas");
  const rolledOut = conditionReason(live, "Progressing") === "NewReplicaSetAvailable" && condition(live, "Progressing");
  return condition(live, "Available") && rolledOut && updated >= wanted && count(live, "readyReplicas") >= wanted
    ? READY
    : waiting(`${available} of ${wanted} pods available, ${updated} of the new template`);
}

function statefulSet(live: KubeObject): Verdict {
  const wanted = numberAt(live, "spec", "replicas") ?? 1;
  if (!isObserved(live)) {
    return waiting("waiting for the StatefulSet controller");
  }
  const onDelete = textAt(live, "spec", "updateStrategy", "type") === "OnDelete";
  const manual = onDelete && (numberAt(live, "metadata", "generation") ?? 1) > 1;
  const revision = textAt(live, "status", "currentRevision");
  const settled = revision !== "" && revision === textAt(live, "status", "updateRevision");
  const ready = count(live, "replicas") === wanted && count(live, "readyReplicas") === wanted;
  const current = count(live, "currentReplicas") === wanted;
  return ready && (manual || (current && settled))
    ? READY
    : waiting(`${count(live, "readyReplicas")} of ${wanted} pods ready`);
}

function daemonSet(live: KubeObject): Verdict {
  if (!isObserved(live)) {
    return waiting("waiting for the DaemonSet controller");
  }
  const wanted = count(live, "desiredNumberScheduled");
  const reached = ["currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"];
  return reached.every((field) => count(live, field) >= wanted)
    ? READY
    : waiting(`${count(live, "numberAvailable")} of ${wanted} pods available`);
}

function job(live: KubeObject): Verdict {
  const failed = conditions(live).find(
    (entry) => textAt(entry, "type") === "Failed" && textAt(entry, "status") === "True",
  );
  if (failed !== undefined) {
    return { kind: "failed", why: `[${textAt(failed, "reason")}] ${textAt(failed, "message")}` };
  }
  return condition(live, "Complete")
    ? READY
    : waiting(
        `waiting for its pods: ${count(live, "active")} active, ${count(live, "succeeded")} succeeded, ${count(live, "failed")} failed`,
      );
}

function pod(live: KubeObject): Verdict {
  const current = textAt(live, "status", "phase");
  if (current === "Failed") {
    return {
      kind: "failed",
      why: textAt(live, "status", "message") || textAt(live, "status", "reason") || "its containers failed",
    };
  }
  return current === "Succeeded" || condition(live, "Ready")
    ? READY
    : waiting(`the pod is ${current || "new"}, not ready`);
}

function replicationController(live: KubeObject): Verdict {
  const wanted = numberAt(live, "spec", "replicas") ?? 1;
  return count(live, "availableReplicas") === wanted
    ? READY
    : waiting(`${count(live, "availableReplicas")} of ${wanted} pods available`);
}

function resourceQuota(live: KubeObject): Verdict {
  return same(at(live, "spec", "hard"), at(live, "status", "hard"))
    ? READY
    : waiting("waiting for the quota controller");
}

function tokenSecret(live: KubeObject): Verdict {
  return isObject(live["data"]) ? READY : waiting("waiting for the token controller");
}

async function claimVerdict(api: ApiServer, claim: KubeObject): Promise<Verdict> {
  const current = textAt(claim, "status", "phase");
  const name = textAt(claim, "spec", "storageClassName");
  const storageClass =
    current === "Pending" && name !== ""
      ? await api.find({ apiVersion: "storage.k8s.io/v1", kind: "StorageClass", namespace: "", name })
      : undefined;
  return textAt(storageClass, "volumeBindingMode") === "WaitForFirstConsumer" ? READY : phase(claim, ["Bound"]);
}

/** Whether a Service selects pods that traffic is to reach: not when it is headless, an alias or without selector. */
function needsPods(service: KubeObject): boolean {
  const selector = at(service, "spec", "selector");
  return (
    kindOf(service) === "v1/Service" &&
    textAt(service, "spec", "type") !== "ExternalName" &&
    textAt(service, "spec", "clusterIP") !== "None" &&
    isObject(selector) &&
    Object.keys(selector).length > 0
  );
}

async function serviceVerdict(api: ApiServer, service: KubeObject): Promise<Verdict> {
  if (textAt(service, "spec", "type") === "LoadBalancer" && !hasAddress(service)) {
    return waiting("no address was allocated; does the cluster serve Services of type LoadBalancer?");
  }
  if (!needsPods(service)) {
    return READY;
  }
  const endpoints = await api.find({ ...referenceOf(service), kind: "Endpoints" });
  if (endpoints === undefined) {
    return waiting("waiting for the endpoints controller");
  }
  const subsets = at(endpoints, "subsets");
  const pending = isList(subsets) && subsets.some((subset) => at(subset, "notReadyAddresses", 0) !== undefined);
  return pending
    ? waiting("selected pods are not ready, or spec.selector does not match the pods that it should")
    : READY;
}

function hasAddress(live: KubeObject): boolean {
  return at(live, "status", "loadBalancer", "ingress", 0) !== undefined;
}

function phase(live: KubeObject, wanted: readonly string[]): Verdict {
  const current = textAt(live, "status", "phase");
  return wanted.includes(current) ? READY : waiting(`it is ${current || "new"}, not yet ${wanted.join(" or ")}`);
}

function count(live: KubeObject, field: string): number {
  return numberAt(live, "status", field) ?? 0;
}

function condition(live: KubeObject, type: string): boolean {
  return conditions(live).some((entry) => textAt(entry, "type") === type && textAt(entry, "status") === "True");
}

function conditionReason(live: KubeObject, type: string): string {
  return textAt(
    conditions(live).find((entry) => textAt(entry, "type") === type),
    "reason",
  );
}

function isObserved(live: KubeObject): boolean {
  return (numberAt(live, "status", "observedGeneration") ?? -1) >= (numberAt(live, "metadata", "generation") ?? 0);
}

function kindOf(object: Properties): string {
  return `${textAt(object, "apiVersion")}/${textAt(object, "kind")}`;
}

const EVENTS_SHOWN = 5;

async function unready(api: ApiServer, message: string, object: KubeObject): Promise<Unready> {
  const bad = conditions(object).map(
    (entry) =>
      `condition ${textAt(entry, "type")}=${textAt(entry, "status")} [${textAt(entry, "reason")}] ${textAt(entry, "message")}`,
  );
  const reasons = [message, ...bad, ...(await warnings(api, referenceOf(object)))];
  return new Unready(reasons.join("\n  "), object, reasons);
}

/** Warnings about an object and about what it made: a ReplicaSet's and a Pod's name begins with its owner's. */
async function warnings(api: ApiServer, { namespace, name }: Reference): Promise<readonly string[]> {
  const events = await api
    .list({ apiVersion: "v1", kind: "Event", namespace }, { fieldSelector: "type=Warning" })
    // The error that is being reported matters more than its events.
    .catch(() => []);
  const about = events.filter((event) => {
    const subject = textAt(event, "involvedObject", "name");
    return subject === name || subject.startsWith(`${name}-`);
  });
  const lines = about.map(
    (event) =>
      `event ${textAt(event, "reason")} of ${textAt(event, "involvedObject", "kind")} ${textAt(event, "involvedObject", "name")}: ${textAt(event, "message")}`,
  );
  return [...new Set(lines)].slice(-EVENTS_SHOWN);
}
