/** A small client of the one API server that the stand-ins talk to. */
import * as fs from "node:fs";
import * as http from "node:http";
import * as https from "node:https";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parse } from "yaml";
import { REHEARSAL_ANNOTATION } from "./marker";
import { at, isList, isObject, numberAt, textAt, type Properties, type Value } from "../../program/values";

/** An object as the API server gives it. */
export interface KubeObject extends Properties {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Properties;
}

/** Which object is meant. */
export interface Reference {
  readonly apiVersion: string;
  readonly kind: string;
  /** Empty for an object of the cluster. */
  readonly namespace: string;
  readonly name: string;
}

/** A refusal of the API server. */
export class ApiError extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
    /** Resource that was not found, such as `namespaces`; empty for other refusals. */
    readonly subject: string,
  ) {
    super(message);
  }
}

/** Whether an error is the API server's, with one of these status codes. */
export function isApiError(error: unknown, ...codes: readonly number[]): error is ApiError {
  return error instanceof ApiError && codes.includes(error.code);
}

/** The kind is served by no API group: its CustomResourceDefinition is not there. */
export class UnknownKind extends Error {
  constructor({ apiVersion, kind }: Pick<Reference, "apiVersion" | "kind">) {
    super(`the API server has no ${kind} in ${apiVersion}; create its CustomResourceDefinition first (dependsOn)`);
  }
}

interface Kind {
  readonly plural: string;
  readonly namespaced: boolean;
}

interface Answer {
  readonly code: number;
  readonly body: string;
}

/** A change of a watched object; no object means that it was deleted. */
export interface Change {
  readonly object: KubeObject | undefined;
}

/** Options of a write. */
export interface WriteOptions {
  readonly dryRun?: boolean;
  /** Refuses fields that the kind does not have, instead of dropping them. */
  readonly strict?: boolean;
  readonly fieldManager: string;
}

interface Connection {
  readonly server: URL;
  readonly namespace: string;
  readonly tls: https.AgentOptions;
  readonly headers: Readonly<Record<string, string>>;
}

/** Reads a kubeconfig (a plugin's only source of a connection is KUBECONFIG) and refuses any but a simulated cluster's here. */
export function connection(context: string | undefined, file = process.env["KUBECONFIG"] ?? ""): Connection {
  if (file === "" || file.includes(path.delimiter)) {
    throw new Error(
      `KUBECONFIG: "${file}" is not one file; the stand-in needs the kubeconfig of the rehearsal's cluster`,
    );
  }
  const config = parse(fs.readFileSync(file, "utf8")) as Value;
  const chosen = context ?? textAt(config, "current-context");
  const settings = named(config, "contexts", chosen, file)["context"];
  const cluster = named(config, "clusters", textAt(settings, "cluster"), file)["cluster"];
  const user = textAt(settings, "user") === "" ? {} : named(config, "users", textAt(settings, "user"), file)["user"];
  const server = new URL(textAt(cluster, "server"));
  if (!["127.0.0.1", "localhost", "[::1]"].includes(server.hostname)) {
    throw new Error(
      `context "${chosen}" in ${file} points to ${server.origin}: the stand-in for the kubernetes plugin connects only to ` +
        `a simulated cluster on this machine; use the official plugin for a real one`,
    );
  }
  const data = (holder: Value | undefined, key: string): Buffer | undefined => {
    const inline = textAt(holder, `${key}-data`);
    const name = textAt(holder, key);
    if (inline !== "") {
      return Buffer.from(inline, "base64");
    }
    return name === "" ? undefined : fs.readFileSync(path.resolve(path.dirname(file), name));
  };
  const [ca, cert, key] = [
    data(cluster, "certificate-authority"),
    data(user, "client-certificate"),
    data(user, "client-key"),
  ];
  const token = textAt(user, "token");
  return {
    server,
    namespace: textAt(settings, "namespace") || "default",
    tls: {
      rejectUnauthorized: at(cluster, "insecure-skip-tls-verify") !== true,
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
    },
    headers: token === "" ? {} : { authorization: `Bearer ${token}` },
  };
}

