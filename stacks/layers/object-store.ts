import * as pulumi from "@pulumi/pulumi";
import { type BucketAccess, type BucketUser, type Credential, externalPeer, url } from "../../components/base/endpoint";
import { Minio } from "../../components/data/minio";
import { LEGACY_NAME, ObjectStore, type ObjectStoreArgs } from "../../components/data/object-store";
import { Seaweedfs } from "../../components/data/seaweedfs";
import { BACKUPS, BUCKETS, WAREHOUSE } from "../config/own-names";
import type { PlatformConfig } from "../config/schema";
import { halfSet, type Secrets } from "../config/secrets";
import type { SecretName } from "../config/systems";
import { filesOf, filesUser, tenantGrants } from "../config/tenants";
import type { Foundation } from "./foundation";
import { backupUser } from "./postgres";

type BucketName = (typeof BUCKETS)[number] | typeof BACKUPS;
type Access = Readonly<Partial<Record<BucketName, BucketAccess>>>;

interface ClientUser {
  readonly access: Access;
  /** Its access key and its secret key. */
  readonly login: readonly [SecretName, SecretName];
}

// Code is read-only to those who run it.
const CLIENTS = {
  mlflow: {
    access: { "mlflow-artifacts": "write" },
    login: ["objectStoreMlflowAccessKey", "objectStoreMlflowSecretKey"],
  },
  feast: {
    access: { "feast-offline": "read" },
    login: ["objectStoreFeastAccessKey", "objectStoreFeastSecretKey"],
  },
  ray: {
    // Its jobs write the history of features.
    access: { "feast-offline": "write", "ray-applications": "read" },
    login: ["objectStoreRayAccessKey", "objectStoreRaySecretKey"],
  },
  serve: {
    access: { "ray-applications": "write" },
    login: ["objectStoreServeAccessKey", "objectStoreServeSecretKey"],
  },
  polaris: {
    access: { [WAREHOUSE]: "write" },
    login: ["objectStorePolarisAccessKey", "objectStorePolarisSecretKey"],
  },
  trino: {
    access: { [WAREHOUSE]: "write" },
    login: ["objectStoreTrinoAccessKey", "objectStoreTrinoSecretKey"],
  },
  dolphinscheduler: {
    access: { dolphinscheduler: "write" },
    login: ["objectStoreDolphinschedulerAccessKey", "objectStoreDolphinschedulerSecretKey"],
  },
} as const satisfies Readonly<Partial<Record<keyof PlatformConfig, ClientUser>>>;

type Client = keyof typeof CLIENTS;

/** The object store with the buckets of all systems, and a user for each. */
export type PlatformStore = ObjectStore<BucketName, Client | typeof BACKUPS>;

/** The object store, on a server of ours or somebody else's. */
export function objectStoreOf(
  platform: PlatformConfig,
  secrets: Secrets,
  { at, namespaces, chartDirectory, authority, clusterDomain, volumeOf, metrics, isProtected }: Foundation,
): PlatformStore | undefined {
  const { objectStore: config } = platform;
  if (config === undefined) return undefined;
  const { bucketPrefix = "" } = config;
  const inFull = (access: Access): BucketUser["access"] =>
    Object.fromEntries(Object.entries(access).map(([bucket, right]) => [`${bucketPrefix}${bucket}`, right]));
  const namespace = namespaces["data-platform"];
  const protect = isProtected("object-store");
  const named = { authority, aliases: [LEGACY_NAME], clusterDomain };
  const shared = {
    login: { username: secrets.get("objectStoreAccessKey"), password: secrets.get("objectStoreSecretKey") },
    access: inFull(Object.fromEntries(BUCKETS.map((bucket) => [bucket, "write"]))),
  };
  const backups = backupUser(platform, secrets);
  const clients = Object.entries(CLIENTS) as [Client, ClientUser][];
  const users: Readonly<Partial<Record<Client | typeof BACKUPS, BucketUser>>> = {
    ...Object.fromEntries(
      clients
        .filter(([client]) => platform[client] !== undefined)
        .map(([client, { access, login }]) => [client, { login: loginOf(login), access: inFull(access) }]),
    ),
    ...(backups && { [BACKUPS]: { login: backups, access: inFull({ [BACKUPS]: "write" }) } }),
    ...Object.fromEntries(
      tenantGrants(platform, "bucket").map(({ user, name, access }) => [
        user,
        {
          login: { username: pulumi.output(user), password: secrets.ofTenant(user) },
          access: inFull({ [name]: access }),
        },
      ]),
    ),
    ...Object.fromEntries(
      tenantGrants(platform, "catalog").map((grant) => {
        const user = filesUser(grant);
        const login = { username: pulumi.output(user), password: secrets.ofTenant(user) };
        return [user, { login, access: inFull({ [filesOf(grant)]: "write" }) }];
      }),
    ),
  };
  return new ObjectStore<BucketName, Client | typeof BACKUPS>(
    "object-store",
    { namespace, region: config.region, shared, users, bucketPrefix, setupSize: config.setup, ...server(config) },
    at("objectStore"),
  );

  function loginOf([accessKey, secretKey]: ClientUser["login"]): Credential {
    if (config?.kind === "external") {
      const [unset, more] = [accessKey, secretKey].filter((key) => !secrets.has(key));
      if (more !== undefined) return shared.login;
      if (unset !== undefined) throw halfSet(unset, unset === accessKey ? secretKey : accessKey);
    }
    return { username: secrets.get(accessKey), password: secrets.get(secretKey) };
  }

  function server(
    store: NonNullable<PlatformConfig["objectStore"]>,
  ): Pick<ObjectStoreArgs, "url" | "destination" | "administrator" | "alerts"> {
    if (store.kind === "external") {
      return { url: pulumi.output(store.url), destination: externalPeer("s3", store.url, store.cidrs) };
    }
    if (store.kind === "seaweedfs") {
      const { s3 } = store;
      const keeper = ({ volume, ...size }: (typeof store)["volume"]) => ({
        ...size,
        volume: volumeOf(volume),
      });
      const administrator = {
        username: secrets.get("seaweedfsAdminAccessKey"),
        password: secrets.get("seaweedfsAdminSecretKey"),
      };
      const seaweedfs = new Seaweedfs(
        "seaweedfs",
        {
          namespace,
          chartDirectory,
          ...named,
          master: keeper(store.master),
          volume: keeper(store.volume),
          filer: keeper(store.filer),
          s3,
          administrator,
          users: { application: shared, ...users },
          protect,
        },
        at("objectStore"),
      );
      return {
        url: url(seaweedfs.s3),
        destination: seaweedfs.s3,
        administrator: { login: administrator, makesUsers: false },
      };
    }
    const root = { username: secrets.get("minioRootUser"), password: secrets.get("minioRootPassword") };
    const volume = volumeOf(store.volume);
    const minio = new Minio(
      "minio",
      { namespace, ...named, size: store, volume, root, metrics, protect },
      at("objectStore"),
    );
    const { s3, alerts } = minio;
    return { url: url(s3), destination: s3, administrator: { login: root, makesUsers: true }, alerts };
  }
}
