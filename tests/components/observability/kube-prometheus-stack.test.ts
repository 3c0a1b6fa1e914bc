import assert from "node:assert/strict";
import * as pulumi from "@pulumi/pulumi";
import { externalPeer } from "../../../components/base/endpoint";
import { parse } from "yaml";
import {
  KubePrometheusStack,
  type KubePrometheusStackArgs,
  type Paging,
} from "../../../components/observability/kube-prometheus-stack";
import { makeChartDirectory } from "../../support/chart-directory";
import { wires } from "../../support/manifests";
import { all, mockEngine, only, type Registered, settled } from "../../support/mocks";
import { kubeApi, mail, onCluster, signOn } from "../../support/stubs";

const POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy";
const size = { cpu: { request: 0.1, limit: 1 }, memoryMiB: { request: 128, limit: 512 } };
const pagerduty = {
  kind: "pagerduty",
  credential: pulumi.secret("routing-key-canary"),
  destination: externalPeer("pager", "https://pager.example.com", ["203.0.113.0/24"]),
} as const;

async function stack(
  paging: Paging = pagerduty,
  own: () => Partial<KubePrometheusStackArgs> = () => ({}),
): Promise<Registered[]> {
  const seen = await mockEngine();
  const reader = pulumi.output("monitoring");
  new KubePrometheusStack(
    "prometheus",
    {
      namespace: reader,
      nodeNamespace: "node-exporter",
      watched: ["monitoring", "node-exporter"],
      chartDirectory: makeChartDirectory(),
      kubeApi,
      nodeCidrs: ["10.0.0.0/24"],
      retentionDays: 30,
      prometheus: { ...size, volume: { storageClass: "kept", sizeGiB: 100 } },
      alertmanager: { ...size, volume: { storageClass: "kept", sizeGiB: 1 } },
      grafana: grafana(),
      operator: size,
      kubeStateMetrics: size,
      nodeExporter: size,
      reloader: size,
      alertmanagerHost: "alertmanager.example.com",
      paging,
      ...own(),
    },
    onCluster(),
  );
  await settled();
  return seen;
}

function grafana(): NonNullable<KubePrometheusStackArgs["grafana"]> {
  return { size, publicHost: "grafana.example.com", adminPassword: pulumi.secret("password-canary") };
}

function release(seen: readonly Registered[]): any {
  return only(seen, "kubernetes:helm.sh/v3:Release", "kube-prometheus-stack").inputs;
}

function routing(seen: readonly Registered[]): any {
  return parse(only(seen, "kubernetes:core/v1:Secret", "alertmanager-config").inputs.stringData["alertmanager.yaml"]);
}

