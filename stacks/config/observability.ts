import { z } from "zod";
import { addOn, cidr, port, size, Size, Volume } from "./shapes";

const cidrs = z
  .array(cidr)
  .min(1)
  .meta({ description: "Addresses of the receiver, opened to Alertmanager by network policies" });

const Paging = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.enum(["pagerduty", "webhook"]), cidrs, port: port.default(443) }),
  z.strictObject({
    kind: z.literal("slack"),
    channel: z
      .string()
      .regex(/^[#@][^\s]+$/, "expected a channel such as #alerts")
      .meta({ description: "Channel of the workspace; the credential is the URL of its incoming webhook" }),
    cidrs,
    port: port.default(443),
  }),
  z.strictObject({
    kind: z.literal("email"),
    to: z.email("expected an address").meta({ description: "Who gets the mail, from the server of `mail`" }),
  }),
  z.strictObject({
    kind: z.literal("none"),
    because: z.string().min(10).meta({ description: "Why critical alerts notify nobody" }),
  }),
]);

// An alert fires when 14.4 times as much fails as may: of a share below 93 % that is more than all.
const share = z.number().min(0.95).max(0.9999);

const Objectives = z.strictObject({
  predictions: z
    .strictObject({
      availability: share.default(0.995).meta({ description: "Requests that a Serve application does not fail" }),
      latency: z
        .strictObject({
          share: share.default(0.99).meta({ description: "Requests that are answered in time" }),
          // The buckets of Ray Serve's histogram.
          milliseconds: z.literal([50, 100, 200, 300, 400, 500, 1000, 2000, 5000]).default(500),
        })
        .prefault({}),
    })
    .prefault({}),
  features: z
    .strictObject({
      availability: share.default(0.995).meta({ description: "Reads of features that Feast does not fail" }),
      freshness: z
        .strictObject({
          share: share.default(0.99).meta({ description: "Time in which each feature view is fresh" }),
          hours: z.number().min(1).default(2).meta({ description: "How old the last materialization may be" }),
        })
        .prefault({}),
    })
    .prefault({}),
});

/** Prometheus, Alertmanager and Grafana. */
export const Monitoring = z.strictObject({
  retentionDays: z.int().min(1).meta({ description: "How long metrics are kept; shorter if the volume fills up" }),
  prometheus: z.strictObject({ ...size, volume: Volume }),
  alertmanager: z.strictObject({ ...size, volume: Volume }),
  grafana: Size.optional().meta({
    description: "Left out where people look at Prometheus elsewhere: no Grafana, no dashboard, and no host of its own",
  }),
  operator: addOn(Size).meta({
    description:
      "The Prometheus operator; or `existing` where the cluster has one that watches the platform's namespaces: nothing is installed, and its version and CRDs are checked",
  }),
  kubeStateMetrics: Size.optional().meta({
    description:
      "Left out where nobody counts pods, Jobs, quotas and volumes: the alerts that need these counts are left out, too",
  }),
  nodeExporter: Size,
  reloader: Size.meta({ description: "Each sidecar that reloads configuration" }),
  objectives: Objectives.prefault({}).meta({
    description: "What is promised of predictions and features; alerts fire when too much of it is missed",
  }),
  paging: Paging.meta({ description: "Who is notified of alerts; the credential is carbon:pagingCredential" }),
});
