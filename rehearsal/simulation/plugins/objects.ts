/** Kubernetes objects of any kind as Pulumi resources. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ApiError,
  describe,
  isApiError,
  referenceOf,
  UnknownKind,
  type ApiServer,
  type KubeObject,
  type Reference,
} from "./api";
import { becomeGone, becomeReady, isAnnotated, readyNow, timeoutSeconds, Unready, type Waiter } from "./await";
import { covers, difference, parsePath, prune } from "./diff";
import { immutableFields, type Mutability } from "./immutable";
import {
  NotReady,
  type CheckRequest,
  type CreateRequest,
  type DeleteRequest,
  type DiffRequest,
  type Difference,
  type Failure,
  type Found,
  type Host,
  type ReadRequest,
  type ResourceType,
  type UpdateRequest,
} from "./plugin";
import {
  asText,
  at,
  hasUnknown,
  isList,
  isObject,
  isUnknown,
  markSecrets,
  plainObject,
  textAt,
  without,
  withoutSecrets,
  withValue,
  type Properties,
  type Value,
} from "../../program/values";

/** What the objects of one provider have in common. */
export interface ObjectsOptions {
  readonly api: ApiServer;
  readonly host: Host;
  readonly cancelled: AbortSignal;
  readonly mutable: Mutability;
  /** Namespace of objects that name none. */
  readonly namespace: string;
  /** Takes fields from other managers without being asked to by an annotation. */
  readonly patchForce: boolean;
  /** Writes over objects that are already there instead of failing. */
  readonly upsert: boolean;
}

// The manager of fields written by a create; an update takes them over under the resource's own name.
const CREATE_MANAGER = "pulumi-kubernetes";
// Managers whose fields the first update takes over, as the official plugin does.
const TAKEN_OVER: readonly (readonly [name: string, operation: string])[] = [
  ["kubectl", "Apply"],
  ["kubectl", "Update"],
  ["before-first-apply", "Update"],
  [CREATE_MANAGER, "Update"],
];
// A namespace or CustomResourceDefinition that the program makes at the same time may come a little later.
const MISSING_RETRY_SECONDS = 31;
// Deleting these with skipAwait does not wait either: a behaviour that the official plugin keeps for old programs.
const DELETED_WITHOUT_WAIT: ReadonlySet<string> = new Set([
  "v1/Namespace",
  "v1/Pod",
  "v1/ReplicationController",
  "apps/v1/DaemonSet",
  "apps/v1/Deployment",
  "apps/v1/StatefulSet",
  "batch/v1/Job",
]);
const SERVER_FIELDS = [
  "creationTimestamp",
  "deletionGracePeriodSeconds",
  "deletionTimestamp",
  "generation",
  "managedFields",
  "resourceVersion",
  "uid",
];

/** Kubernetes objects, of built-in kinds and custom resources alike. */
export class Objects implements ResourceType {
  /** Scope of the kinds that the program defines itself, by group and kind. */
  private readonly defined = new Map<string, boolean>();

  constructor(private readonly options: ObjectsOptions) {}

  async check({ type, urn, news }: CheckRequest): Promise<{ inputs: Properties; failures: readonly Failure[] }> {
    const object = this.normalized(withKind(fromEngine(news), type));
    const name = at(object, "metadata", "name");
    const failures: Failure[] = [];
    if (!isUnknown(name) && (typeof name !== "string" || name === "")) {
      const reason = `${urn.split("::").at(-1) ?? urn} (${type}) has no metadata.name; this program fixes the name of every object: set it`;
      failures.push({ property: "metadata.name", reason });
    }
    const kind = referenceOf(object);
    if (kind.kind.endsWith("List") && type.endsWith("List") && at(object, "items") !== undefined) {
      failures.push({ property: "kind", reason: `${type} is a list; declare its objects one by one` });
    }
    this.rememberDefinition(object);
    const namespaced = kind.namespace === "" && ((await this.isNamespaced(kind)) ?? true);
    const inputs = namespaced ? withValue(object, ["metadata", "namespace"], this.options.namespace) : object;
    return { inputs: markSecrets(inputs, news), failures };
  }