function named(config: Value, list: string, name: string, file: string): Properties {
  const entries = at(config, list);
  const found = isList(entries) ? entries.find((entry) => textAt(entry, "name") === name) : undefined;
  if (!isObject(found)) {
    throw new Error(`${file} has no "${name}" among its ${list}; set the provider's context to one that it has`);
  }
  return found;
}

/** The API server of a simulated cluster. */
export class ApiServer {
  private readonly requests: http.Agent;
  private readonly watches: http.Agent;
  private readonly groups = new Map<string, Promise<ReadonlyMap<string, Kind>>>();

  private constructor(private readonly connection: Connection) {
    const secure = connection.server.protocol === "https:";
    const agent = (options: http.AgentOptions): http.Agent =>
      secure ? new https.Agent({ ...connection.tls, ...options }) : new http.Agent(options);
    // The server closes an idle connection after 90 s: closing it earlier here saves a request that would be lost.
    this.requests = agent({ keepAlive: true, maxSockets: 32, timeout: 30_000 });
    // A watch holds its connection: it must not keep the others from one.
    this.watches = agent({ keepAlive: true });
  }

  /** Connects, and refuses a cluster that does not carry the mark of a rehearsal. */
  static async connect(context: string | undefined, kubeconfig?: string): Promise<ApiServer> {
    const server = new ApiServer(connection(context, kubeconfig));
    const { origin } = server.connection.server;
    const namespace = await server.request("GET", "/api/v1/namespaces/kube-system").catch((error: unknown) => {
      const cause = error instanceof Error ? error.message : String(error);
      throw new Error(`the API server at ${origin} does not answer (${cause}); start the rehearsal's cluster first`);
    });
    if (at(namespace, "metadata", "annotations", REHEARSAL_ANNOTATION) !== "true") {
      throw new Error(
        `the cluster at ${origin} is not a rehearsal's: its namespace kube-system lacks the annotation ` +
          `${REHEARSAL_ANNOTATION}: "true"; use the official kubernetes plugin for other clusters`,
      );
    }
    return server;
  }

  /** Namespace of objects that name none. */
  get defaultNamespace(): string {
    return this.connection.namespace;
  }

  /** Whether objects of a kind live in namespaces; undefined when the kind is not served. */
  async isNamespaced(kind: Pick<Reference, "apiVersion" | "kind">): Promise<boolean | undefined> {
    return (await this.findKind(kind))?.namespaced;
  }

  /** Forgets which kinds are served, because one was added. */
  forgetKinds(): void {
    this.groups.clear();
  }

  /** Reads an object; undefined when it is not there. */
  async find(reference: Reference): Promise<KubeObject | undefined> {
    try {
      return (await this.request("GET", await this.pathOf(reference))) as KubeObject;
    } catch (error) {
      if (isApiError(error, 404) || error instanceof UnknownKind) {
        return undefined;
      }
      throw error;
    }
  }

  /** Objects of a kind in a namespace. */
  async list(
    kind: Omit<Reference, "name">,
    query: Readonly<Record<string, string>> = {},
  ): Promise<readonly Properties[]> {
    const answer = await this.request("GET", await this.pathOf({ ...kind, name: "" }), query);
    const items = at(answer, "items");
    return isList(items) ? items.filter(isObject) : [];
  }

  /** Makes a new object. */
  async create(object: KubeObject, options: WriteOptions): Promise<KubeObject> {
    const collection = await this.pathOf({ ...referenceOf(object), name: "" });
    return (await this.request("POST", collection, writeQuery(options), object)) as KubeObject;
  }

  /** Applies the fields that a manager sets, on the server's side. */
  async apply(object: KubeObject, options: WriteOptions & { readonly force: boolean }): Promise<KubeObject> {
    const query = { ...writeQuery(options), force: String(options.force) };
    const type = "application/apply-patch+yaml";
    return (await this.request("PATCH", await this.pathOf(referenceOf(object)), query, object, type)) as KubeObject;
  }

