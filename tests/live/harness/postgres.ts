import * as fs from "node:fs";
import * as path from "node:path";
import { execFileSync } from "node:child_process";
import { postgresBin } from "../prepare/machine";
import { eventually } from "./eventually";
import type { Site } from "./pod";
import type { Program } from "./program";
import { Sandbox } from "./sandbox";

const UID = 26; // `postgres` in the operator's images
const DATA = "/var/lib/postgresql/data";
// Two settings that the operator makes and that clients see.
const TLS = ["ssl=on", `ssl_cert_file=${DATA}/server.crt`, `ssl_key_file=${DATA}/server.key`];
// The operator's access rules, in front of those of a Cluster and behind them.
const ACCESS = { before: "local all all peer", behind: "host all all all scram-sha-256" };

/** A PostgreSQL server, as the operator makes one from a Cluster, its roles and its databases. */
export class Postgres {
  private constructor(
    /** Its address among the pods. */
    readonly address: string,
    private readonly server: Sandbox,
  ) {}

  /** Starts the server of a Cluster with all roles and databases of the program. */
  static async start(site: Site, name: string): Promise<Postgres> {
    const { spec } = site.program.object(name, "Cluster");
    const pod = `${name}-1`;
    const address = site.join(pod);
    const data = path.join(site.scratch, "volumes", pod);
    fs.mkdirSync(data, { recursive: true, mode: 0o700 });
    fs.chownSync(data, UID, UID);
    const bin = postgresBin() ?? "";
    const sandbox = (role: string, command: readonly string[]): Sandbox => {
      const scratch = path.join(site.scratch, "containers", pod, role);
      fs.mkdirSync(scratch, { recursive: true });
      return Sandbox.start({
        name: `${pod}, ${role}`,
        pod,
        command,
        env: { PATH: `${bin}:/usr/bin:/bin`, HOME: "/tmp", PGHOST: "/tmp", LC_ALL: "C.UTF-8" },
        uid: UID,
        user: "postgres",
        pieces: [
          { kind: "rw", source: data, target: DATA },
          { kind: "tmpfs", target: "/tmp", options: "mode=1777" },
        ],
        scratch,
        log: path.join(site.logs, `${pod}.${role}.log`),
        hosts: site.hosts,
      });
    };
    const code = await sandbox("init", ["initdb", "--pgdata", DATA, "--encoding=UTF8", "--no-sync"]).exitCode(60);
    if (code !== 0) throw new Error(`initdb: exit code ${code}`);
    const access = [ACCESS.before, ...spec.postgresql.pg_hba, ACCESS.behind];
    fs.writeFileSync(path.join(data, "pg_hba.conf"), access.map((rule) => `${rule}\n`).join(""));
    certify(data);
    const parameters = Object.entries(spec.postgresql.parameters).map(([key, value]) => `${key}=${String(value)}`);
    const settings = ["listen_addresses=*", "unix_socket_directories=/tmp", ...TLS, ...parameters];
    const command = ["postgres", "-D", DATA, ...settings.flatMap((one) => ["-c", one])];
    const server = new Postgres(address, sandbox("server", command));
    await server.ready();
    await server.fill(site.program);
    return server;
  }

  /** Rows of a query, as its superuser sees them. */
  async query(sql: string, database = "postgres"): Promise<string[]> {
    const output = await this.server.exec(
      ["psql", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", database],
      {
        input: sql,
      },
    );
    return output.split("\n").filter((line) => line !== "");
  }

  private ready(): Promise<void> {
    const asked = async (): Promise<void> => {
      await this.query("SELECT 1");
    };
    return eventually(30, asked, () => {
      this.server.assertRunning();
    });
  }

  private async fill(program: Program): Promise<void> {
    for (const { spec } of program.all("DatabaseRole")) {
      const { password = "" } = program.data("Secret", spec.passwordSecret.name);
      await this.query(
        `CREATE ROLE "${spec.name}" ${spec.login ? "LOGIN" : ""} PASSWORD '${password.replaceAll("'", "''")}'`,
      );
    }
    for (const { spec } of program.all("Database"))
      await this.query(`CREATE DATABASE "${spec.name}" OWNER "${spec.owner}"`);
  }
}

function certify(directory: string): void {
  const [key, certificate] = ["server.key", "server.crt"].map((file) => path.join(directory, file)) as [string, string];
  const subject = ["-subj", "/CN=postgres", "-days", "1", "-keyout", key, "-out", certificate];
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...subject], { stdio: "ignore" });
  for (const file of [key, certificate]) fs.chownSync(file, UID, UID);
  fs.chmodSync(key, 0o600);
}
