import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { all, only, type Registered } from "../../support/mocks";
import { wires } from "../../support/manifests";
import { configOf, program, run, SHAPES } from "../../support/program";

const ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute";
const SECURITY = "kubernetes:gateway.envoyproxy.io/v1alpha1:SecurityPolicy";
const TRAFFIC = "kubernetes:gateway.envoyproxy.io/v1alpha1:BackendTrafficPolicy";
const GRANT = "kubernetes:gateway.networking.k8s.io/v1beta1:ReferenceGrant";

/** The policies of a kind that hold for a route. */
function policiesOf(seen: readonly Registered[], kind: string, route: string): any[] {
  return all(seen, kind)
    .map(({ inputs }) => inputs.spec)
    .filter(({ targetRefs }) => targetRefs.some(({ name }: any) => name === route));
}

function routesOf(seen: readonly Registered[]): Registered[] {
  return all(seen, ROUTE).filter(({ inputs }) => inputs.spec.hostnames !== undefined);
}

for (const shape of SHAPES) {
  describe(`the gateway of ${shape}`, () => {
    it("lets nobody through who does not prove who they are, not even while a route is new", async () => {
      const { seen } = await program(shape);
      assert.ok(routesOf(seen).length >= 15, "most systems have a way in");
      for (const { name, dependencies } of routesOf(seen)) {
        const [rule, ...more] = policiesOf(seen, SECURITY, name);
        assert.deepEqual(more, [], `${name}: only the oldest of several policies holds`);
        const proofs = ["apiKeyAuth", "basicAuth", "jwt", "oidc"].filter((proof) => rule?.[proof] !== undefined);
        assert.equal(proofs.length, 1, `${name} is open to everybody: ${JSON.stringify(rule)}`);
        assert.match(dependencies.join(" "), /SecurityPolicy::/, `${name} is open until its policy is there`);
      }
    });

    it("opens each API to pages of the platform's own origins alone, at a limited rate", async () => {
      const { seen, config } = await program(shape);
      for (const { name } of routesOf(seen).filter((route) => route.name.startsWith("api-"))) {
        const [{ cors }] = policiesOf(seen, SECURITY, name);
        assert.deepEqual(cors.allowOrigins, [`https://${config.domain}`, `https://*.${config.domain}`], name);
        const [{ rateLimit }] = policiesOf(seen, TRAFFIC, name);
        const units = rateLimit.local.rules.map(({ limit }: any) => limit.unit);
        assert.deepEqual(units, ["Minute", "Hour"], name);
      }
    });

    it("waits for a server, not for the end of its answer, and ends connections before servers do", async () => {
      const { seen } = await program(shape);
      for (const { name, inputs } of routesOf(seen)) {
        assert.deepEqual(inputs.spec.rules[0].timeouts, { request: "0s" }, `${name}: large answers are cut off`);
        const [rule, ...more] = policiesOf(seen, TRAFFIC, name);
        assert.deepEqual(more, [], `${name}: only the oldest of several policies holds`);
        const { streamIdleTimeout, connectionIdleTimeout } = rule.timeout.http;
        assert.ok(parseInt(streamIdleTimeout) >= 10, `${name}: a silent server holds a request for ever`);
        assert.equal(connectionIdleTimeout, "1s", name);
      }
    });

    it("has a certificate for every host name that it answers to", async () => {
      const { seen } = await program(shape);
      const { listeners } = only(seen, "kubernetes:gateway.networking.k8s.io/v1:Gateway").inputs.spec;
      for (const { name, tls } of listeners.filter(({ protocol }: any) => protocol === "HTTPS")) {
        const secret = tls.certificateRefs[0].name;
        const { dnsNames } = only(seen, "kubernetes:cert-manager.io/v1:Certificate", secret).inputs.spec;
        const routes = routesOf(seen).filter(({ inputs }) => inputs.spec.parentRefs[0].sectionName === name);
        const answered = new Set(routes.flatMap(({ inputs }) => inputs.spec.hostnames));
        assert.deepEqual(dnsNames, [...answered].sort());
      }
    });

    it("may lead to the Services that have a route, and reaches the pods behind these alone", async () => {
      const { seen } = await program(shape);
      const service = ({ name, namespace }: any) => `${namespace}/${name}`;
      const led = routesOf(seen).map(({ inputs }) => service(inputs.spec.rules[0].backendRefs[0]));
      const granted = all(seen, GRANT).map(({ inputs: { metadata, spec } }) =>
        service({ name: spec.to[0].name, namespace: metadata.namespace }),
      );
      assert.deepEqual(granted.sort(), led.sort());
      const reached = wires(seen).filter((row) => row.startsWith("gateway -> "));
      const inside = reached.filter((row) => !/-> (envoy-gateway|acme-solver|access-proxy|identity|token)/.test(row));
      const ways = new Set(routesOf(seen).map(({ inputs }) => service(inputs.spec.rules[0].backendRefs[0])));
      assert.equal(new Set(inside).size, ways.size, reached.join("\n"));
    });
  });
}