  async diff({ type, state, news, ignoreChanges }: DiffRequest): Promise<Difference> {
    const { inputs: oldInputs, live } = parseState(state);
    const wanted = await this.scoped(this.normalized(fromEngine(news)));
    const before = await this.scoped(withoutServerFields(prune(live, this.normalized(oldInputs))));
    const old = {
      ...before,
      apiVersion: before["apiVersion"] ?? wanted["apiVersion"] ?? "",
      kind: before["kind"] ?? wanted["kind"] ?? "",
    };
    const immutable = isPatch(type, wanted)
      ? ["metadata.name", "metadata.namespace"]
      : immutableFields(wanted, this.options.mutable);
    const all = difference(old, wanted, immutable);
    const changes = new Map([...all].filter(([path]) => !ignoreChanges.some((ignored) => covers(ignored, path))));
    const [oldObject, newObject] = [referenceOf(live), referenceOf(wanted)];
    return {
      changes,
      // Two objects of one name cannot be there at once.
      deleteBeforeReplace: oldObject.name === newObject.name && oldObject.namespace === newObject.namespace,
    };
  }

  async create({ urn, type, news, timeout, preview }: CreateRequest): Promise<{ id: string; state: Properties }> {
    const inputs = fromEngine(news);
    const patch = isPatch(type, inputs);
    if (preview && (hasUnknown(inputs) || patch || (await this.isNamespaced(referenceOf(inputs))) === undefined)) {
      return { id: "", state: news };
    }
    const manager = managerOf(inputs, {});
    let live: KubeObject;
    try {
      live = await this.createObject(inputs, { manager, preview, apply: patch || this.options.upsert });
    } catch (error) {
      if (preview && isUnpreviewable(error)) {
        return { id: "", state: news };
      }
      // The cause stays out: its message may hold a secret value.
      // eslint-disable-next-line preserve-caught-error
      throw new Error(`cannot create ${describe(referenceOf(inputs))}: ${explain(error, news)}`);
    }
    if (preview) {
      return { id: "", state: checkpoint(inputs, withValue(live, ["status"], undefined), news, manager) };
    }
    const ready = await becomeReady(this.waiter(urn), inputs, live, timeout).catch((error: unknown) => {
      throw this.notReady(error, live, (object) => checkpoint(inputs, object, news, manager), news);
    });
    if (isDefinition(inputs)) {
      this.options.api.forgetKinds();
    }
    return { id: idOf(ready), state: checkpoint(inputs, ready, news, manager) };
  }

  async read({ type, id, state, inputs }: ReadRequest): Promise<Found | undefined> {
    const [name = "", namespace = ""] = id.split("/").reverse();
    const { live: before } = parseState(state);
    const known = Object.keys(inputs).length > 0;
    const oldInputs = known ? this.normalized(fromEngine(inputs)) : withKind({ metadata: { name, namespace } }, type);
    const reference = { ...referenceOf(oldInputs), name, namespace: namespace || this.options.namespace };
    const live = await this.options.api.find(reference);
    if (live === undefined) {
      return undefined;
    }
    const liveInputs = known
      ? prune(live, oldInputs, Object.keys(before).length > 0 ? before : undefined)
      : asInputs(live);
    const manager = managerOf(oldInputs, state);
    const found = {
      id,
      state: checkpoint(liveInputs, live, inputs, manager),
      inputs: markSecrets(liveInputs, inputs),
    };
    const unready = known ? await readyNow(this.options.api, oldInputs, live) : undefined;
    if (unready !== undefined) {
      throw new NotReady(withoutSecrets(unready.message, inputs), id, found.state, unready.reasons, found.inputs);
    }
    return found;
  }

