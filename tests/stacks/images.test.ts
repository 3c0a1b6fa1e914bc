import assert from "node:assert/strict";
import { ourPods } from "../support/manifests";
import { all, type Registered } from "../support/mocks";
import { program, ALL_SHAPES } from "../support/program";
import { type ProgramFacts, type Setting, UPSTREAM } from "../support/upstream";

for (const shape of ALL_SHAPES) {
  it(`the pods of ${shape} do with each image what its authors made it for`, async () => {
    const { seen } = await program(shape);
    const faults = ourPods(seen).flatMap((pod) => {
      const { initContainers = [], containers } = pod.template.spec;
      return [...initContainers, ...containers].flatMap((container) =>
        containerFaults(seen, pod, container).map(
          (fault) => `${pod.owner}, container ${container.name}, image ${container.image}: ${fault}`,
        ),
      );
    });
    assert.deepEqual(faults, []);
  });
}

type OurPods = ReturnType<typeof ourPods>[number];

function containerFaults(seen: readonly Registered[], pod: OurPods, container: any): string[] {
  const name = /([^/:]+):[^/]*$/.exec(container.image)?.[1] ?? "";
  const facts = UPSTREAM[name];
  if (facts === undefined) return [`nothing is known of ${name}: look up its facts for tests/support/upstream.ts`];
  const command = commandOf(pod, container);
  const text = [command, ...(container.env ?? []).map((one: any) => `${one.name}=${one.value}`), ...filesOf(seen, pod)];
  const programs = facts.programs.filter((one) => one.command.test(command));
  const { runAsUser } = { ...pod.template.spec.securityContext, ...container.securityContext };
  const faults = [...portFaults(programs, container, text.join("\n")), ...healthFaults(programs, container)];
  if (facts.user !== undefined && facts.user.uid !== runAsUser) {
    faults.push(`runs as ${runAsUser}, but its files belong to ${facts.user.uid} (${facts.user.source})`);
  }
  const writable = writablePaths(pod, container);
  for (const setting of programs.flatMap(({ writes = [] }) => writes)) {
    const path = valueOf(setting, text.join("\n"));
    if (path === undefined || writable.some((mount) => `${path}/`.startsWith(`${mount}/`))) continue;
    faults.push(
      `writes to ${path} (${setting.source}), which is read-only: mount a volume there, or set another place`,
    );
  }
  return faults;
}

function portFaults(programs: readonly ProgramFacts[], container: any, text: string): string[] {
  return (container.ports ?? []).flatMap(({ name, containerPort }: any) => {
    const setting = programs.flatMap(({ ports = {} }) => ports[name] ?? [])[0];
    if (setting === undefined) return [`nothing is known of its port ${name}: add it to tests/support/upstream.ts`];
    const bound = valueOf(setting, text);
    if (Number(bound) === containerPort) return [];
    const says = bound === undefined ? "does not say" : `binds ${bound} for`;
    return [`${says} ${name}, but the pod and its Service say ${containerPort} (${setting.source}): set both alike`];
  });
}

function healthFaults(programs: readonly ProgramFacts[], container: any): string[] {
  const kinds = ["startupProbe", "readinessProbe", "livenessProbe"] as const;
  const probes = kinds.flatMap((kind) => (container[kind] ? [[kind, container[kind]] as const] : []));
  return probes.flatMap(([kind, { httpGet, grpc }]) => {
    if (!httpGet && !grpc) return [];
    const port = httpGet?.port ?? container.ports.find((one: any) => one.containerPort === grpc.port)?.name;
    const known = programs.flatMap(({ health = {} }) => health[port] ?? [])[0];
    if (known === undefined)
      return [`${kind}: nothing is known to answer on ${port}: look in tests/support/upstream.ts`];
    if (known.is === "grpc" ? grpc : httpGet && known.is.test(httpGet.path)) return [];
    return [
      `${kind} asks ${httpGet?.path ?? "gRPC"}, but what answers on ${port} is ${String(known.is)} (${known.source}): ask that`,
    ];
  });
}

function valueOf<T>({ set, fallback }: Setting<T>, text: string): string | T | undefined {
  return set?.exec(text)?.[1] ?? fallback;
}

/** What a container runs, on one line; KubeRay makes it of the parameters of a group. */
function commandOf({ resource, template }: OurPods, { command = [], args = [] }: any): string {
  const { rayClusterConfig, headGroupSpec, workerGroupSpecs = [] } = resource.inputs.spec;
  const groups = rayClusterConfig ?? { headGroupSpec, workerGroupSpecs };
  const group = [groups.headGroupSpec, ...groups.workerGroupSpecs].find((one) => one?.template === template);
  const parameters = Object.entries(group?.rayStartParams ?? {}).map(([key, value]) => `--${key}=${String(value)}`);
  return [...(group ? ["ray start"] : []), ...parameters, ...command, ...args].join(" ");
}

/** The files that a pod mounts from ConfigMaps. */
function filesOf(seen: readonly Registered[], { namespace, template }: OurPods): string[] {
  const mounted = (template.spec.volumes ?? []).map((volume: any) => volume.configMap?.name);
  return all(seen, "kubernetes:core/v1:ConfigMap")
    .filter(({ inputs: { metadata } }) => metadata.namespace === namespace && mounted.includes(metadata.name))
    .flatMap(({ inputs }) => Object.values<string>(inputs.data ?? {}));
}

function writablePaths({ template }: OurPods, { volumeMounts = [] }: any): string[] {
  const files = (template.spec.volumes ?? []).filter((volume: any) => volume.configMap ?? volume.secret);
  const isFile = ({ name }: any) => files.some((volume: any) => volume.name === name);
  // Every container has a small /dev/shm of its own.
  return ["/dev/shm", ...volumeMounts.filter((mount: any) => !isFile(mount)).map((mount: any) => mount.mountPath)];
}
