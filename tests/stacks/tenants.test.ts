import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { objectName } from "../../components/base/names";
import { CLIENT_LABEL } from "../../components/ground/binding";
import type { PlatformConfig } from "../../stacks/config/schema";
import { parsePlatform } from "../../packages/platform-outputs/index";
import { PlatformOutputs } from "../../stacks/contract/outputs";
import { all, only, type Registered } from "../support/mocks";
import { ourPods } from "../support/manifests";
import { configOf, program, run } from "../support/program";
import { type Party, reachability } from "../support/reachability";
import { TENANTS } from "../support/tenants";

const SHAPE = "prod with SeaweedFS";
const SECRET = "kubernetes:core/v1:Secret";
const RAY = "tenant-pricing-ray";
const NOTEBOOK = "tenant-pricing-notebook";
const HOST = (service: string) => `${service}.data-platform.svc.cluster.local`;

const minio = (tenants: PlatformConfig["tenants"]) => run({ ...configOf("prod"), tenants });

/** The files of a tenant's Secret. */
function files(seen: readonly Registered[], namespace: string, name: string): Readonly<Record<string, string>> {
  const secret = all(seen, SECRET).find(
    ({ inputs: { metadata } }) => metadata.namespace === namespace && metadata.name === name,
  );
  assert.ok(secret, `nothing makes Secret ${namespace}/${name}`);
  return secret.inputs.stringData;
}

