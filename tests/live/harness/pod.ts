import * as fs from "node:fs";
import * as path from "node:path";
import { eventually } from "./eventually";
import { environmentOf, expanded, type PodFacts } from "./environment";
import { softwareOf } from "../../../rehearsal/software/images";
import { ask, portOf } from "./probe";
import type { Program } from "./program";
import type { Labels } from "./rendered";
import { type ExecOptions, Sandbox } from "./sandbox";
import { Volumes } from "./volumes";

/** Where pods live: what they share, and where they leave their files. */
export interface Site {
  readonly program: Program;
  /** The file that pods see as /etc/hosts. */
  readonly hosts: string;
  /** Gives a pod its network and returns its address. */
  readonly join: (pod: string) => string;
  /** Volumes, roots and claims; gone when the tests end. */
  readonly scratch: string;
  readonly logs: string;
}

/** What a pod is made of. */
export interface PodArgs {
  readonly name: string;
  readonly namespace: string;
  readonly template: any;
  /** volumeClaimTemplates of its StatefulSet. */
  readonly claims?: readonly any[];
}

/** The kinds of probe that a container may have. */
export const PROBES = ["startupProbe", "readinessProbe", "livenessProbe"] as const;
export type ProbeKind = (typeof PROBES)[number];

interface Running {
  readonly container: any;
  readonly sandbox: Sandbox;
}

const SYSTEM_PATH = ["/usr/local/bin", "/usr/bin", "/bin"];

/** A pod of the program: its containers as processes of the real software. */
export class Pod implements PodFacts {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  private readonly spec: any;
  private running: readonly Running[] = [];
  private readonly volumes: Volumes;

  constructor(
    private readonly site: Site,
    private readonly args: PodArgs,
  ) {
    const { name, namespace, template, claims = [] } = args;
    this.name = name;
    this.namespace = namespace;
    this.spec = template.spec;
    this.address = site.join(name);
    const directory = path.join(site.scratch, "volumes", name);
    this.volumes = new Volumes(site.program, directory, this.spec, claims, namespace);
  }

  get labels(): Labels {
    return this.args.template.metadata.labels;
  }

  /** The containers of its template. */
  get containers(): readonly any[] {
    return this.spec.containers;
  }

  /** Runs the init containers one after the other, then starts the others. */
  async start(): Promise<void> {
    for (const container of this.spec.initContainers ?? []) await this.complete(container, 360);
    this.running = await Promise.all(
      this.containers.map(async (container) => ({ container, sandbox: await this.launch(container) })),
    );
  }

  /** As a Job's: runs every container to its end and returns what they wrote; throws with it when one fails. */
  async run(timeoutSeconds: number): Promise<string> {
    const outputs: string[] = [];
    for (const container of [...(this.spec.initContainers ?? []), ...this.containers]) {
      outputs.push(await this.complete(container, timeoutSeconds));
    }
    return outputs.join("");
  }

  /** Waits until every probe of every container has answered; throws when one ends or takes longer than its probes allow. */
  async ready(): Promise<void> {
    for (const { container, sandbox } of this.running) {
      for (const kind of PROBES.filter((one) => one in container)) {
        const { initialDelaySeconds = 0, periodSeconds = 10, failureThreshold = 3 } = container[kind];
        await eventually(
          Number(initialDelaySeconds) + periodSeconds * failureThreshold,
          async () => {
            const fault = await this.fault(kind, container.name);
            if (fault !== undefined) throw new Error(`${this.name}: ${kind}: ${fault}\n${sandbox.tail()}`);
          },
          () => {
            sandbox.assertRunning();
          },
        );
      }
    }
  }

  /** Asks every probe of every container once; what is wrong. */
  async faults(): Promise<string[]> {
    const probes = this.containers.flatMap((container) =>
      PROBES.filter((kind) => kind in container).map((kind) => [kind, container.name] as const),
    );
    const faults = await Promise.all(
      probes.map(async ([kind, container]) => {
        const fault = await this.fault(kind, container);
        return fault === undefined ? [] : [`${this.name}, ${container}, ${kind}: ${fault}`];
      }),
    );
    return faults.flat();
  }

  /** Asks a probe once; what is wrong, or undefined. */
  async fault(kind: ProbeKind, name?: string): Promise<string | undefined> {
    const { container, sandbox } = this.one(name);
    try {
      await ask(container[kind], { address: this.address, container, sandbox });
      return undefined;
    } catch (error) {
      return String(error);
    }
  }

  /** The URL of a named port. */
  url(port: string, route = ""): string {
    const container = this.containers.find(({ ports = [] }) => ports.some(({ name }: any) => name === port));
    if (container === undefined) throw new Error(`${this.name} has no port ${port}`);
    return `http://${this.address}:${portOf(container, port)}${route}`;
  }

  /** Runs a command in a container, the first one unless another is named, and returns its output. */
  exec(command: readonly string[], options: ExecOptions & { container?: string } = {}): Promise<string> {
    return this.one(options.container).sandbox.exec(command, options);
  }

  /** Ends the pod as the kubelet does: preStop, SIGTERM, and SIGKILL when its time is over. */
  async stop(): Promise<void> {
    const { terminationGracePeriodSeconds: grace = 30 } = this.spec;
    const deadline = Date.now() + grace * 1000;
    await Promise.all(
      this.running.map(async ({ container, sandbox }) => {
        const command = container.lifecycle?.preStop?.exec?.command;
        if (command && sandbox.isRunning) {
          await sandbox.exec(command, { timeoutSeconds: grace }).catch(async (error: unknown) => {
            // A hook that waits for the end of its container ends with it.
            await sandbox.exitCode(5).catch(() => {
              throw error;
            });
          });
        }
        await sandbox.stop(Math.max(0, deadline - Date.now()) / 1000);
      }),
    );
  }

  /** Ends the pod as the loss of its node does. */
  kill(): void {
    for (const { sandbox } of this.running) sandbox.kill();
  }

  private one(name = this.containers[0]?.name): Running {
    const found = this.running.find(({ container }) => container.name === name);
    if (found === undefined) throw new Error(`${this.name} runs no container ${name}`);
    return found;
  }

  private async complete(container: any, timeoutSeconds: number): Promise<string> {
    const sandbox = await this.launch(container);
    const code = await sandbox.exitCode(timeoutSeconds);
    if (code !== 0) throw new Error(`${this.name}, ${container.name}: exit code ${code}\n${sandbox.tail()}`);
    return sandbox.output();
  }

  private async launch(container: any): Promise<Sandbox> {
    const { hosts, program, scratch, logs } = this.site;
    const { path: directories, entrypoint = [], user, pieces } = await softwareOf(container.image);
    const env = { PATH: [...directories, ...SYSTEM_PATH].join(":"), ...environmentOf(container, program, this) };
    const command = [...(container.command ?? entrypoint), ...(container.args ?? [])];
    const own = path.join(scratch, "containers", this.name, container.name);
    fs.mkdirSync(own, { recursive: true });
    return Sandbox.start({
      name: `${this.name}, ${container.name}`,
      pod: this.name,
      command: command.map((word) => expanded(word, env)),
      env,
      uid: container.securityContext?.runAsUser ?? this.spec.securityContext.runAsUser,
      ...(user !== undefined && { user }),
      pieces: [...pieces, ...this.volumes.pieces(container)],
      scratch: own,
      log: path.join(logs, `${this.name}.${container.name}.log`),
      hosts,
    });
  }
}
