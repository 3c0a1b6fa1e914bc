const DEBUGGABLE = /[\\/]@pulumi[\\/]pulumi[\\/]runtime[\\/]debuggable\.js$/;

/**
 * Spares Pulumi the stack traces that it takes of each of its promises, to name those that never end: mapped to TypeScript
 * line by line, they are half the time of running the program under mocks. All other stack traces stay as they are.
 */
export function sparePromiseStacks(): void {
  const { prepareStackTrace: prepare } = Error;
  if (prepare === undefined || prepare === spared) return;
  mapped = prepare;
  Error.prepareStackTrace = spared;
}

let mapped: typeof Error.prepareStackTrace;

function spared(error: Error, frames: NodeJS.CallSite[]): unknown {
  if (DEBUGGABLE.test(frames[0]?.getFileName() ?? "")) return "";
  return mapped?.(error, frames);
}
