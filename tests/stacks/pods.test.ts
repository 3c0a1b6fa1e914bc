import assert from "node:assert/strict";
import { podFaults } from "../../rehearsal/program/pod-rules";
import { bytes, cores } from "../../rehearsal/program/quantity";
import { all } from "../support/mocks";
import { allPods, label, ourPods } from "../support/manifests";
import { program, ALL_SHAPES, SHAPES } from "../support/program";

const ONE_AT_A_TIME = [
  // Of two, each would start every scheduled task.
  "Deployment data-platform/superset-beat",
  // Two would tell of two servers.
  "Deployment data-platform/redis-exporter",
  "Deployment data-platform/elasticsearch-exporter",
];

/** Containers whose liveness asks what their readiness asks, by what both ask, and why that kills none that works. */
const ASKED_TWICE: Readonly<Record<string, string>> = {
  "GET /minio/health/live": "MinIO's own check of liveness, which answers while its disk is full",
  "GET /": "Neo4j's list of its ports, which needs no database",
  "valkey-cli": "counts keys in memory, and answers while the disk is full",
  "GET /api/gcs_healthz": "KubeRay's own check, and as patient",
  "GET /api/local_raylet_healthz": "KubeRay's own check, and as patient; it passes while the head is away",
  gRPC: "Feast's gRPC server answers for itself",
  "find /tmp/heartbeat": "Celery does not always go on after Redis was away; a restart is the cure",
  "find /task-logs/.cleaned": "the loop touches the file each time, also on a full disk",
};

/** What a probe asks, in a few words. */
function asked({ httpGet, tcpSocket, grpc, exec }: any): string {
  if (httpGet) return `GET ${httpGet.path}`;
  if (tcpSocket) return "TCP";
  if (grpc) return "gRPC";
  const command: string = exec.command.join(" ");
  return /find \S+/.exec(command)?.[0] ?? exec.command[0];
}

const sum = (numbers: number[]): number => numbers.reduce((all, number) => all + number, 0);

// Logins that software takes in no other way.
const TOLD: Readonly<Record<string, string>> = {
  "StatefulSet data-platform/ray-head: REDIS_USERNAME": "a name",
  "StatefulSet data-platform/ray-head: REDIS_PASSWORD":
    "Ray's control store is told so (python/ray/_private/services.py); its user sees Ray's state alone",
};

