import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const root = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-tests-"));
process.once("exit", () => {
  fs.rmSync(root, { recursive: true, force: true });
});

/** A new directory that goes when the tests end. */
export function temporaryDirectory(): string {
  return fs.mkdtempSync(path.join(root, "directory-"));
}
