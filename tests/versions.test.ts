import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { RENDERED } from "../commands/charts/rendered";
import { ownImage } from "../components/base/own-image";
import {
  type ChartPin,
  charts,
  clientVersions,
  elasticsearchVersion,
  images,
  kafkaVersion,
  manifests,
} from "../components/base/versions";
import { built } from "../rehearsal/node/operators/build";
import { fromDebian } from "../rehearsal/node/operators/monitoring";
import { versions } from "../rehearsal/simulation/toolchain";
import { builtIstiod } from "./mesh/harness/build";

/**
 * What a version of a chart says of others, from its sources. A new version of the chart fails here until somebody has read there
 * what it says now.
 */
const FACTS = {
  "strimzi-kafka-operator": {
    version: "1.2.0",
    says: { kafka: ["4.2.0", "4.2.1", "4.3.0", "4.3.1"] },
    source: "strimzi/strimzi-kafka-operator kafka-versions.yaml",
  },
  "cloudnative-pg": {
    version: "0.29.0",
    says: { operator: "1.30", postgres: "ghcr.io/cloudnative-pg/postgresql:18.4-system-trixie" },
    source: "cloudnative-pg/cloudnative-pg pkg/versions/versions.go",
  },
  "plugin-barman-cloud": {
    version: "0.7.0",
    says: { operator: "1.26" },
    source: "cloudnative-pg/plugin-barman-cloud web/docs/intro.md",
  },
  "eck-operator": {
    version: "3.5.0",
    says: { elasticsearch: ["7", "8", "9"] },
    source: "elastic/cloud-on-k8s pkg/controller/elasticsearch/version/supported_versions.go",
  },
  istiod: {
    version: "1.30.3",
    says: { convertsAs: "v0.0.0-20260827124520-eed52ebb66ad" },
    // On the way to 1.31: convertAuthorizationPolicy, convertPeerAuthentication, what ztunnel is sent, and the chart's roles are the same.
    source:
      "istio/istio pilot/pkg/serviceregistry/ambient/authorization.go, pkg/workloadapi/security, manifests/charts/istio-control",
  },
  "gateway-helm": {
    version: "v1.9.1",
    says: { gatewayApi: "v1.6.1" },
    source: "envoyproxy/gateway site/content/en/news/releases/matrix.md",
  },
  "kube-prometheus-stack": {
    version: "88.5.3",
    says: { prometheusOperator: "v0.93.1" },
    source: "prometheus-community/helm-charts charts/kube-prometheus-stack/Chart.yaml, appVersion",
  },
} as const;

/** What the pinned version of a chart says. */
function saidBy<Chart extends keyof typeof FACTS>({
  chart,
  version,
}: ChartPin & { readonly chart: Chart }): (typeof FACTS)[Chart]["says"] {
  const { version: read, says, source } = FACTS[chart];
  assert.equal(version, read, `${chart}: read in ${source} what ${version} says of others, and write it here`);
  return says;
}

/** The version of the software of a release, as its real chart labels it. */
function appVersion(release: string): string | undefined {
  const text = fs.readFileSync(path.join(RENDERED, `${release}.json`), "utf8");
  return /"app\.kubernetes\.io\/version":"([^"]+)"/.exec(text)?.[1];
}

const tag = (image: string): string | undefined => image.split(":")[1];

describe("versions that are pinned apart and belong together", () => {
  it("are Kafka's and one that Strimzi runs", () => {
    const { kafka } = saidBy(charts.strimzi);
    assert.ok((kafka as readonly string[]).includes(kafkaVersion), `${kafkaVersion} is none of ${kafka.join(", ")}`);
  });

  it("are PostgreSQL's and the one that its operator is tested with", () => {
    assert.equal(images.postgres, saidBy(charts.cloudnativePg).postgres);
  });

  it("are those of the operator and of its plugin, which wants a certain one at least", () => {
    const [has, wants] = [saidBy(charts.cloudnativePg).operator, saidBy(charts.barmanCloud).operator];
    assert.ok(Number(has.split(".")[1]) >= Number(wants.split(".")[1]), `the plugin wants ${wants}, and ${has} runs`);
  });

  it("are those of the operators that tests build and of the charts that install them", () => {
    assert.equal(versions.certManager, charts.certManager.version);
    assert.equal(built("prometheus-operator"), manifests.prometheusOperator.version);
    assert.match(built("cnpg"), new RegExp(`^v${saidBy(charts.cloudnativePg).operator}\\.`));
    assert.equal(built("eck"), `v${charts.eckOperator.version}`);
  });

  it("are those of monitoring's images on the real node and of the chart that names them", () => {
    const chart = fs.readFileSync(path.join(RENDERED, "kube-prometheus-stack.json"), "utf8");
    for (const { image } of Object.values(fromDebian)) assert.ok(chart.includes(`"${image}"`), image);
  });

  it("are Elasticsearch's and one that ECK runs", () => {
    const { elasticsearch } = saidBy(charts.eckOperator);
    const [major = ""] = elasticsearchVersion.split(".");
    assert.ok((elasticsearch as readonly string[]).includes(major), `${major} is none of ${elasticsearch.join(", ")}`);
  });

  it("are the CRDs of Prometheus' operator and the operator", () => {
    assert.equal(manifests.prometheusOperator.version, saidBy(charts.kubePrometheusStack).prometheusOperator);
  });

  it("are the CRDs of the Gateway API and those that Envoy Gateway was built with", () => {
    assert.equal(manifests.gatewayApi.version, saidBy(charts.envoyGateway).gatewayApi);
  });

  it("are Polaris' and its admin tool's, which writes the server's tables", () => {
    assert.equal(tag(images.polarisAdminTool), appVersion("polaris"));
  });

  it("are DataHub's and its recipes'", () => {
    assert.equal(tag(images.datahubIngestion), appVersion("datahub"));
  });

  it("are Istio's and a commit that treats policies alike, which tests build", () => {
    assert.equal(builtIstiod, saidBy(charts.istiod).convertsAs);
  });

  it("are those of the parts of Istio", () => {
    const { istioBase, istiod, istioCni, ztunnel } = charts;
    assert.deepEqual(
      [istioCni, ztunnel, istioBase].map(({ version }) => version),
      Array<string>(3).fill(istiod.version),
    );
  });

  it("are Ray's with and without GPUs, Python included: a worker of another version cannot join", () => {
    const { ray, python } = clientVersions;
    const base = `${ray}-py${python.replace(".", "")}-`;
    assert.equal(tag(ownImage("ray-gpu"))?.slice(0, base.length), base);
  });
});
