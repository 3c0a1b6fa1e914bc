import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as http from "node:http";
import * as net from "node:net";
import * as path from "node:path";
import { json } from "node:stream/consumers";
import { parse, stringify } from "yaml";
import { ROOT } from "../../../rehearsal/program/evaluate";
import { ensureVenv } from "../../../rehearsal/software/venvs";
import type { Cluster } from "./cluster";
import { selects } from "./program";

const CLIENT = path.join(__dirname, "laptop-command.cjs");
// What a copy of the repository is made without: made by tools, or other people's.
const LEFT_OUT = ["node_modules", "out", "coverage", ".git", ".charts"];

/**
 * Somebody's laptop: a copy of the repository that may be edited, and a shell. `kubectl` and `npx pulumi up` are played on
 * the cluster of the tests, in the few forms that follow below, and refused in any other; everything else is real.
 */
export class Laptop {
  /** The copy of the repository. */
  readonly repository: string;
  private readonly bin: string;
  private readonly jobs = new Map<string, Promise<string>>();
  private readonly listeners: net.Server[] = [];
  /** How many `kubectl port-forward` listen. */
  forwards = 0;

  private constructor(
    private readonly cluster: Cluster,
    private readonly directory: string,
  ) {
    this.repository = path.join(directory, "repository");
    this.bin = path.join(directory, "bin");
  }

  /** Copies the repository and sets the commands up. */
  static async of(cluster: Cluster): Promise<Laptop> {
    const laptop = new Laptop(cluster, path.join(cluster.scratch, "laptop"));
    const { repository, bin, directory } = laptop;
    fs.rmSync(directory, { recursive: true, force: true });
    for (const made of [bin, path.join(directory, "home")]) fs.mkdirSync(made, { recursive: true });
    fs.cpSync(ROOT, repository, {
      recursive: true,
      filter: (source) => !LEFT_OUT.includes(path.relative(ROOT, source)),
    });
    fs.symlinkSync(fs.realpathSync(path.join(ROOT, "node_modules")), path.join(repository, "node_modules"));
    const socket = path.join(directory, "cluster.sock");
    for (const command of ["kubectl", "npx"]) {
      const script = `#!/bin/sh\nexec "${process.execPath}" "${CLIENT}" "${socket}" ${command} "$@"\n`;
      fs.writeFileSync(path.join(bin, command), script, { mode: 0o755 });
    }
    await laptop.listen(socket);
    return laptop;
  }

  /** Writes a file of the repository. */
  write(file: string, content: string): void {
    const target = path.join(this.repository, file);
    fs.mkdirSync(path.dirname(target), { recursive: true });
    fs.writeFileSync(target, content);
  }

  /** Changes the config of a stack. */
  configure(stack: string, change: (config: any) => void): void {
    const file = path.join(this.repository, `Pulumi.${stack}.yaml`);
    const content = parse(fs.readFileSync(file, "utf8"));
    change(content.config["carbon:platform"]);
    fs.writeFileSync(file, stringify(content));
  }

  /** Opens a shell, which reads one command after the other. */
  async shell(): Promise<Shell> {
    const { directory: venv } = await ensureVenv("ray", () => undefined);
    const env = {
      PATH: [this.bin, path.join(venv, "bin"), "/usr/bin", "/bin"].join(":"),
      HOME: path.join(this.directory, "home"),
      LC_ALL: "C.UTF-8",
    };
    return new Shell(spawn("/bin/bash", ["-s"], { cwd: this.repository, env, stdio: ["pipe", "pipe", "pipe"] }));
  }

  /** Closes every port. */
  close(): void {
    for (const one of this.listeners) one.close();
  }

  private async listen(socket: string): Promise<void> {
    const server = http.createServer((request, response) => {
      void (async () => {
        try {
          const [command = "", ...args] = (await json(request)) as string[];
          response.end(await this.play(command, args));
        } catch (error) {
          response.statusCode = 500;
          response.end(`${String(error)}\n`);
        }
      })();
    });
    this.listeners.push(server);
    await new Promise<void>((resolve) => server.listen(socket, resolve));
  }

