import { setTimeout as sleep } from "node:timers/promises";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";

const BETWEEN_MS = 200;
const TIMEOUT_MS = 5000;

/** Asks the application once, through its Service, as the gateway does; throws when it is not answered with a prediction. */
export async function predict({ api }: Rehearsal): Promise<void> {
  const { spec } = await api.core.readNamespacedService({ name: "ray-serve", namespace: "data-platform" });
  const answer = await fetch(`http://${spec?.clusterIP}:8000/predict/price-forecast`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ commodity_code: "WTI" }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${answer.status}: ${text}`);
}

/** Asks for one prediction after the other until something is done; returns what went wrong with those that failed. */
export async function failuresDuring(rehearsal: Rehearsal, work: Promise<unknown>): Promise<string[]> {
  const failures: string[] = [];
  const course = { isOver: false };
  const watched = work.finally(() => (course.isOver = true));
  // Before it is awaited: a failure meanwhile must not end the process.
  watched.catch(() => undefined);
  do {
    await predict(rehearsal).catch((error: unknown) => failures.push(String(error)));
    await sleep(BETWEEN_MS);
  } while (!course.isOver);
  await watched;
  return failures;
}