describe("KubePrometheusStack", () => {
  it("hands the chart names of Secrets, and no password", async () => {
    const seen = await stack();
    const { values } = release(seen);
    assert.doesNotMatch(JSON.stringify(values), /canary/);
    assert.equal(values.grafana.admin.existingSecret, "grafana-admin");
    assert.equal(values.alertmanager.alertmanagerSpec.configSecret, "alertmanager-config");
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", "grafana-admin").inputs;
    assert.deepEqual(stringData, { "admin-user": "admin", "admin-password": "password-canary" });
  });

  it("names its public host in what tells somebody of an alert", async () => {
    const { alertmanagerSpec } = release(await stack()).values.alertmanager;
    assert.equal(alertmanagerSpec.externalUrl, "https://alertmanager.example.com");
  });

  it("rolls Grafana when its password changes", async () => {
    const { values } = release(await stack());
    assert.match(values.grafana.podAnnotations["checksum.254carbon.com/grafana-admin"], /^[0-9a-f]{32}$/);
  });

  it("has people log in to Grafana at the identity provider, with the highest role of their groups or not at all", async () => {
    const urls = {
      authorizationUrl: "https://login.example.com/auth",
      tokenUrl: "https://login.example.com/token",
      userInfoUrl: "https://login.example.com/me",
    };
    const seen = await stack(pagerduty, () => ({
      grafana: { ...grafana(), signOn: { ...signOn({ Viewer: ["everybody"], Admin: ["platform", "root"] }), ...urls } },
    }));
    const { grafana: values } = release(seen).values;
    const { client_secret: file, ...rest } = values["grafana.ini"]["auth.generic_oauth"];
    assert.deepEqual([rest.auth_url, rest.token_url, rest.api_url], Object.values(urls));
    assert.equal(
      rest.role_attribute_path,
      `"cognito:groups"[?@ == 'platform' || @ == 'root'] && 'Admin' || "cognito:groups"[?@ == 'everybody'] && 'Viewer'`,
    );
    assert.deepEqual([rest.role_attribute_strict, rest.use_pkce], [true, true]);
    const [{ secretName, mountPath }] = values.extraSecretMounts;
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", secretName).inputs;
    assert.deepEqual(
      Object.entries(stringData).map(([key, value]) => [`$__file{${mountPath}/${key}}`, value]),
      [[file, "client-secret"]],
    );
    assert.match(values.podAnnotations[`checksum.254carbon.com/${secretName}`], /^[0-9a-f]{32}$/);
    assert.ok(wires(seen).includes("kube-prometheus-stack-grafana -> provider 443"), wires(seen).join());
  });

  it("installs nothing of Grafana, and asks nothing of it, where the stack has none", async () => {
    const seen = await stack(pagerduty, () => ({ grafana: undefined }));
    assert.deepEqual(release(seen).values.grafana, { enabled: false });
    assert.doesNotMatch(JSON.stringify(seen.filter(({ name }) => name !== "kube-prometheus-stack")), /grafana/i);
    assert.doesNotMatch(wires(seen).join(), /grafana/);
  });

  it("has Prometheus ask no kube-state-metrics where the stack has none", async () => {
    const seen = await stack(pagerduty, () => ({ kubeStateMetrics: undefined }));
    const { kubeStateMetrics, "kube-state-metrics": subchart } = release(seen).values;
    assert.deepEqual([kubeStateMetrics, subchart], [{ enabled: false }, undefined]);
    assert.doesNotMatch(wires(seen).join(), /kube-state-metrics/);
  });

  it("scrapes and evaluates what every namespace asks for", async () => {
    const { prometheusSpec } = release(await stack()).values.prometheus;
    for (const selector of ["podMonitor", "serviceMonitor", "rule", "probe", "scrapeConfig"]) {
      assert.equal(prometheusSpec[`${selector}SelectorNilUsesHelmValues`], false, selector);
    }
  });

  it("has cert-manager issue the certificate of its webhooks, which the API server calls", async () => {
    const seen = await stack();
    assert.equal(release(seen).values.prometheusOperator.admissionWebhooks.certManager.enabled, true);
    const callers = wires(seen).filter((wire) => wire.includes(" -> kube-prometheus-stack-operator "));
    assert.deepEqual(callers, [
      "kube-api -> kube-prometheus-stack-operator 10250",
      // Its metrics are behind the same port.
      "prometheus -> kube-prometheus-stack-operator 10250",
    ]);
  });

  it("keeps metrics within four fifths of their volume, and the volume when the release goes", async () => {
    const { prometheus, alertmanager } = release(await stack()).values;
    assert.equal(prometheus.prometheusSpec.retention, "30d");
    assert.equal(prometheus.prometheusSpec.retentionSize, "81920MiB");
    for (const { persistentVolumeClaimRetentionPolicy: kept } of [
      prometheus.prometheusSpec,
      alertmanager.alertmanagerSpec,
    ]) {
      assert.deepEqual(kept, { whenDeleted: "Retain", whenScaled: "Retain" });
    }
  });

  it("changes the owner of a volume's files once, not at each start", async () => {
    const { prometheus, alertmanager } = release(await stack()).values;
    for (const spec of [prometheus.prometheusSpec, alertmanager.alertmanagerSpec]) {
      assert.deepEqual(spec.securityContext, { fsGroupChangePolicy: "OnRootMismatch" });
    }
  });

  it("shows Grafana the ConfigMaps of its own namespace, and no Secret", async () => {
    const seen = await stack();
    const { rules, metadata } = only(seen, "kubernetes:rbac.authorization.k8s.io/v1:Role").inputs;
    assert.deepEqual(rules, [{ apiGroups: [""], resources: ["configmaps"], verbs: ["get", "list", "watch"] }]);
    const { subjects, roleRef } = only(seen, "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding").inputs;
    assert.equal(roleRef.name, metadata.name);
    assert.deepEqual(
      subjects.map(({ name }: any) => name),
      ["kube-prometheus-stack-grafana"],
    );
    assert.equal(release(seen).values.grafana.rbac.create, false);
  });

  it("declares the pods of the operator with all of their containers and volumes", async () => {
    const { declares } = only(await stack(), "carbon:base:ChartRelease").inputs;
    const workload = (kind: string) => declares.workloads.find(({ name }: any) => name.startsWith(`${kind}-`));
    assert.deepEqual(workload("prometheus").size.memoryMiB, { request: 256, limit: 1024 });
    assert.deepEqual(workload("prometheus").volume, {
      name: "prometheus-kube-prometheus-stack-prometheus-db",
      storageClass: "kept",
      sizeGiB: 100,
    });
    assert.equal(workload("alertmanager").volume.sizeGiB, 1);
  });
});