  async update(request: UpdateRequest): Promise<Properties> {
    const { urn, type, state, news, timeout, preview } = request;
    const inputs = this.normalized(fromEngine(news));
    const reference = referenceOf(inputs);
    if (preview && (hasUnknown(inputs) || (await this.isNamespaced(reference)) === undefined)) {
      return news;
    }
    const [oldManager, manager] = [managerOf({}, state), managerOf(inputs, state)];
    const { live: before } = parseState(state);
    const present = await this.options.api.find(
      await this.resolve({ ...referenceOf(before), apiVersion: reference.apiVersion }),
    );
    if (present === undefined) {
      throw new Error(`cannot update ${describe(reference)}: it is gone; run pulumi refresh, then pulumi up`);
    }
    let live = present;
    try {
      live = await this.updateObject(inputs, present, {
        manager,
        preview,
        patch: isPatch(type, inputs),
        ignored: request.ignoreChanges,
      });
      if (preview) {
        return checkpoint(inputs, live, news, manager);
      }
      live = await becomeReady(this.waiter(urn), inputs, live, timeout);
    } catch (error) {
      if (preview && isApiError(error, 403)) {
        return news;
      }
      throw this.notReady(error, live, (object) => checkpoint(inputs, object, news, manager), news);
    }
    if (oldManager !== manager) {
      await this.relinquish(live, oldManager);
    }
    return checkpoint(inputs, live, news, manager);
  }

  async delete({ urn, type, state, timeout }: DeleteRequest): Promise<void> {
    const { inputs, live } = parseState(state);
    const { api } = this.options;
    const reference = await this.resolve(referenceOf(live));
    if (isPatch(type, inputs)) {
      await this.relinquish(live as KubeObject, managerOf(inputs, state));
      return;
    }
    const present = await api.find(reference);
    if (present === undefined || !(await api.delete(reference, propagation(inputs)))) {
      return;
    }
    if (isAnnotated(inputs, "skipAwait") && DELETED_WITHOUT_WAIT.has(`${reference.apiVersion}/${reference.kind}`)) {
      return;
    }
    const seconds = timeoutSeconds(inputs, timeout);
    await becomeGone(this.waiter(urn), reference, present, seconds).catch((error: unknown) => {
      throw this.notReady(
        error,
        present,
        (object) => checkpoint(inputs, object, state, managerOf(inputs, state)),
        state,
      );
    });
  }

  private waiter(urn: string): Waiter {
    const { api, cancelled, host } = this.options;
    return {
      api,
      cancelled,
      status: (message) => {
        host.status(urn, message);
      },
    };
  }

  private notReady(
    error: unknown,
    live: KubeObject,
    stateOf: (object: KubeObject) => Properties,
    secrets: Properties,
  ): NotReady {
    const object = error instanceof Unready ? error.object : live;
    const message = explain(error, secrets);
    const reasons =
      error instanceof Unready ? error.reasons.map((reason) => withoutSecrets(reason, secrets)) : [message];
    return new NotReady(message, idOf(object), stateOf(object), reasons);
  }

  private async createObject(
    inputs: Properties,
    { manager, preview, apply }: { manager: string; preview: boolean; apply: boolean },
  ): Promise<KubeObject> {
    const { api, cancelled } = this.options;
    const end = Date.now() + MISSING_RETRY_SECONDS * 1000;
    for (;;) {
      try {
        const object = (await this.scoped(inputs)) as KubeObject;
        return apply
          ? await api.apply(object, { fieldManager: manager, dryRun: preview, force: preview || this.forces(inputs) })
          : await api.create(object, { fieldManager: CREATE_MANAGER, dryRun: preview });
      } catch (error) {
        const missing = isApiError(error, 404) || error instanceof UnknownKind;
        if (!missing || preview || cancelled.aborted || Date.now() > end) {
          throw error;
        }
        await sleep(500);
      }
    }
  }

