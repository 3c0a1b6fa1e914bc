import * as pulumi from "@pulumi/pulumi";
import * as debuggable from "@pulumi/pulumi/runtime/debuggable";

type Debuggable = (promise: Promise<unknown>, context: unknown) => Promise<unknown>;

let areSpared = false;

/**
 * Spares Pulumi the stack trace that it takes of each of its promises, to name those that never end, and of each resource,
 * for the engine to show: mapped to TypeScript line by line, they are more than half the time of running the program under
 * mocks. All other traces stay as they are.
 */
export function spareStackTraces(): void {
  if (areSpared) return;
  areSpared = true;
  const { debuggablePromise } = debuggable as unknown as { debuggablePromise: Debuggable };
  const withoutTrace: Debuggable = (promise, context) => {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      return debuggablePromise(promise, context);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  };
  Object.assign(debuggable, { debuggablePromise: withoutTrace });
  Object.assign(pulumi.Resource, { stackTrace: () => [] });
}
