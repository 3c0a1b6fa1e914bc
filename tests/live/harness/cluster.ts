import * as fs from "node:fs";
import * as path from "node:path";
import { isDeepStrictEqual } from "node:util";
import { ROOT } from "../../../rehearsal/program/evaluate";
import type { PlatformConfig } from "../../../stacks/config/schema";
import { Kafka } from "./kafka";
import { Network } from "./network";
import { Pod, type Site } from "./pod";
import { Postgres } from "./postgres";
import { portOf } from "./probe";
import { Prometheus, type Scraped } from "./prometheus";
import { Program, selects } from "./program";
import type { Rendered } from "./rendered";

/** Where logs and metrics stay for those who want to read them. */
export const OUT = path.join(ROOT, "out", "live");

const WORKLOADS = ["StatefulSet", "Deployment"];

/** A stack's workloads as processes: each is started when a test first asks for it. */
export class Cluster implements Site {
  readonly scratch = scratchDirectory();
  readonly hosts = path.join(this.scratch, "hosts");
  readonly logs = path.join(OUT, "logs");
  private readonly network: Network;
  private readonly started = new Map<string, Promise<Pod>>();
  private readonly servers = new Map<string, Promise<Postgres>>();
  private readonly brokers = new Map<string, Promise<Kafka>>();
  private monitoring: Prometheus | undefined;
  private readonly ran = new Map<string, Promise<string>>();
  private readonly done = new Map<string, Promise<void>>();

  private constructor(private rendered: Program) {
    fs.rmSync(OUT, { recursive: true, force: true });
    fs.mkdirSync(this.logs, { recursive: true });
    fs.chmodSync(this.scratch, 0o755); // pods with other users lie in it
    this.network = new Network(rendered.config.cluster.podCidr, this.hosts);
  }

  /** Renders a stack and makes the network; starts nothing. */
  static async of(stack: string): Promise<Cluster> {
    return new Cluster(await Program.render(stack));
  }

  /** What the program renders; an {@link update} changes it. */
  get program(): Program {
    return this.rendered;
  }

  /**
   * As `pulumi up` from another copy of the repository: runs Jobs that have changed, starts pods anew whose template has.
   * Returns what that was.
   */
  update(stack: string, repository: string): Promise<string[]> {
    return this.become(`evaluating ${stack}`, (before) => before.again(stack, repository));
  }

  /** The same with other values in the stack's file, which replace its own. */
  reconfigure(stack: string, values: Partial<PlatformConfig>): Promise<string[]> {
    return this.become(`evaluating ${stack}`, (before) => before.with(stack, values));
  }

  private async become(what: string, render: (before: Program) => Promise<Program>): Promise<string[]> {
    const before = this.rendered;
    this.rendered = await this.timed(what, () => render(before));
    const changed = (kind: string): string[] =>
      this.rendered
        .all(kind)
        .filter((object) => !isDeepStrictEqual(object["spec"], before.find(object)?.["spec"]))
        .map(({ metadata }) => metadata.name);
    const [jobs, workloads] = [changed("Job"), WORKLOADS.flatMap(changed)];
    // In the order of the program, which is that of what needs what.
    for (const name of jobs) await this.job(name, { again: true });
    const restarted = (await this.pods()).filter(({ name }) => workloads.includes(name.replace(/-\d+$/, "")));
    for (const pod of restarted) {
      await this.stop(pod);
      await this.pod(pod.name.replace(/-\d+$/, ""), Number(/\d+$/.exec(pod.name)?.[0]));
    }
    return [...jobs, ...restarted.map(({ name }) => name)];
  }

  /** A ready pod of a Deployment or a StatefulSet. */
  pod(workload: string, ordinal = 0): Promise<Pod> {
    const name = `${workload}-${ordinal}`;
    return once(this.started, name, async () => {
      const { metadata, spec } = this.program.object(workload, ...WORKLOADS);
      const { template, volumeClaimTemplates: claims = [] } = spec;
      const pod = new Pod(this, { name, namespace: metadata.namespace, template, claims });
      await this.timed(`starting ${name}`, async () => {
        this.network.publish(pod.address, [...namesOf(name, metadata.namespace, spec.serviceName), name]);
        await pod.start();
        await pod.ready();
      });
      this.publish(pod);
      return pod;
    });
  }

  /** The server of a PostgreSQL Cluster, with its roles and databases. */
  postgres(name = "postgres"): Promise<Postgres> {
    return once(this.servers, name, async () => {
      const server = await this.timed(`starting ${name}`, () => Postgres.start(this, name));
      const { metadata } = this.program.object(name, "Cluster");
      this.serve(`${name}-rw`, metadata.namespace, server.address);
      return server;
    });
  }

  /** The broker of a Kafka cluster, with its topics and users. */
  kafka(name = "kafka"): Promise<Kafka> {
    return once(this.brokers, name, async () => {
      const { metadata } = this.program.object(name, "Kafka");
      const broker = await this.timed(`starting ${name}`, () =>
        Kafka.start(this, name, (pod, address) => {
          // Its certificate has these names, by which it also finds itself.
          this.network.publish(address, namesOf(pod, metadata.namespace, `${name}-kafka-brokers`));
        }),
      );
      this.serve(`${name}-kafka-bootstrap`, metadata.namespace, broker.address);
      return broker;
    });
  }

