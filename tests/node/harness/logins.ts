import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import type { SecretName } from "../../../stacks/config/systems";
import { kubectl } from "./cluster";

const NAMESPACE = "data-platform";
export const LET_IN = "let in";

/** How a client logs in to a store. */
export interface Login {
  /** The password, as a stack sets it. */
  readonly credential: SecretName;
  /** The Deployment, and the Secret that it reads. */
  readonly client: string;
  readonly secret: string;
  /** In Python, with the Secret's keys as environment. */
  readonly script: string;
  /** What the store says to a wrong password. */
  readonly refusal: RegExp;
}

/** One for each kind of store. */
export const LOGINS: readonly Login[] = [
  {
    credential: "postgresMlflowPassword",
    client: "mlflow",
    secret: "mlflow-database",
    script: "import sqlalchemy; sqlalchemy.create_engine(os.environ['MLFLOW_BACKEND_STORE_URI']).connect()",
    refusal: /password authentication failed/,
  },
  {
    credential: "objectStoreMlflowSecretKey",
    client: "mlflow",
    secret: "mlflow-object-store",
    script: "import boto3; boto3.client('s3').list_objects_v2(Bucket='mlflow-artifacts')",
    refusal: /SignatureDoesNotMatch/,
  },
  {
    credential: "redisFeastPassword",
    client: "feast-server",
    secret: "redis-feast",
    script:
      "import redis; redis.Redis('redis.data-platform.svc', ssl=True, ssl_ca_certs='/etc/redis-ca/ca.crt', " +
      "username=os.environ['username'], password=os.environ['password']).scan()",
    refusal: /invalid username-password/,
  },
];

/** What a login's Secret holds. */
export async function held({ api }: Rehearsal, { secret }: Login): Promise<Readonly<Record<string, string>>> {
  const { data = {} } = await api.core.readNamespacedSecret({ name: secret, namespace: NAMESPACE });
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]));
}

/** Logs in from the client's pod with what its Secret holds, or held once; answers {@link LET_IN}, or what the store says. */
export async function logIn(
  rehearsal: Rehearsal,
  { client, script }: Login,
  values: Readonly<Record<string, string>>,
): Promise<string> {
  const program = [
    "import json, os",
    `os.environ.update(json.loads(${JSON.stringify(JSON.stringify(values))}))`,
    "try:",
    `    ${script}`,
    `    print(${JSON.stringify(LET_IN)})`,
    "except Exception as error:",
    "    print(error)",
  ].join("\n");
  const { items } = await rehearsal.api.core.listNamespacedPod({ namespace: NAMESPACE });
  // kubectl might choose the one that was replaced, which has yet to end.
  const pod = items.find(
    ({ metadata }) =>
      metadata?.deletionTimestamp === undefined &&
      metadata?.ownerReferences?.[0]?.kind === "ReplicaSet" &&
      metadata.name?.startsWith(`${client}-`),
  );
  const exec = ["exec", "--stdin", pod?.metadata?.name ?? client, "--", "python", "-"];
  return (await kubectl(rehearsal, NAMESPACE, exec, program)).trim();
}