describe("the gateway", () => {
  it("speaks TLS only with who names one of its hosts", async () => {
    const { seen } = await program("dev");
    const { listeners } = only(seen, "kubernetes:gateway.networking.k8s.io/v1:Gateway").inputs.spec;
    const encrypted = listeners.filter(({ protocol }: any) => protocol === "HTTPS");
    assert.deepEqual(
      encrypted.map(({ hostname }: any) => hostname),
      ["*.dev.254carbon.com"],
    );
  });

  it("publishes the URLs of sites and APIs, and where their keys lie", async () => {
    const { outputs } = (await program("dev")) as { outputs: any };
    assert.equal(outputs.gateway.sites.grafana, "https://grafana.dev.254carbon.com");
    assert.equal(outputs.gateway.apis.mlflow, "https://api.dev.254carbon.com/api/mlflow");
    // Its clients sign host and path, so that it has a host of its own.
    assert.equal(outputs.gateway.apis.s3, "https://s3.dev.254carbon.com");
    assert.deepEqual(outputs.secrets.apiMlflow, { namespace: "gateway", name: "api-key-mlflow" });
  });

  it("cuts off the path of an API, tells the server of it, and keeps the site's password from the server", async () => {
    const { seen } = await program("dev");
    const filters = (route: string) => only(seen, ROUTE, route).inputs.spec.rules[0].filters;
    assert.deepEqual(filters("api-mlflow"), [
      {
        type: "RequestHeaderModifier",
        requestHeaderModifier: { set: [{ name: "x-forwarded-prefix", value: "/api/mlflow" }] },
      },
      { type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/" } } },
    ]);
    assert.deepEqual(filters("grafana")[0].requestHeaderModifier.remove, ["authorization"]);
    assert.deepEqual(filters("api-s3"), []);
  });

  it("takes a key as a bearer token where the server reads none itself", async () => {
    const { seen } = await program("dev");
    const sources = (route: string) => policiesOf(seen, SECURITY, route)[0].apiKeyAuth.extractFrom[0].headers;
    assert.deepEqual(sources("api-mlflow"), ["x-api-key", "authorization"]);
    assert.deepEqual(sources("api-datahub"), ["x-api-key"]);
  });

  it("takes an issuer's token in the headers of a key, and keeps it from servers, which would take it for one of their own", async () => {
    const { issuer, jwks } = { issuer: "https://tokens.example.com", jwks: "https://tokens.example.com/keys" };
    const programs = { kind: "jwt" as const, issuer, jwks, cidrs: ["203.0.113.0/24"] };
    const config = configOf("dev");
    const { seen } = await run({ ...config, gateway: { ...config.gateway, programs } });
    const [key, token] = [{ name: "x-api-key" }, { name: "authorization", valuePrefix: "Bearer " }];
    const found = ["api-mlflow", "api-superset", "api-s3"].map((route) => [
      policiesOf(seen, SECURITY, route)[0].jwt.providers[0].extractFrom.headers,
      only(seen, ROUTE, route).inputs.spec.rules[0].filters[0]?.requestHeaderModifier.remove,
    ]);
    assert.deepEqual(found, [
      [
        [key, token],
        ["x-api-key", "authorization"],
      ],
      [[key], ["x-api-key"]],
      [[key], undefined],
    ]);
  });

  it("hands the secret of its client to Envoy as the standard wants it encoded", async () => {
    const people = { kind: "oidc" as const, issuer: "https://login.example.com", clientId: "carbon", cidrs: [] };
    const config = configOf("dev");
    const secret = "100%+1&more";
    const { seen } = await run({ ...config, gateway: { ...config.gateway, people } }, { gatewayClientSecret: secret });
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "gateway-people").inputs;
    assert.deepEqual(stringData, { "client-secret": "100%25%2B1%26more" });
  });

  it("keeps keys from servers, but for S3's, whose clients sign all headers", async () => {
    const { seen } = await program("dev");
    const passed = all(seen, SECURITY)
      .filter(({ inputs }) => inputs.spec.apiKeyAuth?.sanitize === false)
      .map(({ inputs }) => inputs.metadata.name);
    assert.deepEqual(passed, ["api-s3"]);
  });

  it("has a key for each system, and people's password only as a hash and for people to read", async () => {
    const { seen } = await run(configOf("dev"), { mlflowApiKey: "k".repeat(40), gatewayPassword: "open-sesame" });
    const secret = (name: string) => only(seen, "kubernetes:core/v1:Secret", name).inputs.stringData;
    assert.deepEqual(secret("api-key-mlflow"), { mlflow: "k".repeat(40) });
    const hash = createHash("sha1").update("open-sesame").digest("base64");
    assert.equal(secret("gateway-people")[".htpasswd"], `admin:{SHA}${hash}`);
  });

  it("leaves an issuer alone for a while that did not tell its keys", async () => {
    const { seen } = await program("prod");
    const providers = all(seen, SECURITY).flatMap(({ inputs }) => inputs.spec.jwt?.providers ?? []);
    assert.ok(providers.length > 0, "nobody's tokens are checked");
    for (const { name, remoteJWKS } of providers) assert.equal(remoteJWKS.failedRefetchDuration, "15s", name);
  });

  it("splits the rate of an API among its proxies, each of which counts for itself", async () => {
    const perMinute = async (stack: string) => {
      const { seen } = await program(stack);
      return policiesOf(seen, TRAFFIC, "api-trino")[0].rateLimit.local.rules[0].limit.requests;
    };
    assert.deepEqual([await perMinute("dev"), await perMinute("prod")], [50, 25]);
  });

  it("never sends a request twice that a server may have seen", async () => {
    const { seen } = await program("prod");
    for (const { inputs } of all(seen, TRAFFIC)) {
      const { triggers = [] } = inputs.spec.retry?.retryOn ?? {};
      const safe = ["connect-failure", "refused-stream", "reset-before-request"];
      assert.deepEqual(
        triggers.filter((trigger: string) => !safe.includes(trigger)),
        [],
        inputs.metadata.name,
      );
    }
    assert.equal(policiesOf(seen, TRAFFIC, "api-trino")[0].retry, undefined);
  });

  it("shows Ray's dashboard only where the stack file says so", async () => {
    const config = configOf("dev");
    const hosts = async (publicDashboard: boolean) => {
      const { seen } = await run({ ...config, ray: { ...config.ray, publicDashboard } });
      return routesOf(seen).map(({ name }) => name);
    };
    const closed = await hosts(false);
    assert.deepEqual(
      (await hosts(true)).filter((host) => !closed.includes(host)),
      ["ray"],
    );
  });

  it("behind a tunnel is reached by the tunnel's agents alone", async () => {
    const { seen } = await program("prod");
    const callers = wires(seen).filter((row) => / -> gateway /.test(row));
    assert.deepEqual(callers, ["gateway-tunnel -> gateway 10080,10443", "prometheus -> gateway 19001"]);
  });

  it("that proves names by DNS keeps the provider's token in a Secret", async () => {
    const config = configOf("dev");
    const certificates = {
      kind: "acme",
      server: "https://acme.example.com/directory",
      email: "ops@example.com",
      challenge: "dns01",
      cidrs: ["203.0.113.0/24"],
    } as const;
    const gateway = { ...config.gateway, certificates: { ...certificates, cidrs: [...certificates.cidrs] } };
    const { seen } = await run({ ...config, gateway }, { cloudflareDnsToken: "canary-token" });
    const [solver] = only(seen, "kubernetes:cert-manager.io/v1:Issuer", "gateway").inputs.spec.acme.solvers;
    assert.deepEqual(solver.dns01.cloudflare.apiTokenSecretRef, { name: "gateway-dns", key: "token" });
    assert.ok(wires(seen).includes("cert-manager -> acme 443"), wires(seen).join("\n"));
    const { values } = only(seen, "kubernetes:helm.sh/v3:Release", "cert-manager").inputs;
    assert.equal(values.dns01RecursiveNameserversOnly, true);
  });

  it("that proves names by HTTP does so behind the gateway, without a port of its own on each node", async () => {
    const { seen } = await program("prod with Ray by KubeRay and S3 from elsewhere");
    const [solver] = only(seen, "kubernetes:cert-manager.io/v1:Issuer", "gateway").inputs.spec.acme.solvers;
    const parentRefs = [{ name: "gateway", sectionName: "http" }];
    assert.deepEqual(solver, { http01: { gatewayHTTPRoute: { serviceType: "ClusterIP", parentRefs } } });
  });

  it("left out of the stack file leaves nothing behind", async () => {
    const { seen, outputs } = await run({ ...configOf("dev"), gateway: undefined });
    assert.deepEqual(routesOf(seen), []);
    assert.equal((outputs as any).gateway, undefined);
  });
});
