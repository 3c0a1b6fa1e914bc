import type { CoreV1Api, CoreV1Event, V1Pod } from "@kubernetes/client-node";

/** How often the cluster's events are read, in milliseconds. */
const INTERVAL_MS = 1000;
/** How long a pod may be unschedulable before that counts: a volume or a node may be about to appear. */
const PATIENCE_MS = 4000;

/**
 * Watches for permanent failures: a controller that may not create its pods (quota, Pod Security) and pods that fit on no
 * node. Otherwise both would only show as timeouts.
 */
export class FailureWatch {
  private readonly aborted = new AbortController();
  private readonly since = new Map<string, number>();
  private timer: NodeJS.Timeout | undefined;
  private reason: string | undefined;

  constructor(
    private readonly api: CoreV1Api,
    interrupted?: AbortSignal,
  ) {
    interrupted?.throwIfAborted();
    // Not AbortSignal.any: on Node 20 the combined signal may be garbage-collected while in use (nodejs/node#57736).
    interrupted?.addEventListener("abort", () => {
      this.aborted.abort();
    });
  }

  /** Aborts on a permanent failure, or when the user interrupts. */
  get signal(): AbortSignal {
    return this.aborted.signal;
  }

  /** The API server's message about the failure. */
  get failure(): string | undefined {
    return this.reason;
  }

  start(): void {
    const look = async (): Promise<void> => {
      // The API server may be busy for a moment; if it is gone, the engine reports that.
      const found = await this.look().catch(() => undefined);
      if (found === undefined) {
        this.timer = setTimeout(() => void look(), INTERVAL_MS);
        return;
      }
      this.reason = found;
      this.aborted.abort();
    };
    void look();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private async look(): Promise<string | undefined> {
    const [events, pods] = await Promise.all([
      this.api.listEventForAllNamespaces({ fieldSelector: "type=Warning" }),
      this.api.listPodForAllNamespaces({ fieldSelector: "status.phase=Pending" }),
    ]);
    const refused = events.items.find(isRefusal);
    if (refused !== undefined) return describe(refused);

    const unplaced = new Map(pods.items.filter(isUnschedulable).map((pod) => [pod.metadata?.uid ?? "", pod]));
    for (const uid of this.since.keys()) if (!unplaced.has(uid)) this.since.delete(uid);
    const now = Date.now();
    for (const [uid, pod] of unplaced) {
      const first = this.since.get(uid) ?? now;
      this.since.set(uid, first);
      if (now - first < PATIENCE_MS) continue;
      return `FailedScheduling: pod ${pod.metadata?.namespace}/${pod.metadata?.name}: ${unschedulable(pod)?.message}`;
    }
    return undefined;
  }
}

function isRefusal({ reason, message = "" }: CoreV1Event): boolean {
  // A new quota has no status at first; the controller then retries.
  return (
    reason === "FailedCreate" &&
    /exceeded quota|violates PodSecurity|is forbidden/.test(message) &&
    !/status unknown for quota/.test(message)
  );
}

function describe({ reason, message, involvedObject }: CoreV1Event): string {
  return `${reason}: ${involvedObject.kind} ${involvedObject.namespace}/${involvedObject.name}: ${message}`;
}

function unschedulable(pod: V1Pod) {
  return pod.status?.conditions?.find(({ type, reason }) => type === "PodScheduled" && reason === "Unschedulable");
}

function isUnschedulable(pod: V1Pod): boolean {
  return unschedulable(pod) !== undefined;
}
