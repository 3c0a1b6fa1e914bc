import * as path from "node:path";
import * as k8s from "@pulumi/kubernetes";
import * as pulumi from "@pulumi/pulumi";
import { type Authority, serverCertificate } from "../base/certificate";
import { type ChartDeclaration, ChartRelease } from "../base/chart-release";
import { admitApiServer, connect } from "../base/connect";
import {
  type ApiServer,
  type Credential,
  type Endpoint,
  type PodIdentity,
  podsNamed,
  type PostgresDatabase,
  serviceEndpoint,
  serviceNames,
  type Trust,
} from "../base/endpoint";
import { grant, type Rule } from "../base/grant";
import { objectName } from "../base/names";
import type { Offer, SecretLocation } from "../base/offer";
import { type Metrics, scrape } from "../base/scrape";
import { mebibytes, type ContainerSize, type ResourceQuantities, resources } from "../base/pod";
import { libpqEnv, POSTGRES_CA_MOUNT, postgresCaVolume, VERIFIED } from "../base/postgres-client";
import { type EnvSecret, envSecret } from "../base/secret";
import { SetupJob } from "../base/setup-job";
import { charts, images } from "../base/versions";
import type { Volume } from "../base/volume";
import { grantAndProve, guestRole, passwordOf, POSTGRES_UID, readerRole } from "./postgres/grants";
import { derivedParameters, memoryOf } from "./postgres/parameters";
import {
  connectionsOf,
  found,
  ownerOf,
  READER_CONNECTIONS,
  type OwnDatabase,
  type PostgresServer,
  type PostgresUser,
  type PostgresUsers,
} from "./postgres/users";
import { backupSpec, backupStore, backUpRegularly, pluginPods, type PostgresBackups } from "./postgres/backups";

const POSTGRES_PORT = 5432;
const AUTHENTICATION = "scram-sha-256";
const STATUS_PORT = 8000;
const OPERATOR = "cnpg";
// The roles that we give it besides that for the server, under a name that its chart never used.
const OPERATOR_RIGHTS = "cnpg-operator";
const OPERATOR_JOB = "cloudnative-pg";
const WEBHOOK_PORT = 9443;
const METRICS_PORT = { name: "metrics", number: 9187 };
const OPERATOR_METRICS = { name: "metrics", number: 8080 };
// The old platform's names of the server, which clients may still use.
const LEGACY_NAMES = ["postgres-shared-service", "postgres-workflow-service"];
// Another limit restarts the server: a pod more of a client should not.
const CONNECTION_STEP = 50;

/** Inputs of {@link Postgres}. */
export interface PostgresArgs {
  /** Namespace of the server; it must exist. */
  readonly namespace: pulumi.Input<string>;
  /** Namespace of the CloudNativePG operator; it must exist. */
  readonly operatorNamespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  readonly kubeApi: ApiServer;
  /** Signs the server certificate. */
  readonly authority: Authority;
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  /** Number of instances: one primary, the others replicas. */
  readonly instances: number;
  readonly size: ContainerSize;
  readonly operatorSize: ContainerSize;
  readonly volume: Volume;
  /** Other parameters of PostgreSQL than those that follow from its size and its clients. @default {} */
  readonly parameters?: Readonly<Record<string, string>>;
  /** The databases of services. The owner of each has its name. */
  readonly databases: Readonly<Record<string, OwnDatabase>>;
  /** Readers of other services' databases, by client name. */
  readonly readers: Readonly<Record<string, PostgresUser>>;
  /** Users with the rights alone that a database's owner grants them, by client name. */
  readonly guests: Readonly<Record<string, PostgresUser>>;
  /** Size of the Job that grants read access. */
  readonly setupSize: ContainerSize;
  /** @default none */
  readonly backups?: PostgresBackups;
  readonly metrics: Metrics;
  /** Refuses to delete or replace the server and its databases. */
  readonly protect: boolean;
}

/**
 * PostgreSQL managed by CloudNativePG: one server, and a database, role and Secret per service. A role can connect only to its
 * own database.
 */
