import * as fs from "node:fs";
import * as path from "node:path";
import { ensurePostgres } from "../../../rehearsal/software/postgres";
import { ensureVenv } from "../../../rehearsal/software/venvs";
import { type Barman, BARMAN_CA, barmanOf } from "./barman";
import { issuedAs } from "./certificates";
import { eventually } from "./eventually";
import type { Site } from "./pod";
import type { Program } from "./program";
import { Sandbox } from "./sandbox";

const UID = 26; // `postgres` in the operator's images
const DATA = "/var/lib/postgresql/data";
// Two settings that the operator makes and that clients see.
const TLS = ["ssl=on", `ssl_cert_file=${DATA}/tls.crt`, `ssl_key_file=${DATA}/tls.key`];
// The operator's access rules, in front of those of a Cluster and behind them.
const ACCESS = { before: "local all all peer", behind: "host all all all scram-sha-256" };

/** A role and its password. */
interface Login {
  readonly username: string;
  readonly password: string;
}

/** A PostgreSQL server, as the operator makes one from a Cluster, its roles and its databases. */
export class Postgres {
  private constructor(
    /** Its address among the pods. */
    readonly address: string,
    private readonly server: Sandbox,
    private readonly barman: Barman,
    /** Where its files lie outside. */
    private readonly data: string,
  ) {}

  /** Starts the server of a Cluster with all roles and databases of the program. */
  static async start(site: Site, name: string): Promise<Postgres> {
    const { spec } = site.program.object(name, "Cluster");
    const pod = `${name}-1`;
    const address = site.join(pod);
    const data = path.join(site.scratch, "volumes", pod);
    fs.mkdirSync(data, { recursive: true, mode: 0o700 });
    fs.chownSync(data, UID, UID);
    const software = await ensurePostgres(() => undefined);
    // The sidecar's programs, in the server's own container: here both see the same files and the same socket.
    const venv = await ensureVenv("barman", () => undefined);
    const barman = barmanOf(site.program, spec);
    const barmanCa = path.join(site.scratch, "volumes", `${pod}-barman-ca.crt`);
    fs.writeFileSync(barmanCa, barman.ca);
    const sandbox = (role: string, command: readonly string[]): Sandbox => {
      const scratch = path.join(site.scratch, "containers", pod, role);
      fs.mkdirSync(scratch, { recursive: true });
      return Sandbox.start({
        name: `${pod}, ${role}`,
        pod,
        command,
        env: {
          ...{
            PATH: `${software.bin}:${venv.directory}/bin:/usr/bin:/bin`,
            HOME: "/tmp",
            PGHOST: "/tmp",
            LC_ALL: "C.UTF-8",
          },
          ...barman.env,
        },
        uid: UID,
        user: "postgres",
        pieces: [
          { kind: "rw", source: data, target: DATA },
          { kind: "tmpfs", target: "/tmp", options: "mode=1777" },
          { kind: "ro", source: barmanCa, target: BARMAN_CA },
          ...[software.directory, venv.directory, venv.base].map(
            (source) => ({ kind: "ro", source, target: source }) as const,
          ),
        ],
        scratch,
        log: path.join(site.logs, `${pod}.${role}.log`),
        hosts: site.hosts,
      });
    };
    const code = await sandbox("init", ["initdb", "--pgdata", DATA, "--encoding=UTF8", "--no-sync"]).exitCode(60);
    if (code !== 0) throw new Error(`initdb: exit code ${code}`);
    letIn(data, spec);
    certify(data, site.program, spec.certificates.serverTLSSecret);
    const parameters = Object.entries(spec.postgresql.parameters).map(([key, value]) => `${key}=${String(value)}`);
    const settings = ["listen_addresses=*", "unix_socket_directories=/tmp", ...TLS, "archive_mode=on", ...parameters];
    const command = ["postgres", "-D", DATA, ...settings.flatMap((one) => ["-c", one])];
    const server = new Postgres(address, sandbox("server", command), barman, data);
    await server.ready();
    await server.fill(site.program);
    return server;
  }

