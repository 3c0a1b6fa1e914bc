import * as pulumi from "@pulumi/pulumi";
import * as debuggable from "@pulumi/pulumi/runtime/debuggable";

/**
 * Spares Pulumi the record that it keeps of its promises, for the language host to name those that never end, and the stack trace
 * of each resource, for the engine to show: with traces mapped to TypeScript line by line, they are more than half the time of
 * running the program under mocks.
 */
export function spareStackTraces(): void {
  Object.assign(debuggable, { debuggablePromise: (promise: Promise<unknown>) => promise });
  Object.assign(pulumi.Resource, { stackTrace: () => [] });
}
