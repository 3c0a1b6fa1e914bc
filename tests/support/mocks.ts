import { once } from "node:events";
import { setImmediate, setTimeout } from "node:timers/promises";
import * as pulumi from "@pulumi/pulumi";
import { type Registration, startMockEngine } from "../../rehearsal/program/mock-engine";
import { unwrapped } from "../../rehearsal/program/values";

/** One resource as the engine would have been asked for it. */
export interface Registered extends Omit<Registration, "inputs"> {
  /** Plain inputs; secrets are unwrapped. */
  readonly inputs: any;
}

/** Overrides of what a resource has beside its inputs, by `type` or `type::name`. */
export type Answers = Readonly<Record<string, object>>;

/** Starts a fresh mock engine: records every registration, throws on calls that it does not know. */
export async function mockEngine(answers: Answers = {}, config: Record<string, string> = {}): Promise<Registered[]> {
  const seen: Registered[] = [];
  await startMockEngine({
    stack: "test",
    config,
    answers: (type, name) => ({ ...answers[type], ...answers[`${type}::${name}`] }),
    onRegistration: (registration) => seen.push(registered(registration)),
  });
  return seen;
}

/** A registration as tests look at it. */
export function registered(registration: Registration): Registered {
  return { ...registration, inputs: unwrapped(registration.inputs) };
}

// What an apply throws surfaces as an unhandled rejection, which mocha hands on to whoever listens: without a listener
// a broken program would pass.
const rejections: Error[] = [];
let rejected = new EventTarget();
function onRejection(reason: unknown): void {
  rejections.push(reason instanceof Error ? reason : new Error("rejected", { cause: reason }));
  rejected.dispatchEvent(new Event("rejection"));
}

/** Listens, once: for each file, since mocha's workers remove every listener after each. */
export function watchRejections(): void {
  process.off("unhandledRejection", onRejection).on("unhandledRejection", onRejection);
}

/** Waits until every registration has arrived. Throws what went wrong on the way: what waits for that never arrives. */
export async function settled(): Promise<void> {
  rejected = new EventTarget();
  const fault = (rejections.length > 0 ? Promise.resolve() : once(rejected, "rejection")).then(() =>
    setTimeout(SETTLING_MS),
  );
  await Promise.race([pulumi.runtime.disconnect(), fault]);
  await setImmediate();
  failOnRejections();
}

// Long enough for everything that does not depend on the fault, so that a test may look at what was registered.
const SETTLING_MS = 50;

/** Throws the first fault since the last call. */
export function failOnRejections(): void {
  const [first] = rejections.splice(0);
  if (first !== undefined) throw first;
}

/** The value behind an Output. */
export function valueOf<T>(output: pulumi.Input<T>): Promise<pulumi.Unwrap<T>> {
  return new Promise((resolve) => {
    pulumi.output(output).apply((value) => {
      resolve(value);
    });
  });
}

/** All of a type. */
export function all(seen: readonly Registered[], type: string): Registered[] {
  return seen.filter((one) => one.type === type);
}

/** The one of a type, or of a type and name. */
export function only(seen: readonly Registered[], type: string, name?: string): Registered {
  const found = all(seen, type).filter((one) => name === undefined || one.name === name);
  const [one] = found;
  if (one === undefined || found.length > 1) {
    const names = all(seen, type).map((registered) => registered.name);
    throw new Error(
      `${found.length} instead of one ${type} ${name ?? ""}: ${names.join(", ") || "none is registered"}`,
    );
  }
  return one;
}

/**
 * Whether one resource is made only after another stands: directly or through what is in between. A child waits for its
 * component, and a component for what it depends on.
 */
export function waitsFor(seen: readonly Registered[], later: Registered, earlier: Registered): boolean {
  const byUrn = new Map(seen.map((one) => [one.urn, one]));
  const visited = new Set<string>();
  const open = [later];
  for (let one = open.pop(); one !== undefined; one = open.pop()) {
    for (const urn of [...one.dependencies, one.parent, one.provider.replace(/::[^:]*$/, "")]) {
      if (urn === earlier.urn) return true;
      const next = byUrn.get(urn);
      if (next !== undefined && !visited.has(urn)) {
        visited.add(urn);
        open.push(next);
      }
    }
  }
  return false;
}
