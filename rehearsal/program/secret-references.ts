import { plain } from "./values";

/** An object of Kubernetes, or what the program registers as one. */
export interface SecretObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
  readonly [key: string]: unknown;
}

/** A place that reads a Secret; without keys it takes whatever is there. */
export interface SecretReference {
  /** `Deployment data-platform/mlflow`. */
  readonly owner: string;
  readonly namespace: string;
  readonly secret: string;
  readonly keys: readonly string[];
}

/** The keys of each Secret that there will be, by `<namespace>/<name>`. */
export type KnownSecrets = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * The references to Secrets that lead nowhere: of each the reader, the Secret, the key, and what keys there are. A pod
 * with such a reference waits for ever, and nothing but its events says why.
 */
export function secretFaults(objects: readonly SecretObject[], known: KnownSecrets, namespace?: string): string[] {
  const faults = objects.flatMap((object) => secretReferences(object, namespace)).flatMap((one) => fault(one, known));
  return [...new Set(faults)];
}

function fault({ owner, namespace, secret, keys }: SecretReference, known: KnownSecrets): string[] {
  const found = known.get(`${namespace}/${secret}`);
  if (found === undefined) {
    const others = [...known.keys()].filter((name) => name.startsWith(`${namespace}/`));
    const there = others.map((name) => name.slice(namespace.length + 1)).sort();
    return [`${owner}: reads Secret ${secret}, which nothing makes; in ${namespace} there are ${listed(there)}`];
  }
  return keys
    .filter((key) => !found.has(key))
    .map((key) => `${owner}: reads key ${key} of Secret ${secret}, which has ${listed([...found].sort())}`);
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}

/** Every Secret of some objects: those among them, and those that operators make of the others. */
export function knownSecrets(objects: readonly SecretObject[], namespace?: string): KnownSecrets {
  const known = new Map<string, Set<string>>();
  for (const object of objects) {
    const own = object.metadata?.namespace ?? namespace ?? "";
    for (const [name, keys] of Object.entries(MAKERS[kindOf(object)]?.(readable(object)) ?? {})) {
      // Several may add to one Secret; what they add is there.
      const all = known.get(`${own}/${name}`) ?? new Set();
      for (const key of keys) all.add(key);
      known.set(`${own}/${name}`, all);
    }
  }
  return known;
}

type Made = Readonly<Record<string, readonly string[]>>;

// What is read of the custom resources; their schemas were checked elsewhere.
interface Readable {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly stringData: Readonly<Record<string, unknown>>;
  readonly spec: {
    readonly secretName?: string;
    readonly keystores?: Readonly<Record<"pkcs12" | "jks", { readonly create?: boolean } | undefined>>;
    readonly enableSuperuserAccess?: boolean;
    readonly authentication?: { readonly type?: string };
  };
}

const CA = ["ca.crt", "ca.p12", "ca.password"];

/** The Secrets that come of an object, with their keys, by `<group>/<Kind>`. */
const MAKERS: Readonly<Record<string, (object: Readable) => Made>> = {
  "/Secret": ({ name, data, stringData }) => ({ [name]: [...Object.keys(data), ...Object.keys(stringData)] }),
  "cert-manager.io/Certificate": ({ spec: { secretName = "", keystores } }) => ({
    [secretName]: [
      "tls.crt",
      "tls.key",
      "ca.crt",
      ...(keystores?.pkcs12?.create ? ["keystore.p12", "truststore.p12"] : []),
      ...(keystores?.jks?.create ? ["keystore.jks", "truststore.jks"] : []),
    ],
  }),
  "postgresql.cnpg.io/Cluster": ({ name, spec }) => {
    const login = ["username", "user", "password", "dbname", "host", "port", "uri", "jdbc-uri", "pgpass"];
    return {
      [`${name}-ca`]: ["ca.crt", "ca.key"],
      [`${name}-server`]: ["tls.crt", "tls.key"],
      [`${name}-replication`]: ["tls.crt", "tls.key"],
      [`${name}-app`]: login,
      ...(spec.enableSuperuserAccess && { [`${name}-superuser`]: login }),
    };
  },
  "kafka.strimzi.io/Kafka": ({ name }) => ({ [`${name}-cluster-ca-cert`]: CA, [`${name}-clients-ca-cert`]: CA }),
  "kafka.strimzi.io/KafkaUser": ({ name, spec }) => ({
    [name]:
      spec.authentication?.type === "scram-sha-512"
        ? ["password", "sasl.jaas.config"]
        : ["ca.crt", "user.crt", "user.key", "user.p12", "user.password"],
  }),
  "elasticsearch.k8s.elastic.co/Elasticsearch": ({ name }) => ({
    [`${name}-es-elastic-user`]: ["elastic"],
    [`${name}-es-http-certs-public`]: ["ca.crt", "tls.crt"],
    [`${name}-es-http-ca-internal`]: ["tls.crt", "tls.key"],
  }),
};

