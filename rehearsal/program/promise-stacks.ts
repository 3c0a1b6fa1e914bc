type Prepare = (error: Error, frames: NodeJS.CallSite[]) => unknown;

const DEBUGGABLE = /[\\/]@pulumi[\\/]pulumi[\\/]runtime[\\/]debuggable\.js$/;
// Undefined where nothing maps stack traces: Node then formats them itself, which is quick.
const global: { prepareStackTrace?: Prepare } = Error;

/**
 * Spares Pulumi the stack trace that it takes of each of its promises, to name those that never end: mapped to TypeScript
 * line by line, they are more than half the time of running the program under mocks. All other traces stay as they are.
 */
export function sparePromiseStacks(): void {
  const map = global.prepareStackTrace;
  if (map === undefined || map === spared) return;
  const spare: Prepare = (error, frames) => (DEBUGGABLE.test(frames[0]?.getFileName() ?? "") ? "" : map(error, frames));
  spared = spare;
  global.prepareStackTrace = spare;
}

let spared: Prepare | undefined;
