import { createHash } from "node:crypto";
import * as pulumi from "@pulumi/pulumi";
import { type JavaScriptValue, Struct } from "google-protobuf/google/protobuf/struct_pb";
import { hashing } from "../../components/base/secret";
import { ADD_ONS } from "../../stacks/layers/foundation";
import { spareStackTraces } from "./stack-traces";

/** One registration of a program, as the engine would receive it. */
export interface Registration {
  readonly urn: string;
  readonly type: string;
  readonly name: string;
  /** Plain values; a secret is wrapped in Pulumi's signature. */
  readonly inputs: Readonly<Record<string, unknown>>;
  /** False for components. */
  readonly custom: boolean;
  /** True for what the program looks up instead of making it. */
  readonly read: boolean;
  /** Names of the components that it is part of, outermost first. */
  readonly path: readonly string[];
  /** URN of the innermost of them. */
  readonly parent: string;
  /** `<URN>::<id>` of the provider that was handed over. */
  readonly provider: string;
  /** URNs of all that it waits for. */
  readonly dependencies: readonly string[];
  readonly protect: boolean;
  /** A change of it replaces the resource. */
  readonly replacementTrigger?: unknown;
}

/** What a program finds when it runs. */
export interface MockWorld {
  readonly stack: string;
  /** Config, by its key with `carbon:`. */
  readonly config: Readonly<Record<string, string>>;
  /** What a resource has besides its inputs and what {@link computed} adds to them. */
  readonly answers?: (type: string, name: string) => object;
  readonly onRegistration: (registration: Registration) => void;
}

// What is read of the requests that the engine would receive. A registration has an object, a read has properties.
interface Request {
  getType(): string;
  getName(): string;
  getParent(): string;
  getProvider(): string;
  getDependenciesList(): string[];
  getId?(): string;
  getImportid?(): string;
  getProtect?(): boolean;
  getReplacementTrigger?(): { toJavaScript(): JavaScriptValue } | undefined;
  getCustom?(): boolean;
  getObject?(): Struct | undefined;
  getProperties?(): Struct | undefined;
}
type Answer = (error: null, response: object) => void;

// To convert messages takes a quarter of the time, and those to the mock engine go over no wire. A program of a real engine may run
// in the same process: its messages are converted.
const convert = Struct.fromJavaScript.bind(Struct);
const mockMonitors = new WeakSet<object>();
Struct.fromJavaScript = (value: Record<string, JavaScriptValue>): Struct => {
  const isMocked = mockMonitors.has(pulumi.runtime.getMonitor() ?? {});
  return isMocked ? Object.assign(new Struct(), { toJavaScript: () => value }) : convert(value);
};

/**
 * Starts a fresh engine without a cluster: it answers every registration with the inputs, and throws on calls that it does
 * not know. Pulumi's own mocks tell nobody the parent and the dependencies, and take four times as long.
 */
export async function startMockEngine({ stack, config, answers, onRegistration }: MockWorld): Promise<void> {
  spareStackTraces();
  hashing.hash = quickHash;
  const mocks: pulumi.runtime.Mocks = {
    newResource: () => {
      throw new Error("registrations have a handler of their own");
    },
    call: ({ token }) => {
      throw new Error(`the program calls ${token}, which the mocks do not know`);
    },
  };
  // An unknown Output never resolves in a preview, and the program would hang: mock an update.
  await pulumi.runtime.setMocks(mocks, "carbon", stack, false);
  pulumi.runtime.setAllConfig({ ...config });
  const paths = new Map<string, readonly string[]>();
  const handler =
    (read: boolean) =>
    (request: Request, answer: Answer): void => {
      const [type, name, parent] = [request.getType(), request.getName(), request.getParent()];
      const inputs = (request.getObject?.() ?? request.getProperties?.())?.toJavaScript() ?? {};
      const urn = urnOf(stack, parent, type, name);
      const path = paths.get(parent) ?? [];
      paths.set(urn, [...path, name]);
      onRegistration({
        ...{ urn, type, name, inputs, read, path, parent },
        custom: request.getCustom?.() ?? true,
        provider: request.getProvider(),
        dependencies: request.getDependenciesList(),
        protect: request.getProtect?.() ?? false,
        replacementTrigger: request.getReplacementTrigger?.()?.toJavaScript(),
      });
      const state = { toJavaScript: () => ({ ...inputs, ...computed(type, name), ...answers?.(type, name) }) };
      answer(null, {
        getUrn: () => urn,
        getId: () => request.getId?.() || request.getImportid?.() || `${name}-id`,
        getObject: () => state,
        getProperties: () => state,
        getPropertydependenciesMap: () => undefined,
        getResult: () => 0,
      });
    };
  const monitor: object = pulumi.runtime.getMonitor() ?? {};
  mockMonitors.add(monitor);
  Object.assign(monitor, {
    registerResource: handler(false),
    readResource: handler(true),
    registerResourceOutputs: (_: unknown, answer: Answer) => {
      answer(null, {});
    },
  });
}

function quickHash(text: string, salt: string): Promise<string> {
  return Promise.resolve(createHash("md5").update(salt).update(text).digest("hex"));
}

/** As Pulumi's mocks make them: with one parent, where the engine has all of them. */
function urnOf(stack: string, parent: string, type: string, name: string): string {
  const parentType = parent.split("::")[2]?.split("$").pop();
  return ["urn:pulumi:" + stack, "carbon", parentType === undefined ? type : `${parentType}$${type}`, name].join("::");
}

/** What the engine, a plugin or the cluster would add to a resource's inputs. */
function computed(type: string, name: string): object {
  return COMPUTED[type]?.(name) ?? {};
}

// A CRD that the cluster has tells the version of its add-on.
const VERSIONS = Object.fromEntries(Object.values(ADD_ONS).map(({ versionLabel, oldest }) => [versionLabel, oldest]));

const SIGNED = Object.fromEntries(
  ["ca.crt", "tls.crt", "tls.key"].map((file) => [file, Buffer.from(`the ${file}`).toString("base64")]),
);

const COMPUTED: Readonly<Record<string, (name: string) => object>> = {
  "kubernetes:core/v1:Namespace": (name) => ({ metadata: { name, uid: "00000000-0000-0000-0000-000000000000" } }),
  "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition": (name) => ({ metadata: { name, labels: VERSIONS } }),
  // As cert-manager makes them: only its are looked up.
  "kubernetes:core/v1:Secret": () => ({ data: SIGNED }),
  "kubernetes:storage.k8s.io/v1:StorageClass": () => ({ reclaimPolicy: "Retain" }),
  "pulumi:index:Stash": () => ({ output: "00000000-0000-0000-0000-000000000000" }),
  "random:index/randomPassword:RandomPassword": (name) => ({ result: `generated-${name}` }),
};