for (const shape of ALL_SHAPES) {
  describe(`pods of ${shape}`, () => {
    it("pass Pod Security restricted, with sizes, probes, exact images and no token", async () => {
      const { seen } = await program(shape);
      const pods = ourPods(seen);
      assert.ok(pods.length >= 5, "there are pods to look at");
      const faults = pods.flatMap(({ owner, template, resource }) => {
        const claims = (resource.inputs.spec.volumeClaimTemplates ?? []).map((claim: any) => claim.metadata.name);
        const longRunning = !["Job", "CronJob"].includes(resource.inputs.kind);
        return podFaults({ ...template, claims }, { longRunning }).map((fault) => `${owner}: ${fault}`);
      });
      assert.deepEqual(faults, []);
    });

    it("are restarted when they do not work for a minute, not for a full disk, a dependency or a load", async () => {
      const { seen } = await program(shape);
      const probed = ourPods(seen).flatMap(({ owner, template }) =>
        template.spec.containers.flatMap((one: any) => (one.livenessProbe ? [{ ...one, owner }] : [])),
      );
      assert.ok(probed.length >= (SHAPES.includes(shape) ? 10 : 5), "there are probes to look at");
      for (const { owner, name, livenessProbe: liveness, readinessProbe: readiness } of probed) {
        const seconds = liveness.periodSeconds * liveness.failureThreshold;
        assert.ok(seconds >= 60, `${owner}, ${name}: restarted after ${seconds} s`);
        if (asked(liveness) === asked(readiness)) {
          const why = "say here why liveness may ask as much as readiness, or have it ask less (Probe.liveness)";
          assert.ok(asked(liveness) in ASKED_TWICE, `${owner}, ${name}, ${asked(liveness)}: ${why}`);
        }
      }
    });

    it("begin a scheduled run again that a drain or a reboot took away, but for what goes on without its pod", async () => {
      const { seen } = await program(shape);
      for (const { inputs } of all(seen, "kubernetes:batch/v1:CronJob")) {
        const { backoffLimit, podFailurePolicy, template } = inputs.spec.jobTemplate.spec;
        if (backoffLimit > 0 || inputs.spec.suspend) continue;
        const followsRay = template.spec.containers[0].command.slice(0, 3).join(" ") === "ray job submit";
        const ignored = (podFailurePolicy?.rules ?? []).filter(({ action }: any) => action === "Ignore");
        const reasons = ignored.map((rule: any) => rule.onPodConditions?.[0].type ?? rule.onExitCodes.values[0]);
        assert.deepEqual(reasons, followsRay ? [] : ["DisruptionTarget", 255], inputs.metadata.name);
      }
    });

    it("tell no process a login as an argument, which everybody on its node sees", async () => {
      const { seen } = await program(shape);
      const secrets = all(seen, "kubernetes:core/v1:Secret").map(({ inputs }) => inputs);
      const keysOf = (namespace: string, name: string): string[] =>
        secrets.flatMap(({ metadata, stringData }) =>
          metadata.namespace === namespace && metadata.name === name ? Object.keys(stringData) : [],
        );
      const told = ourPods(seen).flatMap(({ owner, namespace, template }) =>
        [...(template.spec.initContainers ?? []), ...template.spec.containers].flatMap((one: any) => {
          const logins = [
            ...(one.envFrom ?? []).flatMap(({ secretRef }: any) =>
              secretRef ? keysOf(namespace, secretRef.name) : [],
            ),
            ...(one.env ?? []).flatMap(({ name, valueFrom }: any) => (valueFrom?.secretKeyRef ? [name] : [])),
          ];
          // What a shell does itself starts no process.
          const text = [...(one.command ?? []), ...(one.args ?? [])]
            .join("\n")
            .replaceAll(/(?<=^|\s)\w+="?\$\{?\w+\}?"?|printf '[^']*' "\$\w+"/gm, "");
          return logins.flatMap((name) => (new RegExp(`\\$[({]?${name}\\b`).test(text) ? [`${owner}: ${name}`] : []));
        }),
      );
      assert.deepEqual(
        told.filter((one) => !(one in TOLD)),
        [],
        "hand these over in a file or by standard input",
      );
    });

    it("run where the API server holds them to that, but for agents of a node", async () => {
      const { seen } = await program(shape);
      const namespaces = all(seen, "kubernetes:core/v1:Namespace").map(({ inputs: { metadata } }) => metadata);
      const open = namespaces.filter(
        ({ labels }) => labels && labels["pod-security.kubernetes.io/enforce"] !== "restricted",
      );
      const names = open.map(({ name }) => name as string);
      // istiod and the provisioner of volumes live with theirs.
      const agents = ["prometheus-node-exporter", "istio-cni-node", "ztunnel", "istiod", "local-path-provisioner"];
      assert.deepEqual(
        allPods(seen).flatMap(({ owner, namespace }) =>
          // All of it sets up nodes.
          names.includes(namespace) && namespace !== "gpu-operator" && !agents.some((agent) => owner.endsWith(agent))
            ? [owner]
            : [],
        ),
        [],
      );
    });

    it("name a priority and a service account that the program makes", async () => {
      const { seen } = await program(shape);
      const made = (type: string, namespace?: string) =>
        all(seen, type).flatMap(({ inputs: { metadata } }) =>
          namespace === undefined || metadata.namespace === namespace ? [metadata.name as string] : [],
        );
      for (const { owner, namespace, template } of ourPods(seen)) {
        const { priorityClassName, serviceAccountName } = template.spec;
        assert.ok(made("kubernetes:scheduling.k8s.io/v1:PriorityClass").includes(priorityClassName), owner);
        assert.ok(made("kubernetes:core/v1:ServiceAccount", namespace).includes(serviceAccountName), owner);
      }
    });

    it("run until those that follow them are ready, which may first pull 5 GB", async () => {
      const { seen } = await program(shape);
      for (const deployment of all(seen, "kubernetes:apps/v1:Deployment")) {
        const { strategy, progressDeadlineSeconds } = deployment.inputs.spec;
        assert.ok(progressDeadlineSeconds >= 1800, `${label(deployment)}: ${progressDeadlineSeconds} s`);
        if (ONE_AT_A_TIME.includes(label(deployment))) assert.equal(strategy.type, "Recreate", label(deployment));
        else assert.equal(strategy.rollingUpdate.maxUnavailable, 0, label(deployment));
      }
    });

    it("stay below what the namespace allows one container", async () => {
      const { seen } = await program(shape);
      for (const { inputs } of all(seen, "kubernetes:core/v1:LimitRange")) {
        const { max } = inputs.spec.limits[0];
        for (const { owner, namespace, template } of ourPods(seen)) {
          if (namespace !== inputs.metadata.namespace) continue;
          for (const { resources } of [...(template.spec.initContainers ?? []), ...template.spec.containers]) {
            assert.ok(cores(resources.limits.cpu) <= cores(max.cpu), owner);
            assert.ok(bytes(resources.limits.memory) <= bytes(max.memory), owner);
          }
        }
      }
    });

    it("ask for the disk that their scratch space and logs may take", async () => {
      const { seen } = await program(shape);
      for (const { owner, template } of ourPods(seen)) {
        const { volumes = [], containers } = template.spec;
        const scratch = volumes.filter(({ emptyDir }: any) => emptyDir && emptyDir.medium !== "Memory");
        const needed = scratch.map(({ name, emptyDir }: any) => {
          assert.ok(emptyDir.sizeLimit, `${owner}: ${name} may fill the node`);
          return bytes(emptyDir.sizeLimit);
        });
        for (const kind of ["requests", "limits"]) {
          const asked = containers.map(({ resources }: any) => bytes(resources[kind]["ephemeral-storage"] ?? "0"));
          const logs = containers.length * 50 * 1024 ** 2;
          assert.ok(sum(asked) >= sum(needed) + logs, `${owner}: ${kind} are less than its volumes and logs`);
        }
      }
    });

    it("share no writable volume between a container with a token of the API server and one without", async () => {
      const { seen } = await program(shape);
      for (const { owner, template, resource } of ourPods(seen)) {
        const cluster = resource.inputs.spec.rayClusterConfig ?? resource.inputs.spec;
        const isHead = cluster.headGroupSpec?.template === template;
        const containers: any[] = [...template.spec.containers, ...(isHead ? [autoscaler(cluster)] : [])];
        const tokens = (template.spec.volumes ?? []).filter(({ projected }: any) =>
          projected?.sources.some((source: any) => source.serviceAccountToken),
        );
        const holds = ({ volumeMounts }: any): boolean =>
          volumeMounts.some(({ name }: any) => tokens.some((token: any) => token.name === name));
        const writable = (some: any[]): string[] =>
          some.flatMap(({ volumeMounts }) =>
            volumeMounts.filter((one: any) => !one.readOnly).map(({ name }: any) => name),
          );
        const others = writable(containers.filter((one) => !holds(one)));
        const shared = writable(containers.filter(holds)).filter((name) => others.includes(name));
        assert.deepEqual(shared, [], `${owner}: who writes there runs code beside the token`);
      }
    });

    it("roll when a Secret that they read changes", async () => {
      const { seen } = await program(shape);
      for (const { owner, template } of ourPods(seen)) {
        const read = template.spec.containers.flatMap((c: any) => c.envFrom).map((from: any) => from.secretRef.name);
        for (const name of read) {
          assert.match(template.metadata.annotations[`checksum.254carbon.com/${name}`], /^[0-9a-f]{32}$/, owner);
        }
      }
    });
  });
}

