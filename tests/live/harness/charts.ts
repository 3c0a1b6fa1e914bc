import type { Rendered } from "./rendered";
import { TRINO } from "../../../rehearsal/software/images";

/** What a chart would make of a release, for the charts whose pods are started here; nothing for the others. */
export function objectsOf({ namespace, name, values }: any): Rendered[] {
  return name === "trino" && values !== undefined ? trino(namespace, values) : [];
}

/**
 * What Trino's chart makes of our values, key by key (a test compares it with the chart where that is at hand), without the
 * agent that ends a JVM short of memory: only the image has it.
 */
function trino(namespace: string, values: any): Rendered[] {
  const { coordinatorNameOverride: coordinator, workerNameOverride: worker, fullnameOverride: full } = values;
  const config = (name: string, data: Record<string, string>) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace },
    data,
  });
  const nodes = [
    { name: coordinator, role: "coordinator", part: values.coordinator, replicas: 1 },
    { name: worker, role: "worker", part: values.worker, replicas: values.server.workers },
  ].filter(({ replicas }) => replicas > 0);
  return [
    config(
      `${full}-catalog`,
      Object.fromEntries(
        Object.entries<string>({ ...CHART_CATALOGS, ...values.additionalCatalogs }).map(([catalog, text]) => [
          `${catalog}.properties`,
          text,
        ]),
      ),
    ),
    ...nodes.flatMap(({ name, role, part, replicas }) => {
      const labels = {
        "app.kubernetes.io/name": "trino",
        "app.kubernetes.io/instance": "trino",
        "app.kubernetes.io/component": role,
      };
      return [
        config(name, { ...files(role, part, values), ...part.additionalConfigFiles }),
        config(`${full}-schemas-volume-${role}`, {}),
        {
          apiVersion: "v1",
          kind: "Service",
          metadata: { name: role === "coordinator" ? full : `${full}-worker`, namespace },
          spec: { selector: labels, ports: [{ name: "http", port: PORT, targetPort: "http" }] },
        },
        {
          apiVersion: "apps/v1",
          kind: "Deployment",
          metadata: { name, namespace },
          spec: {
            replicas,
            selector: { matchLabels: labels },
            template: {
              metadata: { labels: { ...labels, ...part.labels }, annotations: part.annotations },
              spec: podSpec(name, role, part, values),
            },
          },
        },
      ];
    }),
  ];
}

const PORT = 8080;
const CHART_CATALOGS = { tpch: "connector.name=tpch\n", tpcds: "connector.name=tpcds\n" };

function files(role: string, { jvm, config, additionalJVMConfig }: any, values: any): Record<string, string> {
  const isCoordinator = role === "coordinator";
  const { additionalConfigProperties, fullnameOverride, server } = values;
  return {
    "node.properties": lines([
      "node.environment=production",
      "node.data-dir=/data/trino",
      "plugin.dir=/usr/lib/trino/plugin",
    ]),
    "jvm.config": lines([
      "-server",
      `-Xmx${jvm.maxHeapSize}`,
      "-XX:+UseG1GC",
      "-XX:G1HeapRegionSize=32M",
      "-XX:+ExplicitGCInvokesConcurrent",
      "-XX:+HeapDumpOnOutOfMemoryError",
      "-XX:+ExitOnOutOfMemoryError",
      "-XX:-OmitStackTraceInFastThrow",
      "-XX:ReservedCodeCacheSize=512M",
      "-XX:PerMethodRecompilationCutoff=10000",
      "-XX:PerBytecodeRecompilationCutoff=10000",
      "-Djdk.attach.allowAttachSelf=true",
      "-Djdk.nio.maxCachedBufferSize=2000000",
      "-XX:+EnableDynamicAgentLoading",
      "-XX:+UnlockDiagnosticVMOptions",
      "-XX:G1NumCollectionsKeepPinned=10000000",
      ...additionalJVMConfig,
    ]),
    "config.properties": lines([
      `coordinator=${isCoordinator}`,
      ...(isCoordinator ? [`node-scheduler.include-coordinator=${config.nodeScheduler.includeCoordinator}`] : []),
      `http-server.http.port=${PORT}`,
      `query.max-memory=${server.config.query.maxMemory}`,
      `query.max-memory-per-node=${config.query.maxMemoryPerNode}`,
      `memory.heap-headroom-per-node=${config.memory.heapHeadroomPerNode}`,
      `discovery.uri=http://${isCoordinator ? "localhost" : fullnameOverride}:${PORT}`,
      ...additionalConfigProperties,
      ...(isCoordinator ? [] : server.workerExtraConfig.trim().split("\n")),
    ]),
    "log.properties": lines(["io.trino=INFO"]),
  };
}

function podSpec(name: string, role: string, part: any, values: any): object {
  const { fullnameOverride: full, securityContext, containerSecurityContext, envFrom, serviceAccount } = values;
  const healthCheck = { exec: { command: ["/usr/lib/trino/bin/health-check"] }, initialDelaySeconds: 10 };
  return {
    serviceAccountName: serviceAccount.name,
    priorityClassName: part.priorityClassName,
    securityContext,
    terminationGracePeriodSeconds: part.terminationGracePeriodSeconds ?? 30,
    volumes: [
      { name: "config-volume", configMap: { name } },
      { name: "catalog-volume", configMap: { name: `${full}-catalog` } },
      { name: "schemas-volume", configMap: { name: `${full}-schemas-volume-${role}` } },
      ...part.additionalVolumes,
    ],
    initContainers: (values.initContainers?.[role] ?? []).map((one: any) => ({ ...one, image: TRINO })),
    containers: [
      {
        name: `trino-${role}`,
        image: TRINO,
        securityContext: containerSecurityContext,
        envFrom,
        volumeMounts: [
          { mountPath: "/etc/trino", name: "config-volume" },
          { mountPath: "/etc/trino/catalog", name: "catalog-volume" },
          { mountPath: "/etc/trino/schemas", name: "schemas-volume" },
          ...part.additionalVolumeMounts,
        ],
        ports: [{ name: "http", containerPort: PORT }],
        livenessProbe: {
          httpGet: { path: "/v1/info", port: "http" },
          initialDelaySeconds: 30,
          periodSeconds: 10,
          timeoutSeconds: 5,
          failureThreshold: 6,
        },
        readinessProbe: { ...healthCheck, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
        startupProbe: { ...healthCheck, ...part.startupProbe },
        ...(part.lifecycle && { lifecycle: part.lifecycle }),
        resources: part.resources,
      },
    ],
  };
}

function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join("");
}
