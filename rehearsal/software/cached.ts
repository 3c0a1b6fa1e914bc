import * as fs from "node:fs";
import * as path from "node:path";
import { cacheDirectory } from "../simulation/toolchain";
import { withLock } from "../simulation/toolchain/lock";

/** Finds a directory of the cache, or has it filled with what is fetched: it appears there whole or not at all. */
export async function cached(
  name: string,
  what: string,
  progress: (line: string) => void,
  fill: (directory: string) => void,
): Promise<string> {
  const directory = path.join(cacheDirectory(), name);
  if (fs.existsSync(directory)) return directory;
  fs.mkdirSync(path.dirname(directory), { recursive: true });
  await withLock(`${directory}.lock`, progress, () => {
    if (!fs.existsSync(directory)) {
      progress(`fetching ${what}`);
      const unfinished = `${directory}.unfinished`;
      fs.rmSync(unfinished, { recursive: true, force: true });
      fs.mkdirSync(unfinished);
      fill(unfinished);
      fs.renameSync(unfinished, directory);
    }
    return Promise.resolve();
  });
  return directory;
}
