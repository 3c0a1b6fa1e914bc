import assert from "node:assert/strict";
import { all, only, type Registered } from "../support/mocks";
import { ourPods, selected, tenantNamespaces } from "../support/manifests";
import { program, ALL_SHAPES } from "../support/program";

/** A server with a certificate, as its clients see it. */
interface Server {
  /** Its pods in the wiring table, and the port of its clients. */
  readonly pods: string;
  readonly port: number;
  /** Secret with its certificate. */
  readonly secret: string;
  /** Who reaches the port without being a client of this kind: its own pods and those that manage it. */
  readonly others: readonly string[];
  readonly hosts: RegExp;
  /** Where somebody is told how to talk to it, from the start of the word on, and what each such place must say. */
  readonly told: RegExp;
  readonly verified: RegExp;
}

const COMMON: Readonly<Record<string, Server>> = {
  PostgreSQL: {
    pods: "postgres",
    port: 5432,
    secret: "postgres-tls",
    others: ["cnpg", "postgres"],
    hosts: /\bpostgres-rw\.[\w.-]+\w/g,
    told: /sslmode(?:","value)?\W+[\w-]+/gi,
    verified: /\bverify-full$/,
  },
  Neo4j: {
    pods: "neo4j",
    port: 7687,
    secret: "neo4j-tls",
    others: [],
    hosts: /\bneo4j\.data-platform[\w.-]+\w/g,
    told: /"bolt[^"]*:\/\/[^"]*"/g,
    verified: /^"bolt\+s:/,
  },
  Redis: {
    pods: "redis",
    port: 6379,
    secret: "redis-tls",
    others: [],
    hosts: /\bredis\.data-platform[\w.-]+\w/g,
    told: /(?<![^"\s])[^"\s]*\bredis\.data-platform\.svc:6379[^"\s]*/g,
    verified: /^rediss:[^?]*$|[?,]ssl_cert_reqs=required[&,]ssl_check_hostname=true/,
  },
};

/** An object store of ours, by the name of its Service. */
function store(pods: string): Server {
  return {
    pods,
    port: 9000,
    secret: `${pods}-tls`,
    // Told by an ObjectStore, a PodMonitor and a BackendTLSPolicy.
    others: ["postgres", "prometheus", "gateway"],
    hosts: new RegExp(`\\b${pods}\\.data-platform[\\w.-]+\\w`, "g"),
    told: new RegExp(`(?<![^"\\s])[^"\\s]*\\b${pods}\\.data-platform\\.svc:9000`, "g"),
    verified: /https:\/\/[^/]*$/,
  };
}

/** The servers of ours in each shape, and how their clients are told of them. */
const SERVERS: Readonly<Record<string, Readonly<Record<string, Server>>>> = {
  dev: { ...COMMON, MinIO: store("minio") },
  prod: { ...COMMON, MinIO: store("minio") },
  "prod with SeaweedFS": { ...COMMON, SeaweedFS: store("seaweedfs-s3") },
  "prod with Ray by KubeRay and S3 from elsewhere": COMMON,
};

/** The clients of a server by the wiring table. */
function clients(seen: readonly Registered[], { pods, port, others }: Server): any[] {
  const rows: any[] = only(seen, "carbon:base:Wires").inputs.wires;
  const wires = rows.filter(({ to, ports }) => to.name === pods && ports.map(Number).includes(port));
  // Tenants get the CA beside their logins.
  const tenants = tenantNamespaces(seen);
  return wires
    .map(({ from }) => from)
    .filter(({ name, namespace }) => !others.includes(name) && !tenants.includes(namespace));
}

/** What describes the pods of a client: their templates, or the values of their chart. */
function descriptions(seen: readonly Registered[], { name: client, namespace, labels }: any): any[] {
  const releases = all(seen, "kubernetes:helm.sh/v3:Release").filter(
    ({ name }) => client === name || client.startsWith(`${name}-`),
  );
  return [
    ...selected(ourPods(seen), namespace, labels).map(({ template }) => template.spec),
    ...releases.map(({ inputs }) => inputs.values),
  ];
}

/** Everything in a value that has this field. */
function having(field: string, value: any): any[] {
  if (typeof value !== "object" || value === null) return [];
  return [...(value[field] === undefined ? [] : [value]), ...Object.values(value).flatMap((one) => having(field, one))];
}

/** A description with the contents of all Secrets and ConfigMaps that it names. */
function text(seen: readonly Registered[], description: any): string {
  const own = JSON.stringify(description);
  const named = ["Secret", "ConfigMap"]
    .flatMap((kind) => all(seen, `kubernetes:core/v1:${kind}`))
    .filter(({ inputs }) => own.includes(`"${String(inputs.metadata.name)}"`));
  return [own, ...named.map(({ inputs }) => JSON.stringify(inputs))].join("\n");
}

/** What a custom resource tells its operator. */
function specs(seen: readonly Registered[], kind: string): any[] {
  return seen.filter(({ inputs }) => inputs.kind === kind).map(({ inputs }) => inputs.spec);
}

for (const [shape, { MinIO: minio }] of Object.entries(SERVERS)) {
  if (minio === undefined) continue;
  it(`backups, Prometheus and the gateway verify MinIO in ${shape}`, async () => {
    const { seen } = await program(shape);
    const host = "minio.data-platform.svc";
    const [{ configuration }] = specs(seen, "ObjectStore");
    assert.deepEqual(configuration.endpointCA, { name: minio.secret, key: "ca.crt" });
    const scraped = specs(seen, "PodMonitor").find(({ selector }) => selector.matchLabels.app === "minio");
    const [{ scheme, tlsConfig }] = scraped.podMetricsEndpoints;
    assert.deepEqual(
      [scheme, tlsConfig],
      ["https", { ca: { secret: { name: minio.secret, key: "ca.crt" } }, serverName: host }],
    );
    const [{ targetRefs, validation }] = specs(seen, "BackendTLSPolicy");
    assert.equal(targetRefs[0].name, "minio");
    assert.deepEqual(
      [validation.hostname, validation.caCertificateRefs],
      [host, [{ group: "", kind: "Secret", name: minio.secret }]],
    );
  });
}

it("clients of a store elsewhere trust public CAs", async () => {
  const { seen } = await program("prod with Ray by KubeRay and S3 from elsewhere");
  const told = seen.filter(({ inputs }) => /AWS_CA_BUNDLE|SSL_CERT_FILE|object-store-ca/.test(JSON.stringify(inputs)));
  assert.deepEqual(
    told.map(({ name }) => name),
    [],
    "these trust the platform's CA in place of public ones",
  );
});

for (const shape of ALL_SHAPES) {
  for (const [name, server] of Object.entries(SERVERS[shape] ?? {})) {
    describe(`clients of ${name} in ${shape}`, () => {
      it("verify the server and its name, and none only encrypts", async () => {
        const { seen } = await program(shape);
        const found = seen.flatMap(({ inputs, name: from }) =>
          [...JSON.stringify(inputs).matchAll(server.told)].map(([said]) => [from, said] as const),
        );
        assert.ok(found.length > 0, "there are addresses to look at");
        const trusting = found.filter(([, said]) => !server.verified.test(said)).map((one) => one.join(": "));
        assert.deepEqual(trusting, [], "these do not verify whom they talk to");
      });

      it("have its CA in every pod without its key, and read it where it is mounted", async () => {
        const { seen } = await program(shape);
        const found = clients(seen, server);
        assert.ok(found.length > 0, "there are clients to look at");
        for (const client of found) {
          const described = descriptions(seen, client);
          assert.ok(described.length > 0, `${String(client.name)}: nothing describes its pods`);
          for (const one of described) {
            const volumes = having("secret", one).filter(({ secret }) => secret.secretName === server.secret);
            assert.ok(volumes.length > 0, `${String(client.name)} does not mount the CA of ${name}`);
            for (const { secret } of volumes) {
              const keys = secret.items?.map(({ key }: any) => key);
              assert.deepEqual(keys, ["ca.crt", "truststore.p12"], `${String(client.name)} mounts more than the CA`);
            }
            const trusts = volumes.map((volume) => volume.name);
            const places = having("mountPath", one).filter((mount) => trusts.includes(mount.name));
            const said = text(seen, one);
            assert.ok(
              places.some(({ mountPath }) =>
                ["ca.crt", "truststore.p12"].some((file) => said.includes(`${mountPath}/${file}`)),
              ),
              `${String(client.name)} does not read the CA of ${name} where it is mounted`,
            );
          }
        }
      });

      it("call it by a name that its certificate has", async () => {
        const { seen } = await program(shape);
        const { dnsNames } = only(seen, "kubernetes:cert-manager.io/v1:Certificate", server.secret).inputs.spec;
        const hosts = seen.flatMap(({ inputs }) => JSON.stringify(inputs).match(server.hosts) ?? []);
        assert.ok(hosts.length > 0, "there are addresses to look at");
        for (const host of new Set(hosts)) assert.ok(dnsNames.includes(host), host);
      });
    });
  }
}
