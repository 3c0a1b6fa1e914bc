/** The engine's side of a resource plugin: its gRPC service, spoken in plain values. */
import * as grpc from "@grpc/grpc-js";
import { EngineClient } from "@pulumi/pulumi/proto/engine_grpc_pb";
import * as engine from "@pulumi/pulumi/proto/engine_pb";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { ResourceProviderService } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as messages from "@pulumi/pulumi/proto/provider_pb";
import { Status } from "@pulumi/pulumi/proto/status_pb";
import { Any } from "google-protobuf/google/protobuf/any_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import type { Properties } from "../../program/values";

/** How one property changes, and whether that takes a new resource. */
export interface PropertyChange {
  readonly kind: "add" | "delete" | "update";
  readonly replace: boolean;
}

/** What an update would do. */
export interface Difference {
  /** By path, such as `spec.containers[0].image`. */
  readonly changes: ReadonlyMap<string, PropertyChange>;
  readonly deleteBeforeReplace: boolean;
}

/** An input that is refused. */
export interface Failure {
  readonly property: string;
  readonly reason: string;
}

/** What is there of a resource; no id means that it is gone. */
export interface Found {
  readonly id: string;
  readonly state: Properties;
  readonly inputs: Properties;
}

interface Target {
  readonly urn: string;
  /** Type token, such as `kubernetes:apps/v1:Deployment`. */
  readonly type: string;
}

interface Write extends Target {
  readonly news: Properties;
  /** Seconds, from the resource's customTimeouts; 0 when there are none. */
  readonly timeout: number;
  readonly preview: boolean;
}

/** Request of {@link ResourcePlugin.update}. */
export interface UpdateRequest extends Write {
  readonly id: string;
  readonly state: Properties;
  readonly ignoreChanges: readonly string[];
}

/** Request of {@link ResourcePlugin.create}. */
export type CreateRequest = Write;
/** Request of {@link ResourcePlugin.check}. */
export interface CheckRequest extends Target {
  readonly olds: Properties;
  readonly news: Properties;
}
/** Request of {@link ResourcePlugin.diff}. */
export interface DiffRequest extends Target {
  readonly state: Properties;
  readonly news: Properties;
  readonly ignoreChanges: readonly string[];
}
/** Request of {@link ResourcePlugin.read}. */
export interface ReadRequest extends Target {
  readonly id: string;
  readonly state: Properties;
  readonly inputs: Properties;
}
/** Request of {@link ResourcePlugin.delete}. */
export interface DeleteRequest extends Target {
  readonly id: string;
  readonly state: Properties;
  readonly timeout: number;
}

/** The operations of a resource type. */
export interface ResourceType {
  check(request: CheckRequest): Promise<{ readonly inputs: Properties; readonly failures: readonly Failure[] }>;
  diff(request: DiffRequest): Promise<Difference>;
  create(request: CreateRequest): Promise<{ readonly id: string; readonly state: Properties }>;
  read(request: ReadRequest): Promise<Found | undefined>;
  update(request: UpdateRequest): Promise<Properties>;
  delete(request: DeleteRequest): Promise<void>;
}

/** A plugin: its configuration and the resource type behind each type token. */
export interface Plugin {
  readonly version: string;
  configure(config: Properties): Promise<void>;
  /** Keys of the configuration whose change takes a new provider, and so new resources. */
  replacedBy(olds: Properties, news: Properties): readonly string[];
  resource(type: string): ResourceType;
  /** Ends what is under way with an error. */
  cancel(): void;
}

/** The resource exists, but is not what it should become; the state is kept, and the next update goes on from it. */
export class NotReady extends Error {
  constructor(
    message: string,
    readonly id: string,
    readonly state: Properties,
    readonly reasons: readonly string[],
    readonly inputs?: Properties,
  ) {
    super(message);
  }
}

/** Tells the user, through the engine. */
export interface Host {
  warn(urn: string, message: string): void;
  /** Shows what a resource waits for, until the next message. */
  status(urn: string, message: string): void;
}

// What the engine and its plugins agree on; the default of 4 MiB is less than some charts' values.
const MESSAGE_BYTES = 400 * 1024 * 1024;
const MESSAGE_LIMITS = {
  "grpc.max_receive_message_length": MESSAGE_BYTES,
  "grpc.max_send_message_length": MESSAGE_BYTES,
};

