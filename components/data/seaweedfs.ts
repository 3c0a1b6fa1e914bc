import * as pulumi from "@pulumi/pulumi";
import { type Authority, serverCertificate } from "../base/certificate";
import { ChartRelease, type DeclaredWorkload, type HelmValue, podsOf } from "../base/chart-release";
import { connect } from "../base/connect";
import {
  type BucketAccess,
  type BucketUser,
  type Credential,
  type Endpoint,
  podsNamed,
  serviceEndpoint,
  serviceNames,
} from "../base/endpoint";
import { type ContainerSize, type ResourceQuantities, resources, RESTRICTED } from "../base/pod";
import { type EnvSecret, envSecret } from "../base/secret";
import { charts } from "../base/versions";
import type { Volume } from "../base/volume";

// MinIO's port, so that one object store can replace the other.
const S3_PORT = 9000;
// HTTP and gRPC of master, volume server and filer.
const PORTS = { master: [9333, 19333], volume: [8080, 18080], filer: [8888, 18888], s3: [S3_PORT] } as const;
const UID = 1000;

type Part = keyof typeof PORTS;

/** A pod with a volume. */
export interface Keeper extends ContainerSize {
  readonly volume: Volume;
}

/** Inputs of {@link Seaweedfs}. */
export interface SeaweedfsArgs {
  /** Namespace of every object made here; it must exist. */
  readonly namespace: pulumi.Input<string>;
  readonly chartDirectory: string;
  /** Signs the certificate of the S3 gateway. */
  readonly authority: Authority;
  /** Other Services that lead to the S3 gateway. */
  readonly aliases: readonly string[];
  /** The cluster's DNS domain, with which clients may call a Service by its whole name. */
  readonly clusterDomain: string;
  /** Locates volumes. */
  readonly master: Keeper;
  /** Stores object contents. */
  readonly volume: Keeper;
  /** Stores object names. */
  readonly filer: Keeper;
  /** Serves the S3 API. */
  readonly s3: ContainerSize;
  /** Login that only creates buckets. */
  readonly administrator: Credential;
  /** Those that use buckets, by name. */
  readonly users: Readonly<Record<string, BucketUser>>;
  /** Refuses to delete or replace the server. */
  readonly protect: boolean;
}

/** A SeaweedFS server: one pod each of master, volume server, filer and S3 gateway, nothing replicated. */
export class Seaweedfs extends pulumi.ComponentResource {
  /** The S3 API. */
  readonly s3: Endpoint<"http">;

  constructor(name: string, args: SeaweedfsArgs, opts: pulumi.ComponentResourceOptions) {
    super("carbon:data:Seaweedfs", name, {}, opts);
    const { namespace, chartDirectory, authority, aliases, clusterDomain, protect } = args;
    const entry = `${name}-s3`;
    const dnsNames = [entry, ...aliases].flatMap((service) => serviceNames(service, namespace, clusterDomain));
    const certificate = serverCertificate(entry, { namespace, authority, dnsNames }, { parent: this });
    const workloads = {
      master: keeper(name, "master", args.master, "data-data-platform"),
      volume: keeper(name, "volume", args.volume, "data"),
      filer: keeper(name, "filer", args.filer, "data-filer"),
      s3: workload(name, "s3", "Deployment", args.s3),
    };
    const users = envSecret(`${name}-users`, { namespace, data: { [USERS_FILE]: identities(args) } }, { parent: this });
    const all = podsNamed(name, namespace, { "app.kubernetes.io/name": "seaweedfs" });
    const ports = Object.values(PORTS).flatMap((both) => both.map((port) => ({ port })));
    const wires = connect(this, {
      from: all,
      talksTo: [{ kind: "pods", server: all, ports, why: "nodes among themselves" }],
    });
    const release = new ChartRelease(
      name,
      charts.seaweedfs,
      {
        namespace,
        directory: chartDirectory,
        values: values(name, args, users, certificate.secretName),
        firstSizes: ["master.data.size", "volume.dataDirs[0].size", "filer.data.size"],
        declares: {
          workloads: Object.values(workloads),
          services: SERVICES.flatMap(([service, part]) =>
            PORTS[part].map((port) => ({
              name: `${name}-${service}`,
              port,
              podPort: port,
              workload: `${name}-${part}`,
            })),
          ),
          crds: [],
        },
        talksTo: {},
        protect,
      },
      { parent: this, dependsOn: [users.resource, certificate.resource, ...wires] },
    );
    this.s3 = serviceEndpoint("http", S3_PORT, {
      auth: "aws-sigv4",
      service: entry,
      trust: certificate.trust,
      server: podsOf(workloads.s3, namespace),
      ready: [release],
    });
    this.registerOutputs();
  }
}

