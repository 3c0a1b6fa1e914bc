import assert from "node:assert/strict";
import * as tls from "node:tls";
import { objectName } from "../../components/base/names";
import { TRUSTED, TRUSTED_FILE } from "../../components/base/outside";
import { type Labels, ourPods } from "../support/manifests";
import { all, type Registered } from "../support/mocks";
import { type Program, run, shaped } from "../support/program";

const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const OWN = "-----BEGIN CERTIFICATE-----\nown\n-----END CERTIFICATE-----";
const proxy = {
  url: "http://proxy.example.com:3128",
  cidrs: ["198.51.100.7/32"],
  noProxy: ["s3.example.com"],
};
const PROXIED = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];
const TRUSTING = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

describe("with a proxy and certificates for what goes outside", () => {
  let program: Program;
  let plain: Program<object>;
  before(async () => {
    const config = shaped("prod with Ray by KubeRay and S3 from elsewhere");
    plain = await run({ ...config, egress: undefined });
    program = await run({ ...config, egress: { proxy, certificates: OWN } });
  });

  /** The pods of ours that have a wire to a server outside, with those servers. */
  const leaving = () =>
    ourPods(program.seen).flatMap(({ owner, namespace, template }) => {
      const names = outsideWires(plain.seen).filter((wire) => has(template.metadata.labels, wire.labels));
      return names.length === 0 ? [] : [{ owner, namespace, template, to: [...new Set(names.map(({ to }) => to))] }];
    });

  it("tells pods of the proxy that ask a server there by it, and no others", () => {
    const told = ourPods(program.seen).filter(({ template }) => variablesOf(template).includes("HTTPS_PROXY"));
    assert.deepEqual(
      told.map(({ owner }) => owner),
      [
        "Deployment data-platform/superset",
        // They ask the index of packages.
        ...["head", "workers", "gpu-workers", "large"].map((part) => `RayCluster data-platform/ray-cluster, ${part}`),
        ...["head", "workers", "vision"].map((part) => `RayService data-platform/ray-serve-cluster, ${part}`),
      ],
    );
    const { env } = told[0]?.template.spec.containers[0] ?? {};
    const values = Object.fromEntries(env.map(({ name, value }: any) => [name, value]));
    assert.deepEqual([values["HTTPS_PROXY"], values["http_proxy"]], [proxy.url, proxy.url]);
    const exceptions = values["NO_PROXY"].split(",");
    for (const one of ["localhost", ".svc", ".cluster.local", "10.244.0.0/16", "s3.example.com"]) {
      assert.ok(exceptions.includes(one), `NO_PROXY lacks ${one}: what is inside would be asked through the proxy`);
    }
    assert.equal(exceptions.at(-1), "$(KUBERNETES_SERVICE_HOST)");
  });

  it("has every pod of ours that asks a server outside trust the certificates, in all its containers", () => {
    const found = leaving();
    assert.ok(found.length > 8, `only ${found.length} found: does the test still see them?`);
    for (const { owner, namespace, template } of found) {
      for (const container of [...(template.spec.initContainers ?? []), ...template.spec.containers]) {
        const names = (container.env ?? []).map(({ name }: any) => name);
        assert.deepEqual(
          TRUSTING.filter((name) => !names.includes(name)),
          [],
          owner,
        );
        const { mountPath } = container.volumeMounts.find(({ name }: any) => name === TRUSTED) ?? {};
        const { value } = container.env.find(({ name }: any) => name === "SSL_CERT_FILE");
        assert.equal(value, `${mountPath}/${TRUSTED_FILE}`, owner);
      }
      const config = all(program.seen, "kubernetes:core/v1:ConfigMap").find(
        ({ inputs: { metadata } }) => metadata.name === TRUSTED && metadata.namespace === namespace,
      );
      const text = String(config?.inputs["data"][TRUSTED_FILE]);
      assert.ok(text.includes(OWN) && text.includes(tls.rootCertificates[0] ?? "?"), `${owner} trusts too little`);
    }
  });

  it("tells charts whose pods go outside", () => {
    const values = (name: string) =>
      all(program.seen, "kubernetes:helm.sh/v3:Release").find((one) => one.name === name)?.inputs.values;
    const { grafana, alertmanager } = values("kube-prometheus-stack");
    const [patched] = alertmanager.alertmanagerSpec.containers;
    const lists = [grafana.env, named(patched.env), named(values("cert-manager").extraEnv)];
    for (const env of lists) {
      assert.deepEqual(
        [...PROXIED, ...TRUSTING].filter((name) => !(name in env)),
        [],
      );
    }
    // A name of one word, which no domain of NO_PROXY covers.
    assert.ok(grafana.env.NO_PROXY.split(",").includes("kube-prometheus-stack-prometheus"), grafana.env.NO_PROXY);
  });

  it("lets pods reach the proxy instead of servers that they ask by it, and others as before", () => {
    const cidrs = (name: string) =>
      all(program.seen, POLICY)
        .filter(({ inputs }) => inputs.metadata.name === objectName(name, "egress"))
        .flatMap(({ inputs }) =>
          inputs.spec.egress.flatMap(({ to }: any) => to.map(({ ipBlock }: any) => ipBlock?.cidr)),
        );
    const blocks = (name: string) => [...new Set(cidrs(name).filter((one) => one !== undefined))];
    assert.deepEqual(blocks("superset"), proxy.cidrs);
    const alertmanager = blocks("alertmanager-kube-prometheus-stack-alertmanager");
    assert.ok(
      proxy.cidrs.every((one) => alertmanager.includes(one)),
      "alerts do not reach the proxy",
    );
    assert.ok(alertmanager.length > 1, "whether NO_PROXY has the receiver's host is in its credential: open both ways");
    assert.deepEqual(blocks("superset-worker"), ["203.0.113.0/24"], "mail goes directly");
    assert.deepEqual(blocks("mlflow"), ["203.0.113.0/24"], "its host is an exception");
  });

  it("changes nothing else", () => {
    const templates = (seen: readonly Registered[]) =>
      new Map(ourPods(seen).map(({ owner, template }) => [owner, template] as const));
    const before = templates(plain.seen);
    const told = leaving().map(({ owner }) => owner);
    for (const [owner, template] of templates(program.seen)) {
      if (!told.includes(owner)) assert.deepEqual(template, before.get(owner), owner);
    }
  });
});

function named(env: readonly { readonly name: string; readonly value: string }[]): Record<string, string> {
  return Object.fromEntries(env.map(({ name, value }) => [name, value]));
}

function variablesOf({ spec }: any): string[] {
  return spec.containers.flatMap(({ env = [] }: any) => env.map(({ name }: any) => name));
}

function has(labels: Labels, wanted: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}

/** The wires to servers outside the cluster: from which pods, and where to. */
function outsideWires(seen: readonly Registered[]): { readonly labels: Labels; readonly to: string }[] {
  const [table] = all(seen, "carbon:base:Wires");
  return table?.inputs["wires"].flatMap(({ from, to }: any) =>
    ["s3", "mail", "identity-provider", "package-index"].includes(to.name)
      ? [{ labels: from.labels, to: to.name }]
      : [],
  );
}
