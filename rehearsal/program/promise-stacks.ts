type Prepare = (error: Error, frames: NodeJS.CallSite[]) => unknown;

const DEBUGGABLE = /[\\/]@pulumi[\\/]pulumi[\\/]runtime[\\/]debuggable\.js$/;
// Undefined if nothing maps stack traces; Node then formats them itself, which is fast.
const global: { prepareStackTrace?: Prepare } = Error;

/**
 * Skips the stack traces that Pulumi records for its promises to report those that never resolve. Mapping them to TypeScript
 * takes more than half the time of running the program under mocks. Other traces are unaffected.
 */
export function sparePromiseStacks(): void {
  const map = global.prepareStackTrace;
  if (map === undefined || map === spared) return;
  const spare: Prepare = (error, frames) => (DEBUGGABLE.test(frames[0]?.getFileName() ?? "") ? "" : map(error, frames));
  spared = spare;
  global.prepareStackTrace = spare;
}

let spared: Prepare | undefined;