  /** Puts a whole object in the place of the present one. */
  async replace(object: KubeObject, options: WriteOptions): Promise<KubeObject> {
    const target = await this.pathOf(referenceOf(object));
    return (await this.request("PUT", target, writeQuery(options), object)) as KubeObject;
  }

  /** Changes an object by a JSON patch (RFC 6902). */
  async patch(reference: Reference, operations: readonly Properties[]): Promise<KubeObject> {
    const type = "application/json-patch+json";
    return (await this.request("PATCH", await this.pathOf(reference), {}, operations, type)) as KubeObject;
  }

  /** Asks for an object's deletion; false when it is not there. */
  async delete(reference: Reference, propagationPolicy: string): Promise<boolean> {
    try {
      await this.request("DELETE", await this.pathOf(reference), {}, { propagationPolicy });
      return true;
    } catch (error) {
      if (isApiError(error, 404) || error instanceof UnknownKind) {
        return false;
      }
      throw error;
    }
  }

  /** What becomes of an object, from now until the signal: first how it is, then each change. */
  async *watch(reference: Reference, signal: AbortSignal): AsyncGenerator<Change, void, undefined> {
    const { name } = reference;
    while (!signal.aborted) {
      const object = await this.find(reference);
      yield { object };
      const collection = await this.pathOf({ ...reference, name: "" });
      const query = {
        watch: "1",
        fieldSelector: `metadata.name=${name}`,
        timeoutSeconds: "300",
        // Without an object there is no version to start from: the watch then begins with what is there.
        ...(object && { resourceVersion: textAt(object, "metadata", "resourceVersion") }),
      };
      try {
        for await (const line of this.lines(collection, query, signal)) {
          const event = JSON.parse(line) as Properties;
          const type = textAt(event, "type");
          if (type === "ERROR") {
            break; // The version is too old: start again from a fresh read.
          }
          if (type === "ADDED" || type === "MODIFIED" || type === "DELETED") {
            yield { object: type === "DELETED" ? undefined : (event["object"] as KubeObject) };
          }
        }
      } catch (error) {
        // The signal ends the connection; otherwise it broke, because the server is starting again.
        if (!(error instanceof Error) || error instanceof ApiError || error instanceof SyntaxError) {
          throw error;
        }
      }
      await sleep(250, undefined, { signal }).catch(() => undefined);
    }
  }

  /** How an object is, every half second until the signal. */
  async *poll(reference: Reference, signal: AbortSignal): AsyncGenerator<Change, void, undefined> {
    while (!signal.aborted) {
      yield { object: await this.find(reference) };
      // Rejects when the signal comes, which the loop then sees.
      await sleep(500, undefined, { signal }).catch(() => undefined);
    }
  }

  private async pathOf(reference: Reference): Promise<string> {
    const kind = await this.findKind(reference);
    if (kind === undefined) {
      throw new UnknownKind(reference);
    }
    const namespace = kind.namespaced
      ? `/namespaces/${encodeURIComponent(reference.namespace || this.defaultNamespace)}`
      : "";
    const name = reference.name === "" ? "" : `/${encodeURIComponent(reference.name)}`;
    return `${groupPath(reference.apiVersion)}${namespace}/${kind.plural}${name}`;
  }

  private async findKind({ apiVersion, kind }: Pick<Reference, "apiVersion" | "kind">): Promise<Kind | undefined> {
    const known = await this.groups.get(apiVersion);
    const found = known?.get(kind);
    if (found !== undefined) {
      return found;
    }
    // Never remembered as missing: the CustomResourceDefinition may come at any time.
    const fresh = this.discover(apiVersion);
    this.groups.set(apiVersion, fresh);
    fresh.catch(() => this.groups.delete(apiVersion));
    return (await fresh).get(kind);
  }

  private async discover(apiVersion: string): Promise<ReadonlyMap<string, Kind>> {
    const answer = await this.request("GET", groupPath(apiVersion)).catch((error: unknown) => {
      if (isApiError(error, 404)) {
        return {};
      }
      throw error;
    });
    const resources = at(answer, "resources");
    const kinds = new Map<string, Kind>();
    for (const resource of isList(resources) ? resources : []) {
      const plural = textAt(resource, "name");
      if (!plural.includes("/")) {
        kinds.set(textAt(resource, "kind"), { plural, namespaced: at(resource, "namespaced") === true });
      }
    }
    return kinds;
  }