  private play(command: string, args: readonly string[]): Promise<string> | string {
    const line = [command, ...args].join(" ");
    for (const [pattern, run] of this.forms) {
      const found = pattern.exec(line);
      if (found !== null) return run(found.groups ?? {});
    }
    throw new Error(`the live tests cannot play this: ${line}`);
  }

  private readonly forms: readonly (readonly [RegExp, (words: Record<string, string>) => Promise<string> | string])[] =
    [
      [
        /^kubectl -n (?<namespace>\S+) port-forward (?<kind>pod|service)\/(?<name>\S+) (?<ports>[\d: ]+)$/,
        ({ kind = "", name = "", ports = "" }) => this.forward(kind, name, ports.split(" ")),
      ],
      [
        /^kubectl -n (?<namespace>\S+) get secret (?<name>\S+) -o jsonpath=\{\.data\.(?<key>\S+)\}$/,
        ({ name = "", key = "" }) =>
          Buffer.from(this.cluster.program.data("Secret", name)[key] ?? "").toString("base64"),
      ],
      [
        /^kubectl -n (?<namespace>\S+) create job (?<job>\S+) --from=cronjob\/(?<name>\S+)$/,
        ({ job = "", name = "" }) => {
          const run = this.cluster.cronJob(name);
          run.catch(() => undefined); // whoever waits for it is told
          this.jobs.set(job, run);
          return `job.batch/${job} created\n`;
        },
      ],
      [
        /^kubectl -n (?<namespace>\S+) wait --for=condition=complete --timeout=\S+ job\/(?<job>\S+)$/,
        async ({ job = "" }) => {
          const run = this.jobs.get(job);
          if (run === undefined) throw new Error(`there is no Job ${job}`);
          await run;
          return `job.batch/${job} condition met\n`;
        },
      ],
      [
        /^npx pulumi up -s (?<stack>\S+) --yes$/,
        async ({ stack = "" }) => {
          const changed = await this.cluster.update(stack, this.repository);
          return changed.map((one) => `~ ${one}\n`).join("");
        },
      ],
    ];

  /** As `kubectl port-forward`: ports of this machine lead to ports of a pod. */
  private async forward(kind: string, name: string, ports: readonly string[]): Promise<string> {
    const address = await this.addressOf(kind, name);
    for (const pair of ports) {
      const [local, remote = local] = pair.split(":").map(Number);
      const server = net.createServer((client) => {
        const pod = net.connect(remote ?? 0, address);
        for (const [from, to] of [
          [client, pod],
          [pod, client],
        ] as const) {
          from.pipe(to);
          from.on("error", () => to.destroy());
        }
      });
      this.listeners.push(server);
      await new Promise<void>((resolve, reject) => server.once("error", reject).listen(local, "127.0.0.1", resolve));
    }
    this.forwards++;
    return `Forwarding ${ports.join(", ")} to ${address}\n`;
  }

  private async addressOf(kind: string, name: string): Promise<string> {
    const { program } = this.cluster;
    const { prometheus, grafana } = program.outputs.monitoring;
    if (prometheus.host.startsWith(`${name}.`)) return (await this.cluster.prometheus()).address;
    // Grafana is in no package registry: its port opens, and nobody is behind it.
    if (grafana.host.startsWith(`${name}.`)) return "127.0.0.1";
    const pods = await this.cluster.pods();
    const pod =
      kind === "pod"
        ? pods.find((one) => one.name === name)
        : pods.find(({ labels }) => selects(program.object(name, "Service")["spec"].selector, labels));
    if (pod === undefined) throw new Error(`${kind}/${name}: no such pod runs`);
    return pod.address;
  }
}

const DONE = "@@done@@";

/** A shell of a laptop. */
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
