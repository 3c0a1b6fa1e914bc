import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as pulumi from "@pulumi/pulumi";
import type { PlatformOutputs } from "../../stacks/contract/outputs";
import { evaluateStack } from "../program/charts";
import { ROOT, stackConfig } from "../program/evaluate";
import { identify, isAlive, type ProcessIdentity } from "../simulation/processes";
import { cacheDirectory } from "../simulation/toolchain";
import { NAMESPACES } from "./isolated";
import { removeRemains } from "./node";
import type { Forward, Said } from "./resident";
import { addressOf, prepareSite } from "./site";

/** A stack on a node of this machine, as people reach it. */
export interface Local extends ProcessIdentity {
  /** File for a shell, in which `kubectl` and `npx pulumi` then work on it. */
  readonly envFile: string;
  /** URL of each service on this machine, by what it is. */
  readonly urls: Readonly<Record<string, string>>;
}

const FILE = "local.json";
const LOG = "local.log";
// What it takes the kernel to end some hundred processes.
const SECONDS_TO_END = 30;

/** The stack that runs here; undefined when there is none. */
export function findLocal(): Local | undefined {
  const file = path.join(directory(), FILE);
  if (!fs.existsSync(file)) return undefined;
  const local = JSON.parse(fs.readFileSync(file, "utf8")) as Local;
  return isAlive(local) ? local : undefined;
}

/** Brings a stack up on a node of this machine, and leaves it there. Throws when it does not come up; nothing is left then. */
export async function startLocal(
  stack: string,
  progress: (line: string) => void,
  interrupted: AbortSignal,
): Promise<Local> {
  const { outputs } = await evaluateStack(stack);
  await prepareSite(stack, progress); // here is a network, inside there is none
  interrupted.throwIfAborted();
  const config = stackConfig(stack);
  const servers = new Map<net.Server, Forward>();
  const listen = async (host: string, wanted: number): Promise<number> => {
    const server = await listening(wanted);
    servers.set(server, { host, port: wanted });
    return (server.address() as net.AddressInfo).port;
  };
  const apiServerPort = await listen(addressOf(config), config.cluster.apiServer.port);
  const urls: Record<string, string> = {};
  for (const [what, { host, port: wanted }] of Object.entries(shown(outputs as PlatformOutputs))) {
    urls[what] = `http://localhost:${await listen(host, wanted)}`;
  }
  const child = startResident(stack, apiServerPort);
  try {
    for (const [server, forward] of servers) child.send(forward, server);
    const envFile = await ready(child, progress, interrupted);
    fs.rmSync(envLink(), { force: true });
    fs.symlinkSync(envFile, envLink());
    const local = { ...(identify(child.pid ?? 0) ?? { pid: 0, started: "" }), envFile: envLink(), urls };
    fs.writeFileSync(path.join(directory(), FILE), JSON.stringify(local));
    return local;
  } catch (error) {
    await end(child.pid ?? 0);
    throw error;
  } finally {
    for (const server of servers.keys()) server.close();
    if (child.connected) child.disconnect();
    child.unref();
  }
}

/** Ends the stack that runs here, with its data; says whether there was one. */
export async function endLocal(): Promise<boolean> {
  const local = findLocal();
  if (local !== undefined) await end(local.pid);
  return local !== undefined;
}

/** The kernel ends everything in the namespaces with the process that made them. */
async function end(pid: number): Promise<void> {
  const owner = identify(pid);
  if (owner !== undefined) process.kill(pid, "SIGKILL");
  const deadline = Date.now() + SECONDS_TO_END * 1000;
  while (!removeRemains() && owner !== undefined && Date.now() < deadline) await sleep(100);
  for (const file of [path.join(directory(), FILE), envLink()]) fs.rmSync(file, { force: true });
}

function startResident(stack: string, apiServerPort: number): ChildProcess {
  const log = fs.openSync(path.join(directory(), LOG), "w");
  const node = [process.execPath, "-r", "ts-node/register", path.join(__dirname, "resident.ts")];
  return spawn("unshare", [...NAMESPACES, "--", ...node, stack, String(apiServerPort)], {
    cwd: ROOT,
    detached: true, // Ctrl-C is for us alone
    stdio: ["ignore", log, log, "ipc"],
  });
}

/** Waits until the stack is up; returns the file for a shell. */
function ready(child: ChildProcess, progress: (line: string) => void, interrupted: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      reject(interrupted.reason as Error);
    };
    interrupted.addEventListener("abort", stop, { once: true });
    child.once("error", reject);
    let failure: Error | undefined;
    child.once("exit", (code, signal) => {
      const how = signal ?? `exit code ${code}`;
      reject(failure ?? new Error(`the node ended (${how}); see ${path.join(directory(), LOG)}`));
    });
    child.on("message", (said: Said) => {
      switch (said.kind) {
        case "progress":
          progress(said.line);
          break;
        case "ready":
          resolve(said.envFile);
          break;
        case "failed":
          failure = new pulumi.RunError(said.message);
      }
    });
  });
}

/** A server on this machine alone, on a port of ours or, where somebody has that, on any. */
function listening(wanted: number): Promise<net.Server> {
  const server = net.createServer();
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EADDRINUSE") reject(error);
      else server.listen(0, "127.0.0.1");
    });
    server.once("listening", () => {
      resolve(server);
    });
    server.listen(wanted, "127.0.0.1");
  });
}

/** What people open, by what it is; the rest they reach by `kubectl port-forward`. */
function shown({ mlflow, ray, feast, monitoring }: PlatformOutputs): Record<string, Forward> {
  const all = {
    MLflow: mlflow,
    "Ray's dashboard and jobs": ray?.dashboard,
    "the application": ray?.serve,
    Feast: feast?.http,
    Prometheus: monitoring?.prometheus,
    Grafana: monitoring?.grafana,
  };
  return Object.fromEntries(Object.entries(all).flatMap(([what, one]) => (one === undefined ? [] : [[what, one]])));
}

/** Under a name that documentation can tell. */
function envLink(): string {
  return path.join(directory(), "env");
}

function directory(): string {
  const directory = path.join(cacheDirectory(), "node");
  fs.mkdirSync(directory, { recursive: true });
  return directory;
}
