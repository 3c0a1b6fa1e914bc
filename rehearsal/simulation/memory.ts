import * as fs from "node:fs";

/** Measures the memory of this process and everything that it started, as the largest sum seen, in MiB. */
export class MemoryMeter {
  private peak = 0;
  private resident = 0;
  private timer: NodeJS.Timeout | undefined;

  start(): void {
    this.timer = setInterval(() => {
      this.look();
    }, 1000);
  }

  // What is shared takes the kernel long to count, so it is counted only while the sum with all of it grows.
  private look(): void {
    const family = familyOf(process.pid);
    const resident = family.reduce((sum, { residentKiB }) => sum + residentKiB, 0);
    if (resident <= this.resident) return;
    this.resident = resident;
    const shared = family.reduce((sum, { pid }) => sum + proportionalMiB(pid), 0);
    this.peak = Math.max(this.peak, shared);
  }

  /** Ends the measurement. Returns null where the system has no /proc to read it from. */
  stop(): number | null {
    clearInterval(this.timer);
    return this.peak === 0 ? null : Math.round(this.peak);
  }
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly residentKiB: number;
}

function familyOf(root: number): Process[] {
  const processes = new Map(pids().map((pid) => [pid, processOf(pid)]));
  const isOurs = (pid: number): boolean => {
    const parent = processes.get(pid)?.parent;
    return pid === root || (parent !== undefined && isOurs(parent));
  };
  return [...processes.values()].filter(({ pid }) => isOurs(pid));
}

function pids(): number[] {
  return fs.existsSync("/proc") ? fs.readdirSync("/proc").map(Number).filter(Boolean) : [];
}

function processOf(pid: number): Process {
  const status = read(`/proc/${pid}/status`);
  const number = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  return { pid, parent: number("PPid"), residentKiB: number("VmRSS") };
}

// Proportional set size: memory that several processes share counts once in the sum.
function proportionalMiB(pid: number): number {
  return Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) / 1024;
}

function read(file: string): string {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return ""; // the process has ended since it was listed
  }
}
