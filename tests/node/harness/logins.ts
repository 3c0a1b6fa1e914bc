import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import type { SecretName } from "../../../stacks/config/systems";
import { kubectl } from "./cluster";

const NAMESPACE = "data-platform";
/** What {@link logIn} answers when the store let it in, and holds something. */
export const LET_IN = /^\[".+"\]$/;

const HISTORY =
  "{.metadata.deletionTimestamp} {.status.reason} {range .status.containerStatuses[*]}{.name}: " +
  "{.restartCount} restarts {.lastState.terminated.reason} {.lastState.terminated.exitCode} {.state}; {end}";

/** How a client logs in to a store. */
export interface Login {
  /** The password, as a stack sets it. */
  readonly credential: SecretName;
  /** The Deployment, and the Secret that it reads. */
  readonly client: string;
  readonly secret: string;
  /** What the store holds of this client, in Python, with the Secret's keys as environment. */
  readonly held: string;
  /** What the store says to a wrong password. */
  readonly refusal: RegExp;
}

/** One for each kind of store. */
export const LOGINS: readonly Login[] = [
  {
    credential: "postgresMlflowPassword",
    client: "mlflow",
    secret: "mlflow-database",
    held:
      "import sqlalchemy; server = sqlalchemy.create_engine(os.environ['MLFLOW_BACKEND_STORE_URI']).connect(); " +
      "held = server.scalars(sqlalchemy.text('SELECT run_uuid FROM runs'))",
    refusal: /password authentication failed/,
  },
  {
    credential: "objectStoreMlflowSecretKey",
    client: "mlflow",
    secret: "mlflow-object-store",
    held:
      "import boto3; answer = boto3.client('s3').list_objects_v2(Bucket='mlflow-artifacts'); " +
      "held = [one['Key'] for one in answer['Contents']]",
    refusal: /SignatureDoesNotMatch/,
  },
  {
    credential: "redisFeastPassword",
    client: "feast-server",
    secret: "redis-feast",
    held:
      "import redis; server = redis.Redis('redis.data-platform.svc', ssl=True, ssl_ca_certs='/etc/redis-ca/ca.crt', " +
      "username=os.environ['username'], password=os.environ['password']); " +
      "held = [key.hex() for key in server.scan_iter()]",
    refusal: /invalid username-password/,
  },
];

/** What a login's Secret says. */
export async function secretOf({ api }: Rehearsal, { secret }: Login): Promise<Readonly<Record<string, string>>> {
  const { data = {} } = await api.core.readNamespacedSecret({ name: secret, namespace: NAMESPACE });
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
}

/**
 * Logs in from the client's pod with what its Secret says, or said once; answers as JSON what the store holds of this client, or
 * in its words why it lets nobody in.
 */
export async function logIn(
  rehearsal: Rehearsal,
  { client, held }: Login,
  values: Readonly<Record<string, string>>,
): Promise<string> {
  const program = [
    "import json, os",
    `os.environ.update(json.loads(${JSON.stringify(JSON.stringify(values))}))`,
    "try:",
    `    ${held}`,
    "    print(json.dumps(sorted(held)))",
    "except Exception as error:",
    "    print(error)",
  ].join("\n");
  // The plugin looks for the end of a rollout in a cache that may show what was before it (pulumi-kubernetes#2943).
  await kubectl(rehearsal, NAMESPACE, ["rollout", "status", `deployment/${client}`, "--timeout=120s"]);
  const { items } = await rehearsal.api.core.listNamespacedPod({ namespace: NAMESPACE });
  // kubectl might choose the one that was replaced, which has yet to end.
  const pod = items.find(
    ({ metadata }) =>
      metadata?.deletionTimestamp === undefined &&
      metadata?.ownerReferences?.[0]?.kind === "ReplicaSet" &&
      metadata.name?.startsWith(`${client}-`),
  );
  const name = pod?.metadata?.name ?? client;
  try {
    return (await kubectl(rehearsal, NAMESPACE, ["exec", "--stdin", name, "--", "python", "-"], program)).trim();
  } catch (error) {
    // A container that ends takes what runs in it along.
    const now = await kubectl(rehearsal, NAMESPACE, ["get", "pod", name, `--output=jsonpath=${HISTORY}`]).catch(String);
    throw new Error(`${String(error)}\n${now}`, { cause: error });
  }
}