/** Serves a plugin until the engine goes away; its port is the first line on stdout. */
export function servePlugin(make: (host: Host) => Plugin): void {
  const engineAddress = process.argv.slice(2).find((argument) => !argument.startsWith("-"));
  const plugin = make(engineHost(engineAddress));
  // The engine asks its plugins to end by an interrupt; the user's own reaches only the engine, which then cancels.
  process.on("SIGINT", () => process.exit(0));
  exitWithParent();
  const server = new grpc.Server(MESSAGE_LIMITS);
  server.addService(ResourceProviderService, service(plugin));
  server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) {
      throw error;
    }
    process.stdout.write(`${port}\n`);
  });
}

/** A killed engine sends nothing: its plugins would stay for ever. */
function exitWithParent(): void {
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) {
      process.exit(1);
    }
  }, 1000).unref();
}

function engineHost(address: string | undefined): Host {
  if (address === undefined) {
    return { warn: () => undefined, status: () => undefined };
  }
  const client = new EngineClient(address, grpc.credentials.createInsecure(), MESSAGE_LIMITS);
  const log = (severity: engine.LogSeverity, urn: string, message: string, ephemeral: boolean): void => {
    const request = new engine.LogRequest();
    request.setSeverity(severity);
    request.setUrn(urn);
    request.setMessage(message);
    request.setEphemeral(ephemeral);
    // A message that the engine cannot take any more is lost with the engine.
    client.log(request, () => undefined);
  };
  return {
    warn: (urn, message) => {
      log(engine.LogSeverity.WARNING, urn, message, false);
    },
    status: (urn, message) => {
      log(engine.LogSeverity.INFO, urn, message, true);
    },
  };
}

type Unary<Request, Response> = grpc.handleUnaryCall<Request, Response>;

function unary<Request, Response>(
  handle: (request: Request) => Promise<Response> | Response,
): Unary<Request, Response> {
  return (call, callback) => {
    Promise.resolve(call.request)
      .then(handle)
      .then(
        (response) => {
          callback(null, response);
        },
        (error: unknown) => {
          callback(serviceError(error), null);
        },
      );
  };
}

/** The engine reads the state of a resource that is not ready from the error's details. */
function serviceError(error: unknown): Partial<grpc.StatusObject> {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof NotReady)) {
    return { code: grpc.status.UNKNOWN, details: message };
  }
  const detail = new messages.ErrorResourceInitFailed();
  detail.setId(error.id);
  detail.setProperties(struct(error.state));
  detail.setReasonsList([...error.reasons]);
  if (error.inputs !== undefined) {
    detail.setInputs(struct(error.inputs));
  }
  const any = new Any();
  any.pack(detail.serializeBinary(), "pulumirpc.ErrorResourceInitFailed");
  const status = new Status();
  status.setCode(grpc.status.UNKNOWN);
  status.setMessage(message);
  status.addDetails(any);
  const metadata = new grpc.Metadata();
  metadata.add("grpc-status-details-bin", Buffer.from(status.serializeBinary()));
  return { code: grpc.status.UNKNOWN, details: message, metadata };
}

function struct(properties: Properties): Struct {
  return Struct.fromJavaScript(properties);
}

function properties(value: Struct | undefined): Properties {
  return value?.toJavaScript() ?? {};
}

/** `urn:pulumi:stack::project::parent$type::name`: newer engines send the type too, but not for every call. */
function typeOf(urn: string): string {
  const qualified = urn.split("::")[2] ?? "";
  return qualified.slice(qualified.lastIndexOf("$") + 1);
}

function target(urn: string): Target {
  return { urn, type: typeOf(urn) };
}