  /** Does what the operator does when the Cluster, its roles or its databases change; what goes is left as it is. */
  async follow(program: Program, name = "postgres"): Promise<void> {
    letIn(this.data, program.object(name, "Cluster")["spec"]);
    await this.query("SELECT pg_reload_conf()");
    await this.fill(program);
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

  /** Rows of a query of a role that comes over the network, as a client does. */
  async queryAs({ username, password }: Login, database: string, sql: string, sslmode = "require"): Promise<string[]> {
    const target = `host=${this.address} dbname=${database} user=${username} sslmode=${sslmode}`;
    const client = ["psql", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", target];
    const output = await this.server.exec(["env", `PGPASSWORD=${password}`, ...client], { input: sql });
    return output.split("\n").filter((line) => line !== "");
  }

  /** Sends the log of changes to the archive from now on, as the plugin does, and backs the whole up. */
  async backUp(): Promise<void> {
    await this.query(`ALTER SYSTEM SET archive_command = '${this.barman.archiveCommand.join(" ")} %p'`);
    await this.query("SELECT pg_reload_conf()");
    // A backup waits for a checkpoint, which takes its time where much is to be written.
    await this.query("CHECKPOINT");
    await this.server.exec(this.barman.backUp, { timeoutSeconds: 120 });
    await this.archived();
  }

  /** Waits until everything that was written so far is in the archive. */
  async archived(): Promise<void> {
    const [segment = ""] = await this.query("SELECT pg_walfile_name(pg_switch_wal())");
    await eventually(60, async () => {
      const [done = ""] = await this.query("SELECT last_archived_wal FROM pg_stat_archiver");
      if (done < segment) throw new Error(`archived is ${done}, not yet ${segment}`);
    });
  }

  /** What barman says of an archive of the same bucket: whether a server may begin to write there. */
  async mayBeginIn(archive: string): Promise<boolean> {
    return this.server.exec(this.barman.check(archive)).then(
      () => true,
      () => false,
    );
  }

  /** The names of the backups, as the user of a login finds them. Rejects when it may not look. */
  async backups(login?: Login): Promise<string> {
    const env = login ? [`AWS_ACCESS_KEY_ID=${login.username}`, `AWS_SECRET_ACCESS_KEY=${login.password}`] : [];
    return this.server.exec(["env", ...env, ...this.barman.list]);
  }

  /** Rows of a query of a server that is restored beside this one, from the archive, up to a moment. */
  async restoredTo(time: string, sql: string, database: string): Promise<string[]> {
    const [directory, port] = ["/tmp/restored", "5433"];
    await this.server.exec(this.barman.restore(directory), { timeoutSeconds: 120 });
    const [connections = ""] = await this.query("SHOW max_connections");
    const settings = {
      // With fewer than where the log was written, a recovery stops.
      max_connections: connections,
      restore_command: `${this.barman.fetchCommand.join(" ")} %f %p`,
      recovery_target_time: time,
      recovery_target_action: "promote",
      archive_mode: "off",
      port,
    };
    const lines = Object.entries(settings).map(([key, value]) => `${key} = '${value}'\n`);
    await this.server.exec(["tee", `${directory}/postgresql.auto.conf`], { input: lines.join("") });
    await this.server.exec(["touch", `${directory}/recovery.signal`]);
    const options = ["-c unix_socket_directories=/tmp", "-c listen_addresses="];
    const control = ["pg_ctl", "--pgdata", directory, "--wait", "--log", "/tmp/restored.log"];
    await this.server.exec([...control, "--options", options.join(" "), "start"], { timeoutSeconds: 120 });
    const output = await this.server.exec(
      ["psql", "--quiet", "--tuples-only", "--no-align", "-v", "ON_ERROR_STOP=1", "--port", port, database],
      { input: sql },
    );
    await this.server.exec([...control, "--mode=immediate", "stop"]);
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
    const roles = await this.query("SELECT rolname FROM pg_roles");
    for (const { spec } of program.all("DatabaseRole")) {
      const { password = "" } = program.data("Secret", spec.passwordSecret.name);
      const verb = roles.includes(spec.name) ? "ALTER" : "CREATE";
      await this.query(
        `${verb} ROLE "${spec.name}" ${spec.login ? "LOGIN" : ""} PASSWORD '${password.replaceAll("'", "''")}'`,
      );
    }
    const databases = await this.query("SELECT datname FROM pg_database");
    for (const { spec } of program.all("Database").filter((one) => !databases.includes(one["spec"].name)))
      await this.query(`CREATE DATABASE "${spec.name}" OWNER "${spec.owner}"`);
  }
}

/** Tells the server whom a Cluster lets in, in the form of the operator. */
function letIn(directory: string, { postgresql }: any): void {
  const access = [ACCESS.before, ...postgresql.pg_hba, ACCESS.behind];
  fs.writeFileSync(path.join(directory, "pg_hba.conf"), access.map((rule) => `${rule}\n`).join(""));
}

/** Gives the server the certificate of a Secret that cert-manager makes. */
function certify(directory: string, program: Program, secret: string): void {
  const issued = issuedAs(secret, program);
  if (issued === undefined) throw new Error(`no Certificate makes the Secret ${secret}`);
  const { "tls.crt": crt = "", "tls.key": key = "" } = issued;
  for (const [name, content] of Object.entries({ "tls.crt": crt, "tls.key": key })) {
    const file = path.join(directory, name);
    fs.writeFileSync(file, content, { mode: 0o600 });
    fs.chownSync(file, UID, UID);
  }
}