  /** A Prometheus that watches the pods as they are now, and others. */
  async prometheus(others: readonly Scraped[] = []): Promise<Prometheus> {
    if (this.monitoring === undefined) {
      this.monitoring = new Prometheus(this);
      // The chart makes its Service: the program knows where it is.
      const [service = "", namespace = ""] = this.program.outputs.monitoring.prometheus.host.split(".");
      this.serve(service, namespace, this.monitoring.address);
    }
    await this.monitoring.watch([...(await this.pods()), ...others]);
    return this.monitoring;
  }

  /**
   * Runs a Job to its end and returns its log: once for all tests, or `again`, as the kubelet starts a container again that
   * failed: what the first run left in its emptyDirs is there.
   */
  job(name: string, { again = false } = {}): Promise<string> {
    if (again) this.ran.delete(name);
    return once(this.ran, name, () => this.run(name, this.program.object(name, "Job")));
  }

  /** Runs a CronJob once, now, and returns its log. */
  cronJob(name: string): Promise<string> {
    const { metadata, spec } = this.program.object(name, "CronJob");
    return this.run(name, { ...spec.jobTemplate, metadata });
  }

  /** Does what several tests need first, once for all of them. */
  once(what: string, work: () => Promise<void>): Promise<void> {
    return once(this.done, what, work);
  }

  /** The pods that were started and not stopped; of one that failed to start its own test says why. */
  async pods(): Promise<Pod[]> {
    const all = await Promise.allSettled(this.started.values());
    return all.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  }

  /** Ends a pod, in its own way or at once; a later {@link pod} starts it again, with the claims that it had. */
  async stop(pod: Pod, { atOnce = false } = {}): Promise<void> {
    this.started.delete(pod.name);
    this.network.withdraw(pod.address);
    if (atOnce) pod.kill();
    else await this.timed(`stopping ${pod.name}`, () => pod.stop());
  }

  /** Ends every pod. */
  async close(): Promise<void> {
    for (const pod of await this.pods()) pod.kill();
  }

  /** Has the names of a Service lead to the tests themselves, who play what is behind it; returns the address to listen on. */
  play(service: string, namespace: string): string {
    this.serve(service, namespace, this.network.own);
    return this.network.own;
  }

  /** The address of the tests, who may play what does not run. */
  get own(): string {
    return this.network.own;
  }

  /** The address of a Service whose pods were started; that of the tests where nobody is behind it. */
  addressOf(service: string, namespace: string): string {
    return this.network.find(hostOf(service, namespace)) ?? this.own;
  }

  /** Has names outside the cluster lead to an address. */
  publishHosts(address: string, names: readonly string[]): void {
    this.network.publish(address, names);
  }

  join(pod: string): string {
    return this.network.join(pod);
  }

  /** Gives an address the names of a Service, and those of its aliases. */
  serve(service: string, namespace: string, address: string): void {
    const whole = hostOf(service, namespace);
    this.network.publish(address, [service, `${service}.${namespace}`, `${service}.${namespace}.svc`, whole]);
    const aliases = this.program.all("Service").filter(({ spec }) => spec.externalName === whole);
    for (const { metadata } of aliases) this.serve(metadata.name, metadata.namespace, address);
  }

  private publish(pod: Pod): void {
    const services = this.program.all("Service").filter(({ metadata, spec }) => {
      const isSelecting = spec.selector !== undefined && metadata.namespace === pod.namespace;
      return isSelecting && selects(spec.selector, pod.labels);
    });
    for (const { metadata, spec } of services) {
      for (const { port, targetPort } of spec.ports) {
        const container = pod.containers.find(({ ports = [] }) =>
          ports.some((one: any) => one.name === targetPort || one.containerPort === targetPort),
        );
        // Names lead to pods here, without the translation of ports that a Service may bring.
        if (container === undefined || portOf(container, targetPort) !== port) {
          throw new Error(
            `Service ${metadata.name}: port ${port} leads to ${targetPort} of ${pod.name}, which is another`,
          );
        }
      }
      this.serve(metadata.name, metadata.namespace, pod.address);
    }
  }

  private async run(name: string, { metadata, spec }: Rendered): Promise<string> {
    const pod = new Pod(this, { name, namespace: metadata.namespace, template: spec.template });
    return this.timed(`running ${name}`, () => pod.run(spec.activeDeadlineSeconds ?? 600));
  }

  private async timed<T>(what: string, work: () => Promise<T>): Promise<T> {
    const started = Date.now();
    const result = await work();
    console.log(`    ${what}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
    return result;
  }
}

/** What a pod of a StatefulSet is called besides its own name; the kubelet writes the whole name first. */
function namesOf(pod: string, namespace: string, service?: string): string[] {
  return service === undefined
    ? []
    : [`${pod}.${hostOf(service, namespace)}`, `${pod}.${service}.${namespace}.svc`, `${pod}.${service}`];
}

function hostOf(service: string, namespace: string): string {
  return `${service}.${namespace}.svc.cluster.local`;
}

/** Made by the command that also makes the namespaces: without those nothing may be mounted here. */
function scratchDirectory(): string {
  const directory = process.env["CARBON_LIVE_SCRATCH"];
  if (directory === undefined)
    throw new Error("live tests run in namespaces of their own; start them with `npm run test:live`");
  return directory;
}

let shared: Promise<Cluster> | undefined;

/** The cluster of this run: the stack dev, with everything that earlier tests have started. */
export function theCluster(): Promise<Cluster> {
  shared ??= Cluster.of("dev");
  return shared;
}

/** Ends the cluster of this run, if there was one. */
export async function closeCluster(): Promise<void> {
  await (await shared)?.close();
}

function once<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const promise = known.get(key) ?? make();
  known.set(key, promise);
  return promise;
}
