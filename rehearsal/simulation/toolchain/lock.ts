import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { identify, isAlive, type ProcessIdentity } from "../processes";

/**
 * Runs `work` while holding a lock file; waits, and says so, while another living process holds it. The lock of a dead
 * process counts for nothing.
 */
export async function withLock<T>(file: string, progress: (line: string) => void, work: () => Promise<T>): Promise<T> {
  const self = identify(process.pid);
  const draft = `${file}.${randomBytes(4).toString("hex")}`; // one process may wait for it twice
  fs.writeFileSync(draft, JSON.stringify(self));
  try {
    for (let told = false; !tryLink(draft, file);) {
      const owner = readOwner(file);
      if (owner && isAlive(owner)) {
        if (!told) progress(`waiting for process ${owner.pid}, which is installing the tools`);
        told = true;
        await sleep(500);
      } else {
        // Renamed and looked at again, because a third process may have taken the lock over since we read it.
        const stale = `${draft}.stale`;
        if (!tryRename(file, stale)) continue;
        const taken = readOwner(stale);
        if (taken && isAlive(taken)) tryLink(stale, file);
        fs.rmSync(stale, { force: true });
      }
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/** A hard link appears with its content or not at all, and never over another. */
function tryLink(from: string, to: string): boolean {
  return unless("EEXIST", () => {
    fs.linkSync(from, to);
  });
}

function tryRename(from: string, to: string): boolean {
  return unless("ENOENT", () => {
    fs.renameSync(from, to);
  });
}

function unless(code: string, act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return false;
    throw error;
  }
}

function readOwner(file: string): ProcessIdentity | undefined {
  let owner: ProcessIdentity | undefined;
  unless("ENOENT", () => {
    owner = JSON.parse(fs.readFileSync(file, "utf8")) as ProcessIdentity;
  });
  return owner;
}