  private async updateObject(
    inputs: Properties,
    present: KubeObject,
    options: { manager: string; preview: boolean; patch: boolean; ignored: readonly string[] },
  ): Promise<KubeObject> {
    const { api } = this.options;
    const { manager, preview } = options;
    const object = (await this.scoped(inputs)) as KubeObject;
    if (isDefinition(inputs)) {
      // A definition is put as a whole: applying it would keep versions that were left out.
      const version = at(present, "metadata", "resourceVersion");
      return api.replace(withValue(object, ["metadata", "resourceVersion"], version) as KubeObject, {
        fieldManager: manager,
        dryRun: preview,
      });
    }
    const owned = options.patch || preview ? present : await this.takeOver(present, manager);
    const managed = at(owned, "metadata", "managedFields");
    const ours = isList(managed) && managed.some((entry) => isTakenOver(entry));
    const force = this.forces(inputs) || (preview && ours) || !isList(managed) || managed.length === 0;
    const applied = options.ignored.reduce<Properties>(
      (result, path) => withIgnored(result, owned, path, manager),
      object,
    );
    return api.apply(applied as KubeObject, { fieldManager: manager, dryRun: preview, force });
  }

  private forces(inputs: Properties): boolean {
    return this.options.patchForce || isAnnotated(inputs, "patchForce");
  }

  /** Moves the fields that a create wrote to the manager of updates, so that applying does not conflict with ourselves. */
  private async takeOver(present: KubeObject, manager: string): Promise<KubeObject> {
    const entries = at(present, "metadata", "managedFields");
    const list = isList(entries) ? entries.filter(isObject) : [];
    const ours = list.filter(isTakenOver);
    const [first] = ours;
    if (first === undefined) {
      return present;
    }
    const isApplied = (entry: Properties): boolean => entry["manager"] === manager && entry["operation"] === "Apply";
    const fields = [...list.filter(isApplied), ...ours].map((entry) => entry["fieldsV1"] ?? {}).reduce(union, {});
    const merged = {
      apiVersion: first["apiVersion"] ?? "",
      fieldsType: "FieldsV1",
      fieldsV1: fields,
      manager,
      operation: "Apply",
    };
    const others = list.filter((entry) => !ours.includes(entry) && !isApplied(entry));
    const version = at(present, "metadata", "resourceVersion") ?? "";
    return this.options.api.patch(referenceOf(present), [
      { op: "replace", path: "/metadata/managedFields", value: [...others, merged] },
      { op: "replace", path: "/metadata/resourceVersion", value: version },
    ]);
  }

  /** Gives up all fields that a manager applied. */
  private async relinquish(live: KubeObject, manager: string): Promise<void> {
    const { apiVersion, kind, namespace, name } = await this.resolve(referenceOf(live));
    const nothing = { apiVersion, kind, metadata: { name, ...(namespace !== "" && { namespace }) } };
    if ((await this.options.api.find({ apiVersion, kind, namespace, name })) !== undefined) {
      await this.options.api.apply(nothing, { fieldManager: manager, force: false });
    }
  }

  private async resolve(reference: Reference): Promise<Reference> {
    return (await this.isNamespaced(reference)) === false ? { ...reference, namespace: "" } : reference;
  }

  /** The object with its namespace, or without one where its kind has none. */
  private async scoped(object: Properties): Promise<Properties> {
    const reference = referenceOf(object);
    const namespaced = (await this.isNamespaced(reference)) ?? true;
    return withValue(
      object,
      ["metadata", "namespace"],
      namespaced ? reference.namespace || this.options.namespace : undefined,
    );
  }

  private async isNamespaced(kind: Pick<Reference, "apiVersion" | "kind">): Promise<boolean | undefined> {
    const served = await this.options.api.isNamespaced(kind);
    return served ?? this.defined.get(`${kind.apiVersion.split("/")[0] ?? ""}/${kind.kind}`);
  }