function service(plugin: Plugin): grpc.UntypedServiceImplementation {
  const resource = (urn: string): ResourceType => plugin.resource(typeOf(urn));
  const handlers = {
    checkConfig: unary((request: messages.CheckRequest) => {
      const response = new messages.CheckResponse();
      response.setInputs(request.getNews());
      return response;
    }),
    diffConfig: unary((request: messages.DiffRequest) => {
      const [olds, news] = [properties(request.getOlds()), properties(request.getNews())];
      const keys = [...new Set([...Object.keys(olds), ...Object.keys(news)])];
      const changed = keys.filter((key) => JSON.stringify(olds[key]) !== JSON.stringify(news[key]));
      const response = new messages.DiffResponse();
      const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
      response.setChanges(changed.length > 0 ? DIFF_SOME : DIFF_NONE);
      response.setDiffsList(changed);
      response.setReplacesList([...plugin.replacedBy(olds, news)]);
      return response;
    }),
    configure: unary(async (request: messages.ConfigureRequest) => {
      await plugin.configure(properties(request.getArgs()));
      const response = new messages.ConfigureResponse();
      response.setAcceptsecrets(true);
      response.setSupportspreview(true);
      return response;
    }),
    getSchema: unary(() => {
      const response = new messages.GetSchemaResponse();
      response.setSchema("{}");
      return response;
    }),
    getPluginInfo: unary(() => {
      const response = new PluginInfo();
      response.setVersion(plugin.version);
      return response;
    }),
    cancel: unary(() => {
      plugin.cancel();
      return new Empty();
    }),
    check: unary(async (request: messages.CheckRequest) => {
      const urn = request.getUrn();
      const olds = properties(request.getOlds());
      const checked = await resource(urn).check({ ...target(urn), olds, news: properties(request.getNews()) });
      const response = new messages.CheckResponse();
      response.setInputs(struct(checked.inputs));
      response.setFailuresList(checked.failures.map(checkFailure));
      return response;
    }),
    diff: unary(async (request: messages.DiffRequest) => {
      const urn = request.getUrn();
      const difference = await resource(urn).diff({
        ...target(urn),
        state: properties(request.getOlds()),
        news: properties(request.getNews()),
        ignoreChanges: request.getIgnorechangesList(),
      });
      return diffResponse(difference);
    }),
    create: unary(async (request: messages.CreateRequest) => {
      const urn = request.getUrn();
      const { id, state } = await resource(urn).create({
        ...target(urn),
        news: properties(request.getProperties()),
        timeout: request.getTimeout(),
        preview: request.getPreview(),
      });
      const response = new messages.CreateResponse();
      response.setId(id);
      response.setProperties(struct(state));
      return response;
    }),
    read: unary(async (request: messages.ReadRequest) => {
      const urn = request.getUrn();
      const found = await resource(urn).read({
        ...target(urn),
        id: request.getId(),
        state: properties(request.getProperties()),
        inputs: properties(request.getInputs()),
      });
      const response = new messages.ReadResponse();
      if (found !== undefined) {
        response.setId(found.id);
        response.setProperties(struct(found.state));
        response.setInputs(struct(found.inputs));
      }
      return response;
    }),
    update: unary(async (request: messages.UpdateRequest) => {
      const urn = request.getUrn();
      const state = await resource(urn).update({
        ...target(urn),
        id: request.getId(),
        state: properties(request.getOlds()),
        news: properties(request.getNews()),
        timeout: request.getTimeout(),
        preview: request.getPreview(),
        ignoreChanges: request.getIgnorechangesList(),
      });
      const response = new messages.UpdateResponse();
      response.setProperties(struct(state));
      return response;
    }),
    delete: unary(async (request: messages.DeleteRequest) => {
      const urn = request.getUrn();
      const state = properties(request.getProperties());
      await resource(urn).delete({ ...target(urn), id: request.getId(), state, timeout: request.getTimeout() });
      return new Empty();
    }),
  };
  // What is missing here answers "unimplemented", and the engine does without.
  return handlers;
}

function checkFailure({ property, reason }: Failure): messages.CheckFailure {
  const failure = new messages.CheckFailure();
  failure.setProperty(property);
  failure.setReason(reason);
  return failure;
}

function diffResponse({ changes, deleteBeforeReplace }: Difference): messages.DiffResponse {
  const response = new messages.DiffResponse();
  const { DIFF_NONE, DIFF_SOME } = messages.DiffResponse.DiffChanges;
  response.setChanges(changes.size > 0 ? DIFF_SOME : DIFF_NONE);
  const { Kind } = messages.PropertyDiff;
  const kinds = {
    add: [Kind.ADD, Kind.ADD_REPLACE],
    delete: [Kind.DELETE, Kind.DELETE_REPLACE],
    update: [Kind.UPDATE, Kind.UPDATE_REPLACE],
  } as const;
  for (const [path, { kind, replace }] of changes) {
    const detail = new messages.PropertyDiff();
    detail.setKind(kinds[kind][replace ? 1 : 0]);
    detail.setInputdiff(kind === "delete");
    response.getDetaileddiffMap().set(path, detail);
    response.addDiffs(path);
    if (replace) {
      response.addReplaces(path);
    }
  }
  response.setDeletebeforereplace(deleteBeforeReplace && response.getReplacesList().length > 0);
  response.setHasdetaileddiff(true);
  return response;
}