describe("the routing of alerts", () => {
  it("pages critical alerts hourly and warnings daily, and nothing else", async () => {
    const { route, receivers } = routing(await stack());
    assert.deepEqual(
      route.routes.map(({ matchers, receiver, repeat_interval: every }: any) => [matchers[0], receiver, every]),
      [
        ['alertname = "Watchdog"', "nobody", undefined],
        ['severity = "critical"', "pager", "1h"],
        ['severity = "warning"', "pager", "24h"],
      ],
    );
    assert.equal(route.receiver, "nobody");
    assert.deepEqual(receivers[0], { name: "nobody" });
    assert.equal(receivers[1].pagerduty_configs[0].routing_key, "routing-key-canary");
  });

  it("lets Alertmanager reach the pager", async () => {
    const seen = await stack();
    const to = all(seen, POLICY).filter(
      ({ inputs }) => inputs.spec.podSelector.matchLabels?.alertmanager !== undefined,
    );
    const [egress] = to.flatMap(({ inputs }) => inputs.spec.egress ?? []);
    assert.deepEqual(egress, {
      to: [{ ipBlock: { cidr: "203.0.113.0/24" } }],
      ports: [{ protocol: "TCP", port: 443 }],
    });
  });

  it("posts to a webhook where the config says so", async () => {
    const credential = pulumi.secret("https://pager.example.com/canary");
    const { receivers } = routing(await stack({ ...pagerduty, kind: "webhook", credential }));
    assert.deepEqual(receivers[1], {
      name: "pager",
      webhook_configs: [{ url: "https://pager.example.com/canary" }],
    });
  });

  it("writes to a channel of Slack, and says when it is over", async () => {
    const credential = pulumi.secret("https://hooks.slack.com/services/canary");
    const { receivers } = routing(await stack({ ...pagerduty, kind: "slack", channel: "#alerts", credential }));
    assert.deepEqual(receivers[1], {
      name: "pager",
      slack_configs: [{ api_url: "https://hooks.slack.com/services/canary", channel: "#alerts", send_resolved: true }],
    });
  });

  it("mails over TLS alone, and says when it is over", async () => {
    const seen = await stack({ kind: "email", to: "ops@example.com", mail: mail() }, () => ({
      grafana: { ...grafana(), mail: mail() },
    }));
    const [{ to, from, smarthost, auth_password: password, require_tls: tls, send_resolved: resolved }] =
      routing(seen).receivers[1].email_configs;
    assert.deepEqual(
      [to, from, smarthost, password, tls, resolved],
      ["ops@example.com", "carbon@example.com", "smtp.example.com:587", "mail-password", true, true],
    );
    assert.deepEqual(
      wires(seen).filter((wire) => wire.includes(" -> mail ")),
      ["alertmanager-kube-prometheus-stack-alertmanager -> mail 587", "kube-prometheus-stack-grafana -> mail 587"],
    );
  });

  it("mails to a server that speaks TLS from the start, which offers no STARTTLS", async () => {
    const seen = await stack({ kind: "email", to: "ops@example.com", mail: { ...mail(), port: 465 } });
    const [{ smarthost, require_tls: starts }] = routing(seen).receivers[1].email_configs;
    assert.deepEqual([smarthost, starts], ["smtp.example.com:465", false]);
  });

  it("sends Grafana's invitations by the mail server, over TLS alone", async () => {
    const seen = await stack(pagerduty, () => ({ grafana: { ...grafana(), mail: mail() } }));
    const { grafana: values } = release(seen).values;
    const { password, ...rest } = values["grafana.ini"].smtp;
    assert.deepEqual(rest, {
      enabled: true,
      host: "smtp.example.com:587",
      user: "carbon",
      from_address: "carbon@example.com",
      startTLS_policy: "MandatoryStartTLS",
    });
    const [{ secretName, mountPath }] = values.extraSecretMounts;
    const { stringData } = only(seen, "kubernetes:core/v1:Secret", secretName).inputs;
    assert.deepEqual(
      Object.entries(stringData).map(([key, value]) => [`$__file{${mountPath}/${key}}`, value]),
      [[password, "mail-password"]],
    );
  });

  it("tells nobody only where the config says so", async () => {
    const { route, receivers } = routing(await stack({ kind: "none" }));
    assert.deepEqual(receivers, [{ name: "nobody" }]);
    assert.ok(
      route.routes.every(({ receiver }: any) => receiver === "nobody"),
      "somebody is paged although nobody is configured",
    );
  });
});
