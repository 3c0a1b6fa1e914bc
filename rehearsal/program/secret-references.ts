import { customKind } from "../operators";
import type { CustomResource, Manifest } from "../operators/operator";
import { plain } from "./values";

/** A reference to a Secret; without keys it uses all of them. */
export interface SecretReference {
  /** `Deployment data-platform/mlflow`. */
  readonly owner: string;
  readonly namespace: string;
  readonly secret: string;
  readonly keys: readonly string[];
}

/** The keys of each future Secret, by `<namespace>/<name>`. */
export type KnownSecrets = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * References to missing Secrets or keys, with the reader, the Secret, the key and the existing keys. A pod with such a
 * reference waits for ever, and only its events say why.
 */
export function secretFaults(objects: readonly Manifest[], known: KnownSecrets, namespace?: string): string[] {
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

/** The Secrets among some objects, and those that operators create for the others. */
export function knownSecrets(objects: readonly Manifest[], namespace?: string): KnownSecrets {
  const known = new Map<string, Set<string>>();
  // The schemas of custom resources were checked elsewhere.
  const all = objects.map((object) => plain(object) as CustomResource);
  for (const object of all) {
    for (const [name, keys] of Object.entries(madeOf(object, all))) {
      const full = `${namespaceOf(object, namespace)}/${name}`;
      // Several objects may contribute to one Secret.
      known.set(full, new Set([...(known.get(full) ?? []), ...keys]));
    }
  }
  return known;
}

/** The Secrets that come of an object, with their keys. */
function madeOf(object: CustomResource, all: readonly CustomResource[]): Readonly<Record<string, readonly string[]>> {
  const { metadata, data = {}, stringData = {} } = object;
  if (kindOf(object) !== "v1/Secret") return customKind(kindOf(object))?.secrets(object, all) ?? {};
  return { [metadata.name]: [...Object.keys(data as object), ...Object.keys(stringData as object)] };
}

function kindOf({ apiVersion, kind }: Manifest): string {
  return `${apiVersion}/${kind}`;
}

function namespaceOf(object: Manifest, namespace = ""): string {
  return customKind(kindOf(object))?.secretsIn ?? object.metadata.namespace ?? namespace;
}

/**
 * Every place of an object that needs a Secret: in its pods, and in what a custom resource tells its operator, but for the
 * Secrets that come of it.
 */
export function secretReferences(object: Manifest, namespace?: string): SecretReference[] {
  // A CRD only describes what others name.
  if (object.kind === "CustomResourceDefinition") return [];
  const own = plain(object) as CustomResource;
  const made = madeOf(own, [own]);
  const owner = `${own.kind} ${own.metadata.namespace ?? namespace ?? ""}/${own.metadata.name}`;
  const where = namespaceOf(own, namespace);
  return found(own)
    .filter(({ secret }) => !(secret in made))
    .map(({ secret, keys }) => ({ owner, namespace: where, secret, keys }));
}

type Found = Pick<SecretReference, "secret" | "keys">;
type Tree = Readonly<Record<string, unknown>>;

function found(node: unknown, property = ""): Found[] {
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
  /^(secret|\w*Secret|\w*[sS]ecret(Key)?Ref|imagePullSecrets|certificateRefs|credentialRefs|users|username|password|accessKeyId|secretAccessKey)$/;

function namedBy(tree: Tree, property: string): string | undefined {
  // `secretName` is for volumes, listeners' certificates and CA issuers, `secretRef` for chart values.
  const named = [tree["secretName"], tree["secretRef"]].find((one) => typeof one === "string");
  // A chart's empty name means none.
  if (named !== undefined) return named || undefined;
  return REFERENCE.test(property) && typeof tree["name"] === "string" ? tree["name"] : undefined;
}

function keysOf({ key, certificate, secretKey, items = [] }: Tree): string[] {
  const listed = (items as readonly Tree[]).map((item) => item["key"]);
  return [key, certificate, secretKey, ...listed].filter((one) => typeof one === "string");
}