  private async request(
    method: string,
    target: string,
    query: Readonly<Record<string, string>> = {},
    body?: Properties | readonly Properties[],
    type = "application/json",
  ): Promise<Properties> {
    for (let attempt = 1; ; attempt++) {
      try {
        return answerOf(await this.send(method, target, query, body, type));
      } catch (error) {
        // 429 and 503: the server asks to come back.
        const again =
          isApiError(error, 429, 503) || (method !== "POST" && (error as NodeJS.ErrnoException).code === "ECONNRESET");
        if (!again || attempt === 6) {
          throw error;
        }
        await sleep(100 * 2 ** attempt);
      }
    }
  }

  private async send(
    method: string,
    target: string,
    query: Readonly<Record<string, string>>,
    body: Properties | readonly Properties[] | undefined,
    type: string,
  ): Promise<Answer> {
    const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = {
      accept: "application/json",
      ...(payload && { "content-type": type, "content-length": String(payload.length) }),
    };
    const response = await this.open(method, target, query, headers, this.requests, payload);
    const chunks: Buffer[] = [];
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
    }
    return { code: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") };
  }

  private async *lines(
    target: string,
    query: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): AsyncGenerator<string, void, undefined> {
    const response = await this.open(
      "GET",
      target,
      query,
      { accept: "application/json" },
      this.watches,
      undefined,
      signal,
    );
    if (response.statusCode !== 200) {
      response.resume();
      return;
    }
    response.setEncoding("utf8");
    let rest = "";
    for await (const chunk of response) {
      const parts = (rest + (chunk as string)).split("\n");
      rest = parts.pop() ?? "";
      yield* parts.filter((part) => part !== "");
    }
  }

  private open(
    method: string,
    target: string,
    query: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
    agent: http.Agent,
    payload?: Buffer,
    signal?: AbortSignal,
  ): Promise<http.IncomingMessage> {
    const { server } = this.connection;
    const url = new URL(
      `${server.pathname.replace(/\/$/, "")}${target}?${new URLSearchParams(query).toString()}`,
      server,
    );
    const options = { method, agent, headers: { ...this.connection.headers, ...headers }, ...(signal && { signal }) };
    return new Promise((resolve, reject) => {
      const request = (url.protocol === "https:" ? https : http).request(url, options, resolve);
      request.on("error", reject);
      request.end(payload);
    });
  }
}

/** Which object a body is. */
export function referenceOf(object: Properties): Reference {
  return {
    apiVersion: textAt(object, "apiVersion"),
    kind: textAt(object, "kind"),
    namespace: textAt(object, "metadata", "namespace"),
    name: textAt(object, "metadata", "name"),
  };
}

/** An object's name for people: `Deployment data-platform/mlflow`. */
export function describe({ kind, namespace, name }: Reference): string {
  return `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

function groupPath(apiVersion: string): string {
  return apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

function writeQuery({ fieldManager, dryRun, strict }: WriteOptions): Record<string, string> {
  return {
    fieldManager,
    ...(dryRun === true && { dryRun: "All" }),
    ...(strict === true && { fieldValidation: "Strict" }),
  };
}

function answerOf({ code, body }: Answer): Properties {
  const parsed = asJson(body);
  if (code >= 200 && code < 300 && parsed !== undefined) {
    return parsed;
  }
  const message = textAt(parsed, "message") || body.slice(0, 500) || `the API server answered ${code}`;
  const subject = code === 404 ? textAt(parsed, "details", "kind") : "";
  throw new ApiError(numberAt(parsed, "code") ?? code, textAt(parsed, "reason"), message, subject);
}

/** Some refusals come as plain text. */
function asJson(body: string): Properties | undefined {
  try {
    return JSON.parse(body) as Properties;
  } catch (error) {
    if (error instanceof SyntaxError) {
      return undefined;
    }
    throw error;
  }
}