  private rememberDefinition(object: Properties): void {
    if (isDefinition(object)) {
      const kind = `${textAt(object, "spec", "group")}/${textAt(object, "spec", "names", "kind")}`;
      this.defined.set(kind, textAt(object, "spec", "scope") !== "Cluster");
    }
  }

  /** The object in the form that the server gives it: without read-only fields, and a Secret's text as data. */
  private normalized(object: Properties): Properties {
    const clean = withoutServerFields(object);
    if (isDefinition(clean)) {
      const preserved = at(clean, "spec", "preserveUnknownFields") === false;
      const withoutStatus = withValue(clean, ["status"], undefined);
      return preserved ? withValue(withoutStatus, ["spec", "preserveUnknownFields"], undefined) : withoutStatus;
    }
    if (clean["apiVersion"] !== "v1" || clean["kind"] !== "Secret" || hasUnknown(clean)) {
      return clean;
    }
    const { stringData, ...rest } = clean;
    const { data } = rest;
    const encoded = isObject(data) ? Object.entries(data).map(([key, value]) => [key, reencode(value)] as const) : [];
    const texts = isObject(stringData)
      ? Object.entries(stringData).map(([key, value]) => [key, Buffer.from(asText(value)).toString("base64")] as const)
      : [];
    const all = Object.fromEntries<Value>([...encoded, ...texts]);
    return Object.keys(all).length > 0 ? { ...rest, data: all } : clean;
  }
}

/** The server decodes and encodes a Secret's data, which drops line breaks. */
function reencode(value: Value): Value {
  return typeof value === "string" && /^[\sA-Za-z0-9+/=]*$/.test(value)
    ? Buffer.from(value, "base64").toString("base64")
    : value;
}

// The SDK's names of the fields of a CustomResourceDefinition that hold dashes.
function renamed(value: Value, from: RegExp, to: (key: string) => string): Value {
  if (isList(value)) {
    return value.map((element) => renamed(element, from, to));
  }
  return isObject(value)
    ? Object.fromEntries(
        Object.entries(value).map(([key, inner]) => [from.test(key) ? to(key) : key, renamed(inner, from, to)]),
      )
    : value;
}

const EXTENSIONS =
  "embedded.resource|int.or.string|list.map.keys|list.type|map.type|preserve.unknown.fields|validations";
const UNDERSCORED = new RegExp(`^x_kubernetes_(${EXTENSIONS})$`);
const DASHED = new RegExp(`^x-kubernetes-(${EXTENSIONS})$`);

/** Properties of the engine as the API server wants them: no secret wrappers, no nulls, dashes in extension names. */
function fromEngine(properties: Properties): Properties {
  return renamed(plainObject(properties), UNDERSCORED, (key) => key.replaceAll("_", "-")) as Properties;
}

function forEngine(object: Properties): Properties {
  return renamed(object, DASHED, (key) => key.replaceAll("-", "_")) as Properties;
}

/** apiVersion and kind of the type token, where the inputs have none. */
function withKind(object: Properties, type: string): Properties {
  const [, module = "", name = ""] = type.split(":");
  const [group = "", version = ""] = module.split("/");
  return { apiVersion: group === "core" ? version : `${group}/${version}`, kind: name, ...object };
}

/** A resource like NamespacePatch manages some fields of an object that is somebody else's. */
function isPatch(type: string, object: Properties): boolean {
  return type.endsWith(`:${textAt(object, "kind")}Patch`);
}

function isDefinition(object: Properties): boolean {
  return (
    object["kind"] === "CustomResourceDefinition" && textAt(object, "apiVersion").startsWith("apiextensions.k8s.io/")
  );
}

function withoutServerFields(object: Properties): Properties {
  return SERVER_FIELDS.reduce((result, field) => withValue(result, ["metadata", field], undefined), object);
}

