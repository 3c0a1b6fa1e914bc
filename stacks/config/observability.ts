import { z } from "zod";
import { cidr, size, Size, sizeGiB } from "./shapes";

const Paging = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.enum(["pagerduty", "webhook"]),
    cidrs: z.array(cidr).min(1).meta({ description: "Where it leads: what policies let Alertmanager reach" }),
    port: z.int().min(1).max(65535).default(443),
  }),
  z.strictObject({
    kind: z.literal("none"),
    because: z.string().min(10).meta({ description: "Why nobody is told of a critical alert" }),
  }),
]);

/** Prometheus, Alertmanager and Grafana. */
export const Monitoring = z.strictObject({
  retentionDays: z.int().min(1).meta({ description: "How long metrics are kept, while the volume has room" }),
  prometheus: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  alertmanager: z.strictObject({ ...size, volume: z.strictObject({ sizeGiB }) }),
  grafana: Size,
  operator: Size,
  kubeStateMetrics: Size,
  nodeExporter: Size,
  reloader: Size.meta({ description: "Each container that watches configuration beside another" }),
  paging: Paging.meta({ description: "Who is told of alerts; the credential is carbon:pagingCredential" }),
});
