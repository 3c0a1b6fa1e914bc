import { charts } from "../../../components/base/versions";
import {
  claim,
  type CustomKind,
  type CustomResource,
  INERT,
  type Operator,
  type PodSpec,
  type Resources,
} from "../operator";

interface ClusterSpec {
  readonly instances: number;
  readonly resources?: Resources;
  readonly affinity?: Pick<PodSpec, "nodeSelector" | "tolerations">;
  readonly storage: { readonly size: string };
  readonly walStorage?: { readonly size: string };
  readonly plugins?: readonly { readonly parameters?: { readonly barmanObjectName?: string } }[];
  readonly inheritedMetadata?: { readonly labels?: Readonly<Record<string, string>> };
  readonly enableSuperuserAccess?: boolean;
  /** Secrets of a certificate that somebody else makes. */
  readonly certificates?: object;
}

interface ObjectStoreSpec {
  readonly instanceSidecarConfiguration?: { readonly resources?: Resources };
}

const URIS = ["uri", "jdbc-uri", "fqdn-uri", "fqdn-jdbc-uri"];
const LOGIN = ["username", "user", "password", "dbname", "host", "port", "pgpass", ...URIS];

const cluster: CustomKind = {
  /**
   * A pod and a claim for each instance; a rollout replaces them one after the other. Where it is backed up, barman runs
   * beside it, in the size that the store names.
   */
  demand: ({ metadata, spec }: CustomResource<ClusterSpec>, all) => {
    const { instances: replicas, resources, storage, walStorage, plugins = [], inheritedMetadata } = spec;
    const stores = plugins.flatMap(({ parameters }) =>
      all.filter(({ kind, metadata }) => kind === "ObjectStore" && metadata.name === parameters?.barmanObjectName),
    );
    const sidecars = (stores as CustomResource<ObjectStoreSpec>[]).map((store) => store.spec);
    const containers = [
      { resources },
      ...sidecars.map(({ instanceSidecarConfiguration }) => ({ resources: instanceSidecarConfiguration?.resources })),
    ];
    const claims = [storage, ...(walStorage ? [walStorage] : [])].map(({ size }) => claim(size));
    const labels = { ...inheritedMetadata?.labels, "cnpg.io/cluster": metadata.name };
    const ports = { postgresql: 5432, metrics: 9187, status: 8000 };
    // <cluster>-rw, -ro and -r.
    const { nodeSelector = {}, tolerations = [] } = spec.affinity ?? {};
    const pods = { containers, serviceAccountName: metadata.name, nodeSelector, tolerations };
    return { podSets: [{ replicas, labels, ports, spec: pods, claims }], services: 3 };
  },
  secrets: ({ metadata: { name }, spec }: CustomResource<ClusterSpec>) => ({
    [`${name}-ca`]: ["ca.crt", "ca.key"],
    ...(spec.certificates === undefined && { [`${name}-server`]: ["tls.crt", "tls.key"] }),
    [`${name}-replication`]: ["tls.crt", "tls.key"],
    [`${name}-app`]: LOGIN,
    ...(spec.enableSuperuserAccess && { [`${name}-superuser`]: LOGIN }),
  }),
};

/** CloudNativePG. */
export const cnpg: Operator = {
  name: "cnpg",
  origin: `chart cloudnative-pg ${charts.cloudnativePg.version}`,
  crds: { folder: "cnpg", group: "postgresql.cnpg.io" },
  kinds: {
    "postgresql.cnpg.io/v1/Cluster": cluster,
    "postgresql.cnpg.io/v1/Database": INERT,
    "postgresql.cnpg.io/v1/DatabaseRole": INERT,
    "postgresql.cnpg.io/v1/ScheduledBackup": {
      ...INERT,
      withoutStage: "nothing of a simulated instance can be stored",
    },
  },
};