function managerOf(inputs: Properties, state: Properties): string {
  const given = textAt(inputs, "metadata", "annotations", "pulumi.com/patchFieldManager");
  return given || textAt(state, "__fieldManager") || `pulumi-kubernetes-${randomBytes(4).toString("hex")}`;
}

function propagation(inputs: Properties): string {
  const given = textAt(inputs, "metadata", "annotations", "pulumi.com/deletionPropagationPolicy").toLowerCase();
  return given === "orphan" ? "Orphan" : given === "background" ? "Background" : "Foreground";
}

/** The state of a resource: the live object, so that its fields are outputs, and what was asked for. */
function checkpoint(inputs: Properties, live: Properties, given: Properties, manager: string): Properties {
  const secrets = { ...given, ...(isObject(given["__inputs"]) ? given["__inputs"] : {}) };
  return {
    ...markSecrets(forEngine(withValue(live, ["metadata", "managedFields"], undefined)), secrets),
    __inputs: markSecrets(forEngine(inputs), secrets),
    __initialApiVersion: textAt(inputs, "apiVersion"),
    __fieldManager: manager,
  };
}

function parseState(state: Properties): { inputs: Properties; live: Properties } {
  const all = fromEngine(state);
  const { __inputs: inputs } = all;
  return {
    inputs: isObject(inputs) ? inputs : {},
    live: without(all, "__inputs", "__initialApiVersion", "__fieldManager"),
  };
}

/** A live object as somebody would have written it: for what was only ever read. */
function asInputs(live: KubeObject): Properties {
  return withValue(withoutServerFields(live), ["status"], undefined);
}

function idOf(object: Properties): string {
  const { namespace, name } = referenceOf(object);
  return namespace === "" ? name : `${namespace}/${name}`;
}

/** A dry run says nothing about objects whose namespace is to come, which are to be replaced, or are refused to us. */
function isUnpreviewable(error: unknown): boolean {
  return (
    error instanceof UnknownKind ||
    isApiError(error, 403) ||
    (error instanceof ApiError && (error.reason === "AlreadyExists" || error.subject === "namespaces"))
  );
}

function explain(error: unknown, secrets: Properties): string {
  const message = withoutSecrets(error instanceof Error ? error.message : String(error), secrets);
  if (!(error instanceof ApiError)) {
    return message;
  }
  if (error.reason === "AlreadyExists") {
    return (
      `${message}. Another resource of this program or somebody else made it: give one of the two another name, ` +
      "adopt it with pulumi import, or move a renamed resource's state with an alias"
    );
  }
  return error.reason === "Conflict" && message.includes("conflict")
    ? `${message}. Another manager set these fields: leave them out, or set the annotation pulumi.com/patchForce: "true" to take them`
    : message;
}

function isTakenOver(entry: Value): boolean {
  return TAKEN_OVER.some(
    ([name, operation]) =>
      textAt(entry, "manager") === name &&
      textAt(entry, "operation") === operation &&
      textAt(entry, "subresource") === "",
  );
}

function union(a: Value, b: Value): Properties {
  const [first, second] = [isObject(a) ? a : {}, isObject(b) ? b : {}];
  const result: Record<string, Value> = { ...first };
  for (const [key, value] of Object.entries(second)) {
    result[key] = union(first[key] ?? {}, value);
  }
  return result;
}

/** An ignored field keeps its live value, or is left to the manager that it has. */
function withIgnored(object: Properties, live: KubeObject, path: string, manager: string): Properties {
  const keys = parsePath(path).map(String);
  const value = at(live, ...keys);
  if (value === undefined) {
    return object;
  }
  const fields = keys.map((key) => `f:${key}`);
  const entries = at(live, "metadata", "managedFields");
  const owners = (isList(entries) ? entries : []).filter((entry) => at(entry, "fieldsV1", ...fields) !== undefined);
  const foreign = owners.length > 0 && !owners.some((entry) => textAt(entry, "manager") === manager);
  return withValue(object, keys, foreign ? undefined : value);
}