export class Postgres<Database extends string = string, Reader extends string = string, Guest extends string = string>
  extends pulumi.ComponentResource
  implements PostgresServer<Database, Reader, Guest>
{
  readonly offers: Offer;
  private readonly logins = new Map<string, PostgresDatabase>();

  constructor(
    name: string,
    args: PostgresArgs & PostgresUsers<Database, Reader, Guest>,
    opts: pulumi.ComponentResourceOptions,
  ) {
    super("carbon:data:Postgres", name, {}, { ...opts, aliases: [{ type: "carbon:data:ExternalPostgres" }] });
    refuseTooMany(this, args);
    const { namespace, operatorNamespace, kubeApi, databases, readers, guests, backups, protect }: PostgresArgs = args;
    // All pods of the cluster, since the Jobs that initialize and join instances need the same wires.
    const server = podsNamed(name, namespace, { "cnpg.io/cluster": name });
    const nodes = { kind: "pods", server, ports: [{ port: POSTGRES_PORT }, { port: STATUS_PORT }] } as const;

    const account = { kind: "ServiceAccount", name: OPERATOR, namespace: operatorNamespace };
    const rights = [
      ...grant(this, OPERATOR, namespace, [account], RULES),
      ...grant(this, OPERATOR_RIGHTS, operatorNamespace, [account], RULES),
      ...this.grantClusterWide(account),
    ];
    const operator = new ChartRelease(
      OPERATOR,
      charts.cloudnativePg,
      {
        namespace: operatorNamespace,
        directory: args.chartDirectory,
        values: operatorValues(args),
        declares: operatorDeclaration(args.operatorSize),
        talksTo: {
          [OPERATOR]: [
            kubeApi,
            { ...nodes, why: "operation" },
            ...(backups ? [pluginPods(backups, operatorNamespace)] : []),
          ],
        },
      },
      { parent: this, dependsOn: rights },
    );
    const webhook = admitApiServer(this, kubeApi, {
      kind: "pods",
      server: operator.identity(OPERATOR),
      ports: [{ port: WEBHOOK_PORT }],
      why: "webhook",
    });
    const wires = connect(this, {
      from: server,
      talksTo: [kubeApi, { ...nodes, why: "replication" }, ...(backups ? [backups.target.store.destination] : [])],
    });
    scrape(this, { pods: server, port: METRICS_PORT, by: args.metrics });
    scrape(this, { pods: operator.identity(OPERATOR), port: OPERATOR_METRICS, job: OPERATOR_JOB, by: args.metrics });
    const certificate = serverCertificate(
      name,
      {
        namespace,
        authority: args.authority,
        dnsNames: dnsNames(name, args),
        // Makes instances notice a renewal.
        labels: { "cnpg.io/reload": "true" },
      },
      { parent: this },
    );
    const archive = backups && backupStore(this, name, backups, { ...args, operator });
    const cluster = new k8s.apiextensions.CustomResource(
      name,
      {
        apiVersion: "postgresql.cnpg.io/v1",
        kind: "Cluster",
        metadata: { name, namespace, annotations: { "pulumi.com/waitFor": "condition=Ready" } },
        spec: {
          ...clusterSpec(name, args),
          // The certificates of replication stay the operator's.
          certificates: { serverTLSSecret: certificate.secretName, serverCASecret: certificate.secretName },
          ...(backups && backupSpec(name, backups)),
        },
      },
      {
        parent: this,
        protect,
        dependsOn: [operator, certificate.resource, ...webhook, ...wires, ...(archive ? [archive] : [])],
      },
    );

    if (backups) backUpRegularly(this, name, backups, { namespace, cluster });
    const made: Made = { name, namespace, server, cluster, protect, trust: certificate.trust };
    const credentials = Object.entries(databases).map(
      ([database, own]) => [database, this.own(made, database, own)] as const,
    );
    for (const database of new Set(Object.values(readers).map((reader) => reader.database))) {
      this.letRead(made, database, args);
    }
    for (const [client, { database, password }] of Object.entries(guests)) {
      const { login, resource } = this.role(made, objectName(name, client), guestRole(client), password);
      this.logins.set(`guest ${client}`, { database, login, server: endpoint(made, [resource]), trust: made.trust });
    }
    const entry = endpoint(made, [cluster]);
    this.offers = {
      endpoints: { server: entry },
      facts: { sslmode: VERIFIED.sslmode },
      credentials: Object.fromEntries(credentials),
      legacyNames: Object.fromEntries(LEGACY_NAMES.map((alias) => [alias, [entry]])),
      alerts: ["cloudnative-pg", ...(backups ? ["postgres"] : [])].map((file) =>
        path.join(__dirname, `${file}.alerts.yaml`),
      ),
    };
    this.registerOutputs();
  }

  /** What belongs to no namespace. */
  private grantClusterWide(operator: k8s.types.input.rbac.v1.Subject): pulumi.Resource[] {
    const metadata = { name: OPERATOR_RIGHTS };
    const roleRef = { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: OPERATOR_RIGHTS };
    const parent = { parent: this };
    return [
      new k8s.rbac.v1.ClusterRole(OPERATOR_RIGHTS, { metadata, rules: CLUSTER_WIDE }, parent),
      new k8s.rbac.v1.ClusterRoleBinding(OPERATOR_RIGHTS, { metadata, roleRef, subjects: [operator] }, parent),
    ];
  }

  /** Makes a database and the role that owns it; returns where its login lies. */
  private own(made: Made, database: string, own: OwnDatabase): SecretLocation {
    const { name, namespace } = made;
    const [owner, protect] = [ownerOf(database, own), made.protect && own.tenant !== true];
    const limit = own.tenant === true ? { connectionLimit: own.connections } : {};
    const { secret, resource, login } = this.role(made, objectName(name, database), owner, own.password, limit);
    const owned = new k8s.apiextensions.CustomResource(
      `${name}-${database}`,
      {
        apiVersion: "postgresql.cnpg.io/v1",
        kind: "Database",
        metadata: { name: objectName(name, database), ...applied(made) },
        spec: { cluster: { name }, name: database, owner, databaseReclaimPolicy: "retain" },
      },
      { parent: this, protect, dependsOn: resource },
    );
    this.logins.set(`database ${database}`, { database, login, server: endpoint(made, [owned]), trust: made.trust });
    return { namespace, name: secret.name };
  }

  /** Makes the roles that may read a database, and the Job in which its owner lets them. */
  private letRead(made: Made, database: string, { readers, setupSize }: PostgresArgs): void {
    const { name, namespace } = made;
    const owner = found(this.logins, "database", database);
    const roles = Object.entries(readers)
      .filter(([, reader]) => reader.database === database)
      .map(([client, { password }]) => {
        const username = readerRole(client);
        const limit = { connectionLimit: READER_CONNECTIONS };
        return { client, username, ...this.role(made, objectName(name, client, "reader"), username, password, limit) };
      });
    const usernames = roles.map(({ username }) => username);
    const passwords = envSecret(
      objectName(name, database, "owner"),
      {
        namespace,
        data: {
          PGPASSWORD: owner.login.password,
          ...Object.fromEntries(roles.map(({ username, login }) => [passwordOf(username), login.password])),
        },
      },
      { parent: this },
    );
    const grants = new SetupJob(
      objectName(name, database, "readers"),
      {
        namespace,
        image: images.postgres,
        size: setupSize,
        uid: POSTGRES_UID,
        command: ["bash", "-c", grantAndProve(database, usernames)],
        env: libpqEnv(owner),
        secretEnv: [passwords],
        mounts: POSTGRES_CA_MOUNT,
        volumes: [postgresCaVolume(owner)],
        talksTo: [owner.server],
      },
      { parent: this, dependsOn: roles.map(({ resource }) => resource) },
    );
    for (const { client, login } of roles) {
      this.logins.set(`reader ${client}`, { database, login, server: endpoint(made, [grants.job]), trust: made.trust });
    }
  }

  /** Makes a role that logs in, and the Secret with its login, under one name. */
  private role(
    made: Made,
    object: string,
    username: string,
    password: pulumi.Output<string>,
    spec: object = {},
  ): { readonly secret: EnvSecret; readonly resource: pulumi.Resource; readonly login: Credential } {
    const { name, namespace, cluster } = made;
    const secret = envSecret(
      object,
      {
        namespace,
        type: "kubernetes.io/basic-auth",
        // Makes the operator notice a new password.
        labels: { "cnpg.io/reload": "true" },
        data: { username, password },
      },
      { parent: this },
    );
    const resource = new k8s.apiextensions.CustomResource(
      `${object}-role`,
      {
        apiVersion: "postgresql.cnpg.io/v1",
        kind: "DatabaseRole",
        metadata: { name: object, ...applied(made) },
        spec: { cluster: { name }, name: username, login: true, passwordSecret: { name: secret.name }, ...spec },
      },
      { parent: this, dependsOn: [cluster, secret.resource] },
    );
    return { secret, resource, login: { username: pulumi.output(username), password } };
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

/** The cluster, as databases and roles are made in it. */
interface Made {
  readonly name: string;
  readonly namespace: pulumi.Input<string>;
  readonly server: PodIdentity;
  readonly cluster: pulumi.Resource;
  readonly protect: boolean;
  readonly trust: Trust;
}

function applied({ namespace }: Made) {
  return { namespace, annotations: { "pulumi.com/waitFor": "jsonpath={.status.applied}=true" } };
}

function endpoint({ name, server, trust }: Made, ready: readonly pulumi.Resource[]): Endpoint<"postgresql"> {
  return serviceEndpoint("postgresql", POSTGRES_PORT, {
    service: `${name}-rw`,
    trust,
    auth: AUTHENTICATION,
    server,
    ready,
  });
}

// The operator's Services for the primary, for replicas and for any instance.
function dnsNames(name: string, { namespace, clusterDomain }: PostgresArgs): pulumi.Input<string>[] {
  return [...["rw", "ro", "r"].map((role) => `${name}-${role}`), ...LEGACY_NAMES].flatMap((service) =>
    serviceNames(service, namespace, clusterDomain),
  );
}

// The operator's own rules precede these. Owners have the name of their database, but for those of tenants: these are let in one by
// one, since the operator leaves a role that is taken away as it is. Plain TCP is rejected.
function accessRules({ databases, readers, guests }: PostgresArgs): string[] {
  const admit = (users: PostgresArgs["readers"], role: (client: string) => string): string[] =>
    Object.entries(users).map(([client, { database }]) => `hostssl ${database} ${role(client)} all ${AUTHENTICATION}`);
  return [
    `hostssl sameuser all all ${AUTHENTICATION}`,
    ...Object.entries(databases)
      .filter(([, { tenant }]) => tenant === true)
      .map(([database, own]) => `hostssl ${database} ${ownerOf(database, own)} all ${AUTHENTICATION}`),
    ...admit(readers, readerRole),
    ...admit(guests, guestRole),
    "host all all all reject",
  ];
}

/** The most connections of all clients together, in steps. */
function connectionLimit(args: PostgresArgs): number {
  return Math.ceil(connectionsOf(args) / CONNECTION_STEP) * CONNECTION_STEP;
}

/** Fails an evaluation rather than have the kernel end a server whose clients are all there. */
function refuseTooMany(postgres: pulumi.Resource, args: PostgresArgs): void {
  const connections = connectionLimit(args);
  const { limit } = args.size.memoryMiB;
  const needed = memoryOf(connections, args.size);
  if (needed <= limit) return;
  const clients = Object.entries(args.databases).map(([database, own]) => `${database} ${own.connections}`);
  throw new pulumi.ResourceError(
    `postgres.memoryMiB.limit: ${limit} is too little for ${connections} connections, which take up to ${needed} MiB; ` +
      `raise it, or run fewer pods of its clients (connections: ${clients.join(", ")})`,
    postgres,
    true,
  );
}

function clusterSpec(name: string, args: PostgresArgs): object {
  const { instances, size, volume, parameters = {} } = args;
  return {
    // Rules select these pods' series by this label.
    inheritedMetadata: { labels: { app: name } },
    instances,
    imageName: images.postgres,
    enableSuperuserAccess: false,
    // A budget for a single instance would only block drains.
    enablePDB: instances > 1,
    priorityClassName: "critical-services",
    resources: resources(size),
    storage: { storageClass: volume.storageClass, size: mebibytes(volume.sizeGiB * 1024) },
    affinity: {
      enablePodAntiAffinity: instances > 1,
      podAntiAffinityType: "preferred",
      topologyKey: "kubernetes.io/hostname",
    },
    postgresql: {
      parameters: { ...parameters, ...derivedParameters({ size, volume, connections: connectionLimit(args) }) },
      pg_hba: accessRules(args),
    },
  };
}

/** The keys of the chart that we set. */
type OperatorValues = {
  readonly fullnameOverride: string;
  readonly rbac: { readonly create: false };
  readonly additionalEnv: readonly { readonly name: string; readonly value: pulumi.Output<string> }[];
  readonly webhook: Readonly<Record<"mutating" | "validating", { readonly failurePolicy: "Ignore" }>>;
  readonly resources: ResourceQuantities;
  readonly priorityClassName: string;
};

function operatorValues({ namespace, operatorNamespace, operatorSize }: PostgresArgs): OperatorValues {
  return {
    fullnameOverride: OPERATOR,
    // Roles of ours in its own namespace and in that of the server, instead of every Secret of the cluster. The chart's
    // `clusterWide: false` would set this variable to its own namespace alone, and what `config.data` says of it is read
    // too late (cloudnative-pg#8531).
    rbac: { create: false },
    additionalEnv: [{ name: "WATCH_NAMESPACE", value: pulumi.interpolate`${operatorNamespace},${namespace}` }],
    // It answers later than its pod is Ready: the first `up` failed, and so would whatever writes while the pod is replaced
    // (kubernetes#102013). The operator itself sets what it would have set.
    webhook: { mutating: { failurePolicy: "Ignore" }, validating: { failurePolicy: "Ignore" } },
    resources: resources(operatorSize),
    priorityClassName: "critical-services",
  };
}

const GROUP = "postgresql.cnpg.io";
const DECLARED = ["databaseroles", "databases", "publications", "subscriptions"];
const READ = ["get", "list", "watch"];
const WRITE = [...READ, "create", "patch", "delete"];

// What the chart would give the operator: it watches all kinds, and grants parts of this to each server.
const RULES: Rule[] = [
  { apiGroups: [""], resources: ["configmaps", "secrets", "services"], verbs: [...WRITE, "update"] },
  { apiGroups: [""], resources: ["configmaps/status", "secrets/status"], verbs: ["get", "patch", "update"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims", "pods", "pods/exec"], verbs: WRITE },
  { apiGroups: [""], resources: ["pods/status"], verbs: ["get"] },
  { apiGroups: [""], resources: ["events"], verbs: ["create", "patch"] },
  { apiGroups: [""], resources: ["serviceaccounts"], verbs: [...READ, "create", "patch", "update"] },
  { apiGroups: ["apps"], resources: ["deployments"], verbs: [...WRITE, "update"] },
  { apiGroups: ["batch"], resources: ["jobs"], verbs: WRITE },
  { apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: [...READ, "create", "update"] },
  { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: READ },
  { apiGroups: ["monitoring.coreos.com"], resources: ["podmonitors"], verbs: WRITE },
  { apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: [...WRITE, "update"] },
  {
    apiGroups: [GROUP],
    resources: [...DECLARED, "backups", "clusters", "poolers", "scheduledbackups"],
    verbs: [...WRITE, "update"],
  },
  { apiGroups: [GROUP], resources: ["failoverquorums"], verbs: [...READ, "create", "delete"] },
  { apiGroups: [GROUP], resources: ["imagecatalogs"], verbs: READ },
  {
    apiGroups: [GROUP],
    resources: [...DECLARED, "backups", "clusters", "failoverquorums", "poolers", "scheduledbackups"].map(
      (kind) => `${kind}/status`,
    ),
    verbs: ["get", "patch", "update", "watch"],
  },
  {
    apiGroups: [GROUP],
    resources: ["clusters/finalizers", "databaseroles/finalizers", "poolers/finalizers"],
    verbs: ["update"],
  },
  {
    apiGroups: ["rbac.authorization.k8s.io"],
    resources: ["rolebindings", "roles"],
    verbs: [...READ, "create", "patch", "update"],
  },
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots"], verbs: [...READ, "create", "patch"] },
];

const CLUSTER_WIDE: Rule[] = [
  // It moves the primary away from a node that is drained.
  { apiGroups: [""], resources: ["nodes"], verbs: READ },
  {
    apiGroups: ["admissionregistration.k8s.io"],
    resources: ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
    // Its chart's, in which it writes its certificate.
    resourceNames: ["cnpg-mutating-webhook-configuration", "cnpg-validating-webhook-configuration"],
    verbs: ["get", "patch"],
  },
  { apiGroups: [GROUP], resources: ["clusterimagecatalogs"], verbs: READ },
];

function operatorDeclaration(size: ContainerSize): ChartDeclaration {
  return {
    workloads: [
      {
        kind: "Deployment",
        name: OPERATOR,
        labels: { "app.kubernetes.io/name": "cloudnative-pg", "app.kubernetes.io/instance": OPERATOR },
        serviceAccount: OPERATOR,
        ports: { [OPERATOR_METRICS.name]: OPERATOR_METRICS.number },
        replicas: 1,
        size,
      },
    ],
    services: [{ name: "cnpg-webhook-service", port: 443, podPort: WEBHOOK_PORT, workload: OPERATOR }],
    crds: [
      "backups",
      "clusterimagecatalogs",
      "clusters",
      "databaseroles",
      "databases",
      "failoverquorums",
      "imagecatalogs",
      "poolers",
      "publications",
      "scheduledbackups",
      "subscriptions",
    ].map((plural) => `${plural}.postgresql.cnpg.io`),
  };
}
