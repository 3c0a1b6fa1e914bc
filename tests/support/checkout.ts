import * as fs from "node:fs";
import * as path from "node:path";
import { parse, stringify } from "yaml";
import { ROOT } from "../../rehearsal/program/evaluate";

// What a copy of the repository is made without: made by tools, or other people's.
const LEFT_OUT = ["node_modules", "out", "coverage", ".git", ".charts"];

/** A copy of the repository that may be edited. */
export class Checkout {
  /** Copies it to a directory, which is replaced. */
  constructor(readonly directory: string) {
    fs.rmSync(directory, { recursive: true, force: true });
    fs.cpSync(ROOT, directory, {
      recursive: true,
      filter: (source) => !LEFT_OUT.includes(path.relative(ROOT, source)),
    });
    fs.symlinkSync(fs.realpathSync(path.join(ROOT, "node_modules")), path.join(directory, "node_modules"));
  }

  /** Writes a file. */
  write(file: string, content: string): void {
    const target = path.join(this.directory, file);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, content);
  }

  /** Changes the config of a stack. */
  configure(stack: string, change: (config: any) => void): void {
    const file = path.join(this.directory, `Pulumi.${stack}.yaml`);
    const content = parse(fs.readFileSync(file, "utf8"));
    change(content.config["carbon:platform"]);
    fs.writeFileSync(file, stringify(content));
  }
}
