import * as fs from "node:fs";
import * as path from "node:path";

const ROOT = path.join(__dirname, "..", "..");

/** The TypeScript files of folders, as paths from the repository's root. */
export function sources(...folders: string[]): string[] {
  return folders.flatMap((folder) =>
    fs
      .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts"))
      .map((file) => path.posix.join(folder, file)),
  );
}

/** The text of a file of the repository. */
export function read(file: string): string {
  return fs.readFileSync(path.join(ROOT, file), "utf8");
}
