import * as dns from "node:dns/promises";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import * as yaml from "yaml";
import { handOver, openRehearsal, settle, watchedUp } from "../simulation/rehearse";
import { DNS_ADDRESS } from "./objects";
import { prepareSite } from "./site";

/** What the process in a node's namespaces says to the one that started it, which is outside them. */
export type Said =
  | { readonly kind: "progress"; readonly line: string }
  | { readonly kind: "ready"; readonly envFile: string }
  | { readonly kind: "failed"; readonly message: string };

/** A port of the machine whose socket comes with this message, and where its connections lead inside. */
export interface Forward {
  readonly host: string;
  readonly port: number;
}

/**
 * Brings a stack up on a node of its own and stays: to be started in namespaces of its own, with an IPC channel, and the name of
 * the stack and the machine's port of the API server as arguments. It ends when its starter goes before it is ready.
 */
async function main(stack: string, apiServerPort: number): Promise<void> {
  process.on("message", (forward: Forward, server: net.Server) => {
    server.on("connection", (connection) => void pass(connection, forward));
  });
  const gone = (): never => process.exit(1);
  process.once("disconnect", gone);
  const progress = (line: string): void => {
    say({ kind: "progress", line });
  };
  const rehearsal = await openRehearsal({ stack, progress, site: await prepareSite(stack, progress) });
  const up = await watchedUp(rehearsal, progress);
  if (!up.ok) throw new Error(up.errors.join("\n"));
  progress("waiting until every pod is Ready and every claim is bound");
  const waiting = await settle(rehearsal);
  if (waiting.length > 0) throw new Error(waiting.join("\n"));
  const envFile = handOver(rehearsal, {}, outsideKubeconfig(rehearsal.cluster.kubeconfig, apiServerPort));
  process.off("disconnect", gone);
  say({ kind: "ready", envFile });
}

function say(said: Said): void {
  process.send?.(said);
}

/** The same login by a port of the machine, whose name is not in the API server's certificate. */
function outsideKubeconfig(inside: string, port: number): string {
  const config = yaml.parse(fs.readFileSync(inside, "utf8")) as { clusters: { cluster: Record<string, unknown> }[] };
  for (const { cluster } of config.clusters) {
    Object.assign(cluster, { server: `https://127.0.0.1:${port}`, "tls-server-name": "kubernetes" });
  }
  const file = path.join(path.dirname(inside), "kubeconfig.outside");
  fs.writeFileSync(file, yaml.stringify(config), { mode: 0o600 });
  return file;
}

async function pass(connection: net.Socket, { host, port }: Forward): Promise<void> {
  connection.on("error", () => undefined);
  try {
    const [address = ""] = net.isIP(host) === 0 ? await names.resolve4(host) : [host];
    const inside = net.connect({ host: address, port });
    const end = (): void => {
      connection.destroy();
      inside.destroy();
    };
    inside.on("error", end).on("close", end);
    connection.on("close", end);
    connection.pipe(inside).pipe(connection);
  } catch {
    connection.destroy(); // no such Service yet
  }
}

const names = new dns.Resolver();
names.setServers([DNS_ADDRESS]);

const [stack = "", port = ""] = process.argv.slice(2);
main(stack, Number(port)).catch((error: unknown) => {
  console.error(error);
  say({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  process.exit(1);
});