// The gateway's name for the file and the Secret's key.
const USERS_FILE = "seaweedfs_s3_config";

const SERVICES: readonly (readonly [string, Part])[] = [
  ["master", "master"],
  ["volume", "volume"],
  ["filer", "filer"],
  ["filer-client", "filer"],
  ["s3", "s3"],
];

/** Users and rights in the format of `weed s3 -config`; an action can be limited to a bucket, or to names by a pattern. */
function identities({ administrator, users }: SeaweedfsArgs): pulumi.Output<string> {
  const logins = Object.fromEntries(Object.entries(users).map(([user, { login }]) => [user, login]));
  return pulumi.all([administrator, logins]).apply(([root, known]) =>
    JSON.stringify({
      identities: [
        identity("administrator", root, ["Admin"]),
        ...Object.entries(known).map(([user, login]) => identity(user, login, actions(users[user]?.access ?? {}))),
      ],
    }),
  );
}

// Deleting is a part of writing.
const ACTIONS: Readonly<Record<BucketAccess, readonly string[]>> = {
  read: ["Read", "List"],
  write: ["Read", "List", "Write", "Tagging"],
};

function actions(access: BucketUser["access"]): string[] {
  return Object.entries(access).flatMap(([place, right]) =>
    ACTIONS[right].map((action) => `${action}:${place.includes("/") ? `${place}/*` : place}`),
  );
}

function identity(name: string, { username, password }: pulumi.Unwrap<Credential>, rights: readonly string[]): object {
  return { name, credentials: [{ accessKey: username, secretKey: password }], actions: rights };
}

function workload(
  release: string,
  component: Part,
  kind: DeclaredWorkload["kind"],
  size: ContainerSize,
): DeclaredWorkload {
  return {
    kind,
    name: `${release}-${component}`,
    labels: {
      "app.kubernetes.io/name": "seaweedfs",
      "app.kubernetes.io/instance": release,
      "app.kubernetes.io/component": component,
    },
    serviceAccount: release,
    replicas: 1,
    size,
  };
}

function keeper(release: string, component: Part, { volume, ...size }: Keeper, claim: string): DeclaredWorkload {
  return { ...workload(release, component, "StatefulSet", size), volume: { name: claim, ...volume } };
}

/** The keys of the chart that we set. */
type SeaweedfsValues = {
  readonly global: { readonly seaweedfs: GlobalValues };
  readonly master: PartValues & {
    readonly data: ClaimValues;
    readonly logs: typeof NO_LOG_FILES;
    readonly extraEnvironmentVars: { readonly WEED_MASTER_VOLUME_GROWTH_COPY_1: string };
    readonly config: string;
    readonly podAnnotations: { readonly "254carbon.com/maintenance": string };
  };
  readonly volume: PartValues & {
    readonly dataDirs: readonly (ClaimValues & { readonly name: string; readonly maxVolumes: number })[];
    readonly resizeHook: { readonly enabled: false };
  };
  readonly filer: PartValues & { readonly data: ClaimValues; readonly logs: typeof NO_LOG_FILES };
  readonly s3: PartValues & {
    readonly logs: typeof NO_LOG_FILES;
    readonly enabled: true;
    readonly port: number;
    readonly enableAuth: true;
    readonly existingConfigSecret: string;
    readonly extraArgs: readonly string[];
    readonly readinessProbe: typeof HTTPS_PROBE;
    readonly livenessProbe: typeof HTTPS_PROBE;
    readonly podAnnotations: { readonly [annotation: string]: EnvSecret["checksum"] };
  };
};

type GlobalValues = {
  readonly createClusterRole: false;
  readonly automountServiceAccountToken: false;
  readonly serviceAccountName: string;
};

type ClaimValues = { readonly type: "persistentVolumeClaim"; readonly size: string; readonly storageClass: string };

/** The common values of every part. */
type PartValues = {
  readonly resources: ResourceQuantities;
  readonly serviceAccountName: string;
  readonly priorityClassName: string;
  readonly affinity: string;
  readonly podSecurityContext: { readonly enabled: true; readonly [key: string]: HelmValue };
  readonly containerSecurityContext: { readonly enabled: true; readonly [key: string]: HelmValue };
  readonly extraVolumes: string;
  readonly extraVolumeMounts: string;
};

// The other settings of the probes are the chart's.
const HTTPS_PROBE = { httpGet: { scheme: "HTTPS" } } as const;
const CERTIFICATE = "/etc/seaweedfs-tls";
// Standard error alone, which the kubelet rotates. 4.44 rotates files of its own at 1800 MB and keeps five for each severity, on the
// node's disk. A volume server writes none unless the chart is told where.
const NO_LOG_FILES = { type: "" } as const;
// The filer writes every change down, for other filers, and keeps it for ever (seaweedfs#8336). Abandoned multipart uploads stay as
// well: in 4.44 what deletes them can take files of complete objects along (seaweedfs#10663).
const MAINTENANCE = "fs.log.purge -daysAgo=7";

function values(name: string, args: SeaweedfsArgs, users: EnvSecret, certificate: string): SeaweedfsValues {
  const part = (size: ContainerSize): PartValues => ({
    resources: resources(size),
    serviceAccountName: name,
    priorityClassName: "critical-services",
    // The chart's affinity would require one node per pod.
    affinity: "",
    podSecurityContext: {
      enabled: true,
      runAsNonRoot: true,
      runAsUser: UID,
      runAsGroup: UID,
      fsGroup: UID,
      fsGroupChangePolicy: "OnRootMismatch",
      seccompProfile: { type: "RuntimeDefault" },
    },
    containerSecurityContext: { enabled: true, ...RESTRICTED },
    // Each part opens a socket there.
    extraVolumes: "- name: tmp\n  emptyDir: {}\n",
    extraVolumeMounts: "- name: tmp\n  mountPath: /tmp\n",
  });
  const s3 = part(args.s3);
  return {
    global: {
      seaweedfs: { createClusterRole: false, automountServiceAccountToken: false, serviceAccountName: name },
    },
    master: {
      ...part(args.master),
      data: claim(args.master.volume),
      logs: NO_LOG_FILES,
      config: `[master.maintenance]\nscripts = "${MAINTENANCE}"\n`,
      // It reads its configuration once, and the chart does not roll it.
      podAnnotations: { "254carbon.com/maintenance": MAINTENANCE },
      // A bucket has its own volumes of 1 GB. By default each allocates seven at once: six buckets would take 42 GB.
      extraEnvironmentVars: { WEED_MASTER_VOLUME_GROWTH_COPY_1: "1" },
    },
    volume: {
      ...part(args.volume),
      // As many SeaweedFS volumes as fit.
      dataDirs: [{ name: "data", maxVolumes: 0, ...claim(args.volume.volume) }],
      // A Job that deletes the StatefulSet when a size changes.
      resizeHook: { enabled: false },
    },
    filer: { ...part(args.filer), data: claim(args.filer.volume), logs: NO_LOG_FILES },
    s3: {
      ...s3,
      logs: NO_LOG_FILES,
      // It reads renewed ones by itself. What the parts say to each other stays plain: the chart would make certificates of its own.
      extraArgs: [`-cert.file=${CERTIFICATE}/tls.crt`, `-key.file=${CERTIFICATE}/tls.key`],
      extraVolumes: `${s3.extraVolumes}- name: certificate\n  secret:\n    secretName: ${certificate}\n`,
      extraVolumeMounts: `${s3.extraVolumeMounts}- name: certificate\n  mountPath: ${CERTIFICATE}\n`,
      readinessProbe: HTTPS_PROBE,
      livenessProbe: HTTPS_PROBE,
      enabled: true,
      port: S3_PORT,
      enableAuth: true,
      existingConfigSecret: users.name,
      podAnnotations: { [`checksum.254carbon.com/${users.name}`]: users.checksum },
    },
  };
}

function claim({ sizeGiB, storageClass }: Volume): ClaimValues {
  return { type: "persistentVolumeClaim", size: `${sizeGiB}Gi`, storageClass };
}