function readable(object: SecretObject): Readable {
  const {
    metadata,
    data = {},
    stringData = {},
    spec = {},
  } = plain(object) as Partial<Readable> & {
    metadata?: { name?: string };
  };
  return { name: metadata?.name ?? "", data, stringData, spec };
}

function kindOf({ apiVersion = "", kind = "" }: SecretObject): string {
  const group = apiVersion.includes("/") ? apiVersion.replace(/\/.*$/, "") : "";
  return `${group}/${kind}`;
}

/** Every place of an object that needs a Secret: in its pods, and in what a custom resource tells its operator. */
export function secretReferences(object: SecretObject, namespace?: string): SecretReference[] {
  const own = object.metadata?.namespace ?? namespace ?? "";
  const owner = `${object.kind ?? ""} ${own}/${object.metadata?.name ?? ""}`;
  // The Secret that a Certificate names is one that it makes, and a CRD only describes what others name.
  if (["cert-manager.io/Certificate", "apiextensions.k8s.io/CustomResourceDefinition"].includes(kindOf(object))) {
    return [];
  }
  // A ClusterIssuer lies in no namespace: cert-manager looks where it runs itself.
  const where = kindOf(object) === "cert-manager.io/ClusterIssuer" ? "cert-manager" : own;
  return found(plain(object)).map(({ secret, keys }) => ({ owner, namespace: where, secret, keys }));
}

type Found = Pick<SecretReference, "secret" | "keys">;
type Tree = Readonly<Record<string, unknown>>;

function found(node: unknown, property = ""): Found[] {
  if (property === MADE_BY_ITS_READER) return [];
  if (Array.isArray(node)) return node.flatMap((item: unknown) => found(item, property));
  if (/^(config|existing)Secret$/.test(property) && typeof node === "string") return [{ secret: node, keys: [] }];
  if (typeof node !== "object" || node === null) return [];
  const tree = node as Tree;
  const inner = Object.entries(tree).flatMap(([key, value]) => found(value, key));
  const secret = namedBy(tree, property);
  return secret === undefined || tree["optional"] === true ? inner : [{ secret, keys: keysOf(tree) }, ...inner];
}

/** Fields that hold a reference `{ name, key? }`: `secretKeyRef`, `envFrom`'s `secretRef`, `passwordSecret` and the like. */
const REFERENCE =
  /^(secret|\w*Secret|\w*[sS]ecret(Key)?Ref|imagePullSecrets|certificateRefs|username|password|accessKeyId|secretAccessKey)$/;
// The account that cert-manager registers itself.
const MADE_BY_ITS_READER = "privateKeySecretRef";

function namedBy(tree: Tree, property: string): string | undefined {
  // Of a volume, of a listener's certificate, of a CA's issuer; the other is how the values of charts say it.
  const named = [tree["secretName"], tree["secretRef"]].find((one) => typeof one === "string");
  if (named !== undefined) return named;
  return REFERENCE.test(property) && typeof tree["name"] === "string" ? tree["name"] : undefined;
}

function keysOf({ key, certificate, secretKey, items = [] }: Tree): string[] {
  const listed = (items as readonly Tree[]).map((item) => item["key"]);
  return [key, certificate, secretKey, ...listed].filter((one) => typeof one === "string");
}