/** The container that KubeRay adds to a head; at /tmp/ray it mounts the head's volume, unless one is mounted there. */
function autoscaler({ autoscalerOptions }: any): any {
  const mounts: any[] = autoscalerOptions.volumeMounts;
  const isOwn = mounts.some(({ mountPath }) => mountPath === "/tmp/ray");
  return { volumeMounts: [...mounts, ...(isOwn ? [] : [{ name: "ray-logs", mountPath: "/tmp/ray" }])] };
}

describe("the check of pods", () => {
  const sound = (): any => ({
    spec: {
      automountServiceAccountToken: false,
      priorityClassName: "standard-services",
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
      volumes: [{ name: "tmp", emptyDir: {} }],
      containers: [
        {
          name: "main",
          image: "example.com:5000/main:1.2.3",
          ports: [{ name: "http", containerPort: 80 }],
          resources: { requests: { cpu: "500m", memory: "1Gi" }, limits: { cpu: "1", memory: "1024Mi" } },
          volumeMounts: [{ name: "tmp", mountPath: "/tmp" }],
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ["ALL"] },
          },
          ...Object.fromEntries(
            ["startupProbe", "readinessProbe", "livenessProbe"].map((kind) => [
              kind,
              { httpGet: { path: "/", port: "http" }, timeoutSeconds: 5 },
            ]),
          ),
        },
      ],
    },
  });

  it("finds nothing in a sound pod", () => {
    assert.deepEqual(podFaults(sound(), { longRunning: true }), []);
  });

  for (const [how, handler] of Object.entries({
    "by gRPC": { grpc: { port: 80 } },
    "by a command": { exec: { command: ["true"] } },
    "by a connection": { tcpSocket: { port: "http" } },
  })) {
    it(`finds nothing in a pod that is probed ${how}`, () => {
      const pod = sound();
      const [main] = pod.spec.containers;
      for (const kind of ["startupProbe", "readinessProbe", "livenessProbe"]) {
        main[kind] = { ...handler, timeoutSeconds: 5 };
      }
      assert.deepEqual(podFaults(pod, { longRunning: true }), []);
    });
  }

  const breakages: Record<string, (pod: any, main: any) => void> = {
    "shares a namespace of the host": (pod) => (pod.hostNetwork = true),
    "volume tmp is a hostPath": (pod) => (pod.volumes = [{ name: "tmp", hostPath: { path: "/" } }]),
    "has host aliases": (pod) => (pod.hostAliases = [{ ip: "192.0.2.1", hostnames: ["mysql"] }]),
    "has the owner of every file changed at each start: set fsGroupChangePolicy to OnRootMismatch": (pod) =>
      (pod.securityContext.fsGroup = 1000),
    "mounts a token": (pod) => delete pod.automountServiceAccountToken,
    "has no priority": (pod) => delete pod.priorityClassName,
    "main may run as root": (pod) => (pod.securityContext.runAsUser = 0),
    "main has no seccomp profile": (pod) => delete pod.securityContext.seccompProfile,
    "main may gain privileges": (_, main) => delete main.securityContext.allowPrivilegeEscalation,
    "main keeps capabilities": (_, main) => (main.securityContext.capabilities = {}),
    "main adds capabilities": (_, main) => (main.securityContext.capabilities.add = ["SYS_ADMIN"]),
    "main takes a port of the host": (_, main) => (main.ports[0].hostPort = 80),
    "main may write to its image": (_, main) => delete main.securityContext.readOnlyRootFilesystem,
    "main has no exact image tag": (_, main) => (main.image = "example.com:5000/main"),
    "main has no sound size of cpu": (_, main) => delete main.resources.limits.cpu,
    "main has no sound size of memory": (_, main) => (main.resources.requests.memory = "2Gi"),
    "main mounts tmp, which no volume is": (pod) => (pod.volumes = []),
    "main has no sound livenessProbe": (_, main) => delete main.livenessProbe.timeoutSeconds,
    "main has no sound readinessProbe": (_, main) => (main.readinessProbe.httpGet.port = "https"),
    "main has no sound startupProbe": (_, main) => (main.startupProbe = { grpc: { port: 81 }, timeoutSeconds: 5 }),
  };
  for (const [fault, spoil] of Object.entries(breakages)) {
    it(`finds one that ${fault}`, () => {
      const pod = sound();
      spoil(pod.spec, pod.spec.containers[0]);
      assert.deepEqual(podFaults(pod, { longRunning: true }), [fault]);
    });
  }
});
