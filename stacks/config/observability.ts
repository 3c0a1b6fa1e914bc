import { z } from "zod";
import { addOn, cidr, size, Size, sizeGiB } from "./shapes";

const port = z.int().min(1).max(65535);
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
    to: z.email("expected an address").meta({ description: "Who gets the mail" }),
    from: z.email("expected an address"),
    server: z.hostname("expected a host name").meta({ description: "SMTP server, which must offer STARTTLS" }),
    username: z.string().min(1).meta({ description: "Login at the server; the credential is its password" }),
    cidrs,
    port: port.default(587),
  }),
  z.strictObject({
    kind: z.literal("none"),
    because: z.string().min(10).meta({ description: "Why critical alerts notify nobody" }),
  }),
]);

/** Prometheus, Alertmanager and Grafana. */
export const Monitoring = z.strictObject({
  retentionDays: z.int().min(1).meta({ description: "How long metrics are kept; shorter if the volume fills up" }),
  prometheus: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  alertmanager: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  grafana: Size,
  operator: addOn(Size).meta({
    description:
      "The Prometheus operator; or `existing` where the cluster has one that watches the platform's namespaces: nothing is installed, and its version and CRDs are checked",
  }),
  kubeStateMetrics: Size,
  nodeExporter: Size,
  reloader: Size.meta({ description: "Each sidecar that reloads configuration" }),
  paging: Paging.meta({ description: "Who is notified of alerts; the credential is carbon:pagingCredential" }),
});
