import { z } from "zod";
import { cidr, size, Size, sizeGiB } from "./shapes";

const Paging = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.enum(["pagerduty", "webhook"]),
    cidrs: z
      .array(cidr)
      .min(1)
      .meta({ description: "Addresses of the receiver, opened to Alertmanager by network policies" }),
    port: z.int().min(1).max(65535).default(443),
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
  operator: Size,
  kubeStateMetrics: Size,
  nodeExporter: Size,
  reloader: Size.meta({ description: "Each sidecar that reloads configuration" }),
  paging: Paging.meta({ description: "Who is notified of alerts; the credential is carbon:pagingCredential" }),
});
