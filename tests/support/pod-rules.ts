const ALLOWED_VOLUMES = [
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "persistentVolumeClaim",
  "projected",
  "secret",
];

/** What Pod Security `restricted` (Kubernetes 1.36) would refuse in a pod, and what this platform asks for beyond. */
export function podFaults(template: any, { longRunning }: { readonly longRunning: boolean }): string[] {
  const pod = template.spec;
  const faults: string[] = [];
  const demand = (holds: unknown, fault: string) => {
    if (holds !== true) faults.push(fault);
  };

  demand(!(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC ?? false), "shares a namespace of the host");
  for (const { name, ...source } of pod.volumes ?? []) {
    demand(
      Object.keys(source).every((kind) => ALLOWED_VOLUMES.includes(kind)),
      `volume ${name} is a ${Object.keys(source).join()}`,
    );
  }
  demand(pod.automountServiceAccountToken === false, "mounts a token");
  demand(typeof pod.priorityClassName === "string", "has no priority");

  const claims: string[] = (pod.volumes ?? []).map(({ name }: any) => name);
  const check = (container: any, isMain: boolean) => {
    const say = (fault: string) => `${container.name} ${fault}`;
    const context = container.securityContext ?? {};
    const inherited = { ...pod.securityContext, ...context };
    demand(inherited.runAsNonRoot === true && (inherited.runAsUser ?? 1) !== 0, say("may run as root"));
    demand(["RuntimeDefault", "Localhost"].includes(inherited.seccompProfile?.type), say("has no seccomp profile"));
    demand(context.allowPrivilegeEscalation === false && context.privileged !== true, say("may gain privileges"));
    demand(context.capabilities?.drop?.includes("ALL") === true, say("keeps capabilities"));
    demand(
      (context.capabilities?.add ?? []).every((c: string) => c === "NET_BIND_SERVICE"),
      say("adds capabilities"),
    );
    demand(context.procMount === undefined || context.procMount === "Default", say("unmasks /proc"));
    demand(
      (container.ports ?? []).every((port: any) => port.hostPort === undefined),
      say("takes a port of the host"),
    );
    demand(context.readOnlyRootFilesystem === true, say("may write to its image"));
    demand(/:[^:/@]+$/.test(container.image) && !container.image.endsWith(":latest"), say("has no exact image tag"));
    for (const resource of ["cpu", "memory"]) {
      const { requests, limits } = container.resources ?? {};
      demand(quantity(requests?.[resource]) <= quantity(limits?.[resource]), say(`has no sound size of ${resource}`));
    }
    for (const { name } of container.volumeMounts ?? []) {
      demand(claims.includes(name) || template.claims?.includes(name), say(`mounts ${name}, which no volume is`));
    }
    if (isMain && longRunning) {
      const ports = (container.ports ?? []).map((port: any) => port.name);
      for (const kind of ["startupProbe", "readinessProbe", "livenessProbe"]) {
        const probe = container[kind];
        const { httpGet, grpc, exec } = probe ?? {};
        const numbers = (container.ports ?? []).map((port: any) => port.containerPort);
        const asks = ports.includes(httpGet?.port) || numbers.includes(grpc?.port) || exec?.command.length > 0;
        demand(probe?.timeoutSeconds > 0 && asks, say(`has no sound ${kind}`));
      }
    }
  };
  for (const container of pod.initContainers ?? []) check(container, false);
  for (const container of pod.containers) check(container, true);
  return faults;
}

/** A Kubernetes quantity as a number; NaN, which no comparison holds for, when there is none. */
export function quantity(text: unknown): number {
  const [, number, unit = ""] = /^([\d.]+)(m|Ki|Mi|Gi)?$/.exec(String(text)) ?? [];
  const factors: Record<string, number> = { "": 1, m: 1e-3, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 };
  return Number(number) * (factors[unit] ?? NaN);
}
