import * as fs from "node:fs";

/** Measures the memory of this process and everything that it started, as the largest sum seen, in MiB. */
export class MemoryMeter {
  private peak = 0;
  private timer: NodeJS.Timeout | undefined;

  start(): void {
    this.timer = setInterval(() => (this.peak = Math.max(this.peak, familyMiB(process.pid))), 1000);
  }

  /** Ends the measurement. Returns null where the system has no /proc to read it from. */
  stop(): number | null {
    clearInterval(this.timer);
    return this.peak === 0 ? null : Math.round(this.peak);
  }
}

function familyMiB(root: number): number {
  const parents = new Map(pids().map((pid) => [pid, parentOf(pid)]));
  const isOurs = (pid: number): boolean => pid === root || (parents.has(pid) && isOurs(parents.get(pid) ?? 0));
  return [...parents.keys()].filter(isOurs).reduce((sum, pid) => sum + residentMiB(pid), 0);
}

function pids(): number[] {
  return fs.existsSync("/proc") ? fs.readdirSync("/proc").map(Number).filter(Boolean) : [];
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
}

// Proportional set size: memory that several processes share counts once in the sum.
function residentMiB(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) / 1024;
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return ""; // the process has ended since it was listed
  }
}