describe("a tenant", () => {
  it("gets a Secret for each grant, in the layout of service bindings", async () => {
    const { seen } = await program(SHAPE);
    const [user, password] = ["tenant-pricing-bucket-prices", "generated-tenant-pricing-bucket-prices"];
    const ca = { "ca.crt": "the ca.crt" };
    assert.deepEqual(files(seen, "pricing", "bucket-prices"), {
      ...{ type: "s3", host: HOST("seaweedfs-s3"), port: "9000", username: user, password, ...ca },
      ...{ uri: `https://${HOST("seaweedfs-s3")}:9000/prices`, bucket: "prices", region: "us-east-1" },
    });
    const own = "generated-tenant-pricing-database-pricing";
    assert.deepEqual(files(seen, "pricing", "database-pricing"), {
      ...{ type: "postgresql", host: HOST("postgres-rw"), port: "5432", username: "tenant_pricing", password: own },
      uri: `postgresql://tenant_pricing:${own}@${HOST("postgres-rw")}:5432/pricing?sslmode=verify-full`,
      ...{ database: "pricing", sslmode: "verify-full", ...ca },
    });
    const broker = HOST("kafka-kafka-bootstrap");
    assert.deepEqual(files(seen, "trading", "topic-data-ingestion"), {
      ...{ type: "kafka", host: broker, port: "9092", uri: `kafka://${broker}:9092`, ...ca },
      username: "tenant-trading-topic-data-ingestion",
      password: "generated-tenant-trading-topic-data-ingestion",
      ...{ topic: "data-ingestion", mechanism: "SCRAM-SHA-512", prefix: "trading." },
    });
    const { type, indices, uri } = files(seen, "pricing", "search-pricing");
    assert.deepEqual([type, indices], ["elasticsearch", "pricing-*"]);
    assert.match(uri ?? "", /^https:\/\/tenant-pricing-search-pricing:[^@]+@elasticsearch-es-http\.data-platform/);
  });

  it("gets of a CA the certificate alone: no key of a server lies in its namespace or is read by the program", async () => {
    const { seen } = await program(SHAPE);
    const inside = all(seen, SECRET).filter(({ inputs }) => inputs.metadata.namespace in TENANTS);
    assert.ok(inside.length >= 7, `only ${inside.length} Secrets`);
    for (const { inputs } of inside) {
      assert.doesNotMatch(JSON.stringify(inputs), /tls\.key|the tls/, inputs.metadata.name);
    }
    const looked = all(seen, SECRET).filter(({ read }) => read);
    const certificates = all(seen, "kubernetes:cert-manager.io/v1:Certificate");
    for (const { inputs } of looked) {
      const { spec } = certificates.find((one) => one.inputs.spec.secretName === inputs.metadata.name)?.inputs ?? {};
      assert.deepEqual([spec?.usages, spec?.dnsNames], [["code signing"], [`${String(inputs.metadata.name)}.invalid`]]);
    }
  });

  it("finds the outputs of the stack in its namespace, as the packages for them read a ConfigMap", async () => {
    const { seen, outputs } = await program(SHAPE);
    for (const tenant of Object.keys(TENANTS)) {
      const found = all(seen, "kubernetes:core/v1:ConfigMap").find(
        ({ inputs: { metadata } }) => metadata.namespace === tenant && metadata.name === "platform-outputs",
      );
      assert.deepEqual(parsePlatform({ kind: "ConfigMap", ...found?.inputs }, tenant), PlatformOutputs.parse(outputs));
    }
  });

  it("is let by its own certificate authority, where PostgreSQL is somebody else's", async () => {
    const config = configOf("prod");
    const ca = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----";
    const postgres = {
      ...{ kind: "external" as const, host: "db.example.com", port: 5432, cidrs: ["203.0.113.7/32"], ca },
      ...{ database: "postgres", setup: config.postgres.setup },
    };
    const { seen } = await run({ ...config, postgres, tenants: TENANTS });
    const { host, "ca.crt": given } = files(seen, "pricing", "database-pricing");
    assert.deepEqual([host, given], ["db.example.com", ca]);
  });

  it("reaches what it was granted from pods with the label, and neither other tenants nor anything else", async () => {
    const { config, seen } = await program(SHAPE);
    const policies = all(seen, "kubernetes:networking.k8s.io/v1:NetworkPolicy").map(({ inputs }) => inputs);
    const pods = (namespace: string, labels: Readonly<Record<string, string>>): Party => ({
      ...{ name: Object.keys(labels).length > 0 ? namespace : `${namespace}, others` },
      ...{ namespace, labels, serviceAccount: "default" },
    });
    const server = (name: string, labels: Readonly<Record<string, string>>): Party => ({
      ...{ name, namespace: "data-platform", labels, serviceAccount: name },
    });
    const parties = [
      ...Object.keys(TENANTS).flatMap((tenant) => [pods(tenant, CLIENT_LABEL), pods(tenant, {})]),
      // A pod elsewhere that bears the label, too.
      pods("data-platform", CLIENT_LABEL),
      server("postgres", { "cnpg.io/cluster": "postgres" }),
      server("kafka", { "strimzi.io/cluster": "kafka", "strimzi.io/broker-role": "true" }),
      server("elasticsearch", { "elasticsearch.k8s.elastic.co/cluster-name": "elasticsearch" }),
      server("s3", { "app.kubernetes.io/name": "seaweedfs", "app.kubernetes.io/component": "s3", ...RELEASE }),
      server("redis", { app: "redis" }),
      server("mlflow", { app: "mlflow" }),
      { ...server("ray", { app: "ray" }), namespace: "data-platform" },
      { ...server("pricing's head", { app: RAY, component: "head" }), namespace: "pricing", serviceAccount: RAY },
      { ...server("pricing's worker", { app: RAY, component: "worker" }), namespace: "pricing", serviceAccount: RAY },
      { ...server("pricing's notebook", { app: NOTEBOOK }), namespace: "pricing", serviceAccount: NOTEBOOK },
      server("polaris", { "app.kubernetes.io/name": "polaris", "app.kubernetes.io/instance": "polaris" }),
      { ...server("gateway", { app: "gateway" }), namespace: "gateway" },
    ];
    const open = reachability(policies, parties, config.cluster.podCidr).filter(
      (flow) => !flow.endsWith(" 15008-15008"),
    );
    const granted = ["elasticsearch 9200-9200", "gateway 10443-10443", "kafka 9092-9092", "polaris 8181-8181"];
    const stores = ["postgres 5432-5432", "s3 9000-9000"];
    const cluster = ["pricing's head 10001-10001", "pricing's head 8265-8265"];
    for (const node of ["head", "worker", "notebook"]) {
      const own = open
        .filter((flow) => flow.startsWith(`pricing's ${node} -> `))
        .map((flow) => flow.replace(/.* -> /, ""))
        .filter((to) => node === "notebook" || !to.startsWith("pricing's"));
      const all = [...granted, ...stores, ...(node === "notebook" ? cluster : [])];
      assert.deepEqual(own.sort(), all.sort(), "it reaches what its tenant was granted, and nothing else");
    }
    assert.deepEqual(
      open.filter(
        (flow) =>
          /^(pricing|trading|data-platform)( |, )/.test(flow) || /^(?!pricing's).* -> (pricing|trading)/.test(flow),
      ),
      [
        "pricing -> elasticsearch 9200-9200",
        "pricing -> gateway 10443-10443",
        "pricing -> kafka 9092-9092",
        "pricing -> polaris 8181-8181",
        "pricing -> postgres 5432-5432",
        "pricing -> pricing's head 10001-10001",
        "pricing -> pricing's head 8265-8265",
        "pricing -> s3 9000-9000",
        "trading -> gateway 10443-10443",
        "trading -> kafka 9092-9092",
        "trading -> postgres 5432-5432",
        "trading -> s3 9000-9000",
      ],
    );
  });

  it("has rights in its own buckets alone, and only reads what it only reads", async () => {
    const { seen } = await minio(TENANTS);
    const policy = (user: string) => {
      const name = `object-store-setup-${user}`;
      const { Statement } = JSON.parse(files(seen, "data-platform", name)[`${user}.json`] ?? "{}");
      return Statement.flatMap(({ Action, Resource }: any) =>
        Action.flatMap((action: string) => Resource.map((one: string) => `${action} ${one}`)),
      );
    };
    const read = [
      "s3:GetBucketLocation arn:aws:s3:::prices",
      "s3:ListBucket arn:aws:s3:::prices",
      "s3:GetObject arn:aws:s3:::prices/*",
    ];
    const write = ["AbortMultipartUpload", "DeleteObject", "PutObject"].map((one) => `s3:${one} arn:aws:s3:::prices/*`);
    assert.deepEqual(policy("tenant-trading-bucket-prices"), read);
    assert.deepEqual(policy("tenant-pricing-bucket-prices"), [...read, ...write]);
  });

  it("owns its database, and logs in to no other", async () => {
    const { seen } = await program(SHAPE);
    const { spec } = only(seen, "kubernetes:postgresql.cnpg.io/v1:Cluster").inputs;
    const rules: string[] = spec.postgresql.pg_hba;
    assert.deepEqual(
      rules.filter((rule) => rule.includes("tenant")),
      ["hostssl pricing tenant_pricing all scram-sha-256", "hostssl orders tenant_orders all scram-sha-256"],
    );
    const database = only(seen, "kubernetes:postgresql.cnpg.io/v1:Database", "postgres-pricing").inputs.spec;
    assert.deepEqual([database.name, database.owner], ["pricing", "tenant_pricing"]);
    const role = only(seen, "kubernetes:postgresql.cnpg.io/v1:DatabaseRole", "postgres-pricing-role").inputs.spec;
    assert.deepEqual([role.name, role.connectionLimit], ["tenant_pricing", 20], "it may take everybody's connections");
  });

  it("reads or writes its topics, in groups of its own", async () => {
    const { seen } = await program(SHAPE);
    const rights = (tenant: string): string[] => {
      const user = `kafka-tenant-${tenant}-topic-data-ingestion-user`;
      const { acls } = only(seen, "kubernetes:kafka.strimzi.io/v1:KafkaUser", user).inputs.spec.authorization;
      return acls.map(({ resource, operations }: any) =>
        [resource.type, resource.patternType, resource.name, operations.join()].join(" "),
      );
    };
    assert.deepEqual(rights("trading"), ["topic literal data-ingestion Read,Describe", "group prefix trading. Read"]);
    assert.deepEqual(rights("pricing"), [
      "topic literal data-ingestion Read,Write,Describe",
      "group prefix pricing. Read",
      "transactionalId prefix pricing. Describe,Write",
    ]);
  });

  it("has the tables of its schema and the folder of their files, by a login of each", async () => {
    const { seen } = await minio(TENANTS);
    const user = "tenant-pricing-catalog-pricing";
    const {
      username,
      password,
      type,
      host,
      port,
      uri,
      "ca.crt": ca,
      ...details
    } = files(seen, "pricing", "catalog-pricing");
    assert.deepEqual([type, username, password, ca], ["iceberg", user, `generated-${user}`, "the ca.crt"]);
    assert.deepEqual([host, port, uri], [HOST("polaris"), "8181", `http://${HOST("polaris")}:8181/api/catalog`]);
    assert.deepEqual(details, {
      ...{ warehouse: "iceberg", schema: "pricing", scope: "PRINCIPAL_ROLE:ALL" },
      ...{ "s3.endpoint": `https://${HOST("minio")}:9000`, "s3.region": "us-east-1" },
      ...{ "s3.access-key-id": `${user}-files`, "s3.secret-access-key": `generated-${user}-files` },
    });
    const setup = only(seen, "kubernetes:batch/v1:Job", "polaris-setup").inputs.spec.template.spec.containers[0];
    const { [user]: grants } = JSON.parse(setup.env.find(({ name }: any) => name === "GRANTS").value);
    for (const grant of grants) {
      assert.deepEqual([grant.type, grant.namespace], ["namespace", ["pricing"]], "it may more than with its schema");
      assert.doesNotMatch(grant.privilege, /MANAGE|NAMESPACE_(?!READ)/, "it may take its schema elsewhere");
    }
    const { Statement } = JSON.parse(
      files(seen, "data-platform", objectName("object-store-setup", `${user}-files`))[`${user}-files.json`] ?? "{}",
    );
    const listed = Statement.find(({ Action }: any) => Action.includes("s3:ListBucket"));
    assert.deepEqual(listed.Condition, { StringLike: { "s3:prefix": ["pricing/*"] } });
    const objects = Statement.filter(({ Action }: any) => Action.some((one: string) => /Object/.test(one)));
    assert.equal(objects.length, 2);
    for (const { Resource } of objects) assert.deepEqual(Resource, ["arn:aws:s3:::iceberg-warehouse/pricing/*"]);
    const weed = (await program(SHAPE)).seen;
    const { identities } = JSON.parse(files(weed, "data-platform", "seaweedfs-users")["seaweedfs_s3_config"] ?? "{}");
    assert.deepEqual(
      identities.find(({ name }: any) => name === `${user}-files`).actions,
      ["Read", "List", "Write", "Tagging"].map((action) => `${action}:iceberg-warehouse/pricing/*`),
    );
  });

  it("has all rights on its indices, and none on the cluster", async () => {
    const { seen } = await program(SHAPE);
    const roles = files(seen, "data-platform", "elasticsearch-roles")["roles.yml"] ?? "";
    assert.match(
      roles,
      /tenant-pricing-search-pricing:\n {2}cluster: \[\]\n {2}indices:\n {4}- names:\n {8}- pricing-\*\n/,
    );
  });

  it("calls APIs through the gateway, by a name inside the cluster and with a key of its own", async () => {
    const { seen } = await program(SHAPE);
    const host = "gateway.gateway.svc.cluster.local";
    assert.deepEqual(files(seen, "pricing", "mlflow"), {
      ...{ type: "mlflow", host, port: "443", uri: `https://${host}/api/mlflow`, header: "X-API-Key" },
      ...{ username: "tenant-pricing-mlflow", password: "generated-tenant-pricing-mlflow", "ca.crt": "the ca.crt" },
    });
    assert.deepEqual(Object.keys(files(seen, "gateway", "tenants-ray")), [
      "tenant-pricing-serve",
      "tenant-trading-serve",
    ]);
    assert.deepEqual(Object.keys(files(seen, "gateway", "tenants-mlflow")), ["tenant-pricing-mlflow"]);
    const { inputs } = only(seen, "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute", "tenants-mlflow");
    const [{ filters, backendRefs }] = inputs.spec.rules;
    assert.deepEqual(backendRefs, [{ name: "mlflow", namespace: "data-platform", port: 5000 }]);
    const { urlRewrite } = filters.find(({ type }: any) => type === "URLRewrite");
    assert.equal(urlRewrite.hostname, "api.254carbon.com", "MLflow refuses a host that it does not know");
    const guard = "tenants-mlflow-securitypolicy";
    const { spec } = only(seen, "kubernetes:gateway.envoyproxy.io/v1alpha1:SecurityPolicy", guard).inputs;
    assert.deepEqual(spec.apiKeyAuth.credentialRefs, [{ name: "tenants-mlflow" }], "the platform's keys open it, too");
    const listeners = only(seen, "kubernetes:gateway.networking.k8s.io/v1:Gateway").inputs.spec.listeners;
    assert.deepEqual(
      listeners.map(({ name, hostname }: any) => `${String(name)} ${String(hostname)}`),
      ["http undefined", "https *.254carbon.com", `tenants ${host}`],
    );
  });

  it("has a Ray cluster and token of its own, whose tasks find its logins, and nothing of the platform's", async () => {
    const { seen } = await program(SHAPE);
    const token = `generated-${RAY}`;
    const head = `${RAY}-head.pricing.svc.cluster.local`;
    assert.deepEqual(files(seen, "pricing", "ray"), {
      ...{ type: "ray", host: head, port: "10001", uri: `ray://${head}:10001`, dashboard: `http://${head}:8265` },
      ...{ username: RAY, password: token },
    });
    const secret = files(seen, "pricing", `${RAY}-auth`);
    assert.deepEqual(
      [secret["RAY_AUTH_TOKEN"], secret["MLFLOW_TRACKING_TOKEN"]],
      [token, "generated-tenant-pricing-mlflow"],
    );
    const pods = ourPods(seen).filter(({ namespace }) => namespace === "pricing");
    assert.equal(pods.length, 3);
    for (const { template, owner } of pods.filter((pod) => pod.labels["app"] === RAY)) {
      const mounted = template.spec.volumes.flatMap(({ secret: own }: any) => (own ? [own.secretName] : []));
      const bound = ["bucket-prices", "catalog-pricing", "database-pricing", "features", "mlflow", "search-pricing"];
      assert.deepEqual(mounted.sort(), [...bound, "serve", "topic-data-ingestion"], owner);
      const [{ env, envFrom }] = template.spec.containers;
      assert.deepEqual(envFrom, [{ secretRef: { name: `${RAY}-auth` } }]);
      assert.ok(
        env.some(({ name, value }: any) => name === "RAY_AUTH_MODE" && value === "token"),
        "anybody may run code",
      );
    }
    assert.ok(
      !JSON.stringify(files(seen, "data-platform", "ray-auth")).includes(token),
      "the platform's token is the same",
    );
  });

  it("has a JupyterLab that its token opens, logged in to all that it was granted, with a home that stays", async () => {
    const { seen } = await program(SHAPE);
    const lab = ourPods(seen).filter(({ labels }) => labels["app"] === NOTEBOOK);
    assert.deepEqual(
      lab.map(({ owner }) => owner),
      [`StatefulSet pricing/${NOTEBOOK}`],
    );
    const secret = files(seen, "pricing", "notebook");
    assert.equal(secret["JUPYTER_TOKEN"], `generated-${NOTEBOOK}`);
    const { uri = "", password = "" } = files(seen, "pricing", "ray");
    assert.deepEqual(
      [secret["RAY_ADDRESS"], secret["RAY_AUTH_TOKEN"], secret["RAY_AUTH_MODE"]],
      [uri, password, "token"],
    );
    assert.equal(secret["MLFLOW_TRACKING_URI"], files(seen, "pricing", "mlflow")["uri"]);
    const { volumes, containers } = lab[0]?.template.spec ?? {};
    const mounted = new Map<string, string>(containers[0].volumeMounts.map((one: any) => [one.name, one.mountPath]));
    const bound = volumes.flatMap(({ name, secret: own }: any) =>
      own ? [`${own.secretName} ${String(mounted.get(name))}`] : [],
    );
    const { secrets } = PlatformOutputs.parse((await program(SHAPE)).outputs).tenants?.["pricing"] ?? {};
    const granted = Object.keys(secrets ?? {}).filter((name) => name !== "notebook");
    assert.ok(granted.includes("ray"), "the outputs do not list its grants");
    assert.deepEqual(bound.sort(), granted.map((name) => `${name} /bindings/${name}`).sort());
    assert.equal(mounted.get("home"), "/home/notebook");
    assert.ok(only(seen, "kubernetes:apps/v1:StatefulSet", NOTEBOOK).protect, "its notebooks may be deleted by a typo");
  });

  it("has notebooks on a node with GPUs, if it asks for some", async () => {
    const { pricing } = TENANTS;
    assert.ok(pricing?.notebooks, "the test needs notebooks");
    const { seen } = await minio({ pricing: { ...pricing, notebooks: { ...pricing.notebooks, gpus: 2 } } });
    const { spec } = only(seen, "kubernetes:apps/v1:StatefulSet", NOTEBOOK).inputs.spec.template;
    assert.equal(spec.containers[0].resources.limits["nvidia.com/gpu"], "2");
    assert.deepEqual(spec.nodeSelector, { "nvidia.com/gpu.present": "true" });
  });

  it("has a namespace with limits, in which its members run what may run beside the platform", async () => {
    const { seen } = await program(SHAPE);
    const quotas = all(seen, "kubernetes:core/v1:ResourceQuota").filter(
      ({ inputs }) => inputs.metadata.namespace === "trading",
    );
    const [limits, priorities] = quotas.map(({ inputs }) => inputs.spec);
    assert.deepEqual([limits.hard["limits.cpu"], limits.hard["services.nodeports"]], ["8", "0"]);
    assert.deepEqual(priorities.hard, { pods: "0" });
    assert.ok(
      priorities.scopeSelector.matchExpressions[0].values.includes("critical-services"),
      "its pods may push those of the platform off a node",
    );
    const { subjects, metadata } = only(
      seen,
      "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding",
      "trading-members",
    ).inputs;
    assert.equal(metadata.namespace, "trading");
    assert.deepEqual(
      subjects.map(({ kind, name }: any) => `${String(kind)} ${String(name)}`),
      ["Group trading", "Group risk"],
    );
    const { rules } = only(seen, "kubernetes:rbac.authorization.k8s.io/v1:Role", "trading-members").inputs;
    const written = rules.filter(({ verbs }: any) => verbs.some((verb: string) => !/^(get|list|watch)$/.test(verb)));
    const changed = new Set(written.flatMap(({ resources }: any) => resources));
    for (const theirs of ["networkpolicies", "resourcequotas", "limitranges", "roles", "rolebindings", "*"]) {
      assert.ok(!changed.has(theirs), `members may change ${theirs}, which keep them inside`);
    }
    const checked = all(seen, "kubernetes:admissionregistration.k8s.io/v1:ValidatingAdmissionPolicyBinding");
    for (const { inputs, name } of checked.filter((one) => one.name.startsWith("admission-"))) {
      const [{ values }] = inputs.spec.matchResources.namespaceSelector.matchExpressions;
      assert.ok(values.includes("trading"), `${name} leaves out the namespace of tenants`);
    }
  });

  it("is listed in the outputs under its name", async () => {
    const { tenants } = PlatformOutputs.parse((await program(SHAPE)).outputs);
    const at = (name: string) => ({ [name]: { namespace: "trading", name } });
    assert.deepEqual(tenants?.["trading"], {
      namespace: "trading",
      secrets: { ...at("bucket-prices"), ...at("database-orders"), ...at("topic-data-ingestion"), ...at("serve") },
    });
  });

  it("loses what is taken away, and nobody else anything", async () => {
    const { pricing } = TENANTS;
    assert.ok(pricing, "the test needs two tenants");
    const [before, after] = [(await minio(TENANTS)).seen, (await minio({ pricing })).seen];
    const left = new Map(after.map((one) => [one.urn, one]));
    const gone = before.filter(({ urn }) => !left.has(urn));
    const theirs = /trading|orders/;
    assert.deepEqual(
      gone.map(({ urn }) => urn).filter((urn) => !theirs.test(urn)),
      [],
      "these go with somebody else's grant",
    );
    const owned = gone.filter(({ inputs }) => inputs.kind === "Database").map(({ inputs }) => inputs.spec);
    assert.deepEqual(
      owned.map((spec) => spec.databaseReclaimPolicy),
      ["retain"],
      "its data go along",
    );
    const changed = before.filter((one) => {
      const now = left.get(one.urn);
      return now !== undefined && !isDeepStrictEqual(one.inputs, now.inputs);
    });
    const withoutIt = (one: Registered) => {
      const [text, now] = [one, left.get(one.urn)].map((each) =>
        JSON.stringify(each?.inputs, undefined, 1).split(/,?\n/),
      );
      return text?.filter((line) => !now?.includes(line)) ?? [];
    };
    // Checksums, and the rights that each proves not to have.
    const lines = changed.flatMap((one) =>
      withoutIt(one).map((line) => `${one.name}: ${line.trim().replace(/,$/, "")}`),
    );
    const foreign = lines.filter((line) => !theirs.test(line) && !/checksum|max_connections/.test(line));
    assert.deepEqual(foreign, [], "these change with somebody else's grant");
  });
});

const RELEASE = { "app.kubernetes.io/instance": "seaweedfs" };
