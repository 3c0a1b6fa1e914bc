import * as pulumi from "@pulumi/pulumi";
import { CA_KEY, caOf } from "../../base/certificate";
import type { Credential, ExternalServer, PostgresDatabase, Trust } from "../../base/endpoint";
import { objectName } from "../../base/names";
import type { Offer, SecretLocation } from "../../base/offer";
import type { ContainerSize } from "../../base/pod";
import { libpqEnv, POSTGRES_CA_MOUNT, postgresCaVolume, VERIFIED } from "../../base/postgres-client";
import { envSecret } from "../../base/secret";
import { SetupJob } from "../../base/setup-job";
import { images } from "../../base/versions";
import { passwordOf, POSTGRES_UID } from "./grants";
import { prepare, type Role, rolesOf } from "./prepare";
import { connectionsOf, found, type PostgresServer, type PostgresUsers } from "./users";

/** Inputs of {@link ExternalPostgres}. */
export interface ExternalPostgresArgs<
  Database extends string = string,
  Reader extends string = string,
  Guest extends string = string,
> extends PostgresUsers<Database, Reader, Guest> {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly host: string;
  readonly port: number;
  /** Addresses behind the host. */
  readonly cidrs: readonly string[];
  /** The certificates that sign the server's, in PEM. */
  readonly ca: string;
  /** Who makes databases and roles, and the database to which it connects. */
  readonly administrator: { readonly login: Credential; readonly database: string };
  /** Whose roles they are among those of others on the server: their comment. */
  readonly mark: pulumi.Output<string>;
  readonly setupSize: ContainerSize;
}

/** A PostgreSQL server outside the cluster, with a database, role and Secret per service, which a Job makes. */
export class ExternalPostgres<
  Database extends string = string,
  Reader extends string = string,
  Guest extends string = string,
>
  extends pulumi.ComponentResource
  implements PostgresServer<Database, Reader, Guest>
{
  readonly offers: Offer;
  private readonly logins: ReadonlyMap<string, PostgresDatabase>;

  constructor(
    name: string,
    args: ExternalPostgresArgs<Database, Reader, Guest>,
    opts: pulumi.ComponentResourceOptions,
  ) {
    // Secrets have the same names inside and outside.
    super("carbon:data:ExternalPostgres", name, {}, { ...opts, aliases: [{ type: "carbon:data:Postgres" }] });
    const { namespace, host, port, cidrs }: ExternalPostgresArgs = args;
    const roles = rolesOf(args);
    const authority = envSecret(`${name}-external-ca`, { namespace, data: { [CA_KEY]: args.ca } }, { parent: this });
    const trust: Trust = {
      volume: { secret: { secretName: authority.name, items: [{ key: CA_KEY, path: CA_KEY }] } },
      pem: args.ca,
    };
    const server: ExternalServer = {
      ...{ kind: "external", name, host: pulumi.output(host), port, cidrs, why: "postgresql" },
      ready: [authority.resource],
    };
    const job = this.setUp(`${name}-setup`, args, roles, { server, trust });
    const prepared: ExternalServer = { ...server, ready: [authority.resource, job] };
    this.logins = new Map(
      roles.map(({ kind, client, database, name: username, password }) => [
        `${kind} ${client}`,
        { server: prepared, database, login: { username: pulumi.output(username), password }, trust },
      ]),
    );
    const owners = roles.filter(({ kind }) => kind === "database");
    this.offers = {
      facts: {
        ...{ protocol: "postgresql", host, port, url: `postgresql://${host}:${port}` },
        ...{ tls: true, sslmode: VERIFIED.sslmode, auth: "password" },
        ca: caOf(trust, namespace),
      },
      credentials: Object.fromEntries(
        owners.map(({ client, name: username, password }): [string, SecretLocation] => {
          const data = { username, password };
          const login = { namespace, type: "kubernetes.io/basic-auth", data };
          return [client, { namespace, name: envSecret(objectName(name, client), login, { parent: this }).name }];
        }),
      ),
    };
    this.registerOutputs();
  }

  /** The Job that makes databases and roles, lets readers read, and has all of them prove their rights. */
  private setUp(
    name: string,
    args: ExternalPostgresArgs,
    roles: readonly Role[],
    { server, trust }: Pick<PostgresDatabase, "server" | "trust">,
  ): pulumi.Resource {
    const { namespace, administrator, setupSize } = args;
    const all: PostgresDatabase = { server, trust, ...administrator };
    const passwords = envSecret(
      name,
      {
        namespace,
        data: {
          PGPASSWORD: administrator.login.password,
          ...Object.fromEntries(roles.map((role) => [passwordOf(role.name), role.password])),
        },
      },
      { parent: this },
    );
    return new SetupJob(
      name,
      {
        namespace,
        image: images.postgres,
        size: setupSize,
        uid: POSTGRES_UID,
        command: [
          ...["bash", "-c"],
          args.mark.apply((mark) => prepare(roles, { connections: connectionsOf(args), mark })),
        ],
        env: libpqEnv(all),
        secretEnv: [passwords],
        mounts: POSTGRES_CA_MOUNT,
        volumes: [postgresCaVolume(all)],
        talksTo: [server],
      },
      { parent: this },
    ).job;
  }

  database(name: Database): PostgresDatabase {
    return found(this.logins, "database", name);
  }

  reader(client: Reader): PostgresDatabase {
    return found(this.logins, "reader", client);
  }

  guest(client: Guest): PostgresDatabase {
    return found(this.logins, "guest", client);
  }
}
