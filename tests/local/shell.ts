import type { ChildProcess } from "node:child_process";

const DONE = "@@done@@";

/** A shell that reads one command after the other. */
export class Shell {
  private output = "";

  constructor(private readonly child: ChildProcess) {
    this.child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (this.output += chunk));
    this.child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (this.output += chunk));
    this.child.stdin?.write("set -euo pipefail\n");
  }

  /** Runs lines, and returns what they wrote; rejects with it when one of them fails. */
  run(lines: string): Promise<string> {
    if (this.child.exitCode !== null)
      return Promise.reject(new Error("the shell has ended with the lines before these"));
    const start = this.output.length;
    // Their standard input is empty: the shell's own is where the next lines come from.
    this.child.stdin?.write(`{\n${lines}\n} </dev/null\necho ${DONE}\n`);
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const written = this.output.slice(start);
        if (written.includes(`${DONE}\n`))
          finish(() => {
            resolve(written.replace(`${DONE}\n`, ""));
          });
      };
      const died = (code: number | null): void => {
        finish(() => {
          reject(new Error(`exit code ${code ?? "?"} of:\n${lines}\n${this.output.slice(start)}`));
        });
      };
      const finish = (settle: () => void): void => {
        this.child.stdout?.off("data", look);
        this.child.off("exit", died);
        settle();
      };
      this.child.stdout?.on("data", look);
      this.child.once("exit", died); // not `close`: what it left in the background keeps its output open
    });
  }

  /** Ends it. */
  close(): void {
    this.child.kill("SIGKILL");
  }
}
