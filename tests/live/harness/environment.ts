import type { Program } from "./program";

/** What a pod may tell its containers about itself. */
export interface PodFacts {
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** The variables of a container, as the kubelet would set them. */
export function environmentOf(container: any, program: Program, pod: PodFacts): Record<string, string> {
  // By these software knows that it runs in a cluster. Nothing answers here.
  const env: Record<string, string> = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  for (const { secretRef, configMapRef, prefix = "" } of container.envFrom ?? []) {
    const data = secretRef ? program.data("Secret", secretRef.name) : program.data("ConfigMap", configMapRef.name);
    for (const [key, value] of Object.entries(data)) env[`${prefix}${key}`] = value;
  }
  for (const { name, value, valueFrom } of container.env ?? []) {
    env[name] = valueFrom === undefined ? expanded(String(value ?? ""), env) : valueOf(valueFrom, program, pod);
  }
  return env;
}

/** Text with `$(NAME)` replaced where NAME is a variable; `$$(NAME)` stays, without its first dollar. */
export function expanded(text: string, env: Readonly<Record<string, string>>): string {
  return text.replace(/\$\$|\$\(([A-Za-z_][\w.-]*)\)/g, (whole: string, name: string | undefined) =>
    name === undefined ? "$" : (env[name] ?? whole),
  );
}

function valueOf(source: any, program: Program, { name, namespace, address, labels }: PodFacts): string {
  const { secretKeyRef, configMapKeyRef, fieldRef } = source;
  if (secretKeyRef) return entry(program.data("Secret", secretKeyRef.name), secretKeyRef);
  if (configMapKeyRef) return entry(program.data("ConfigMap", configMapKeyRef.name), configMapKeyRef);
  const fields: Record<string, string> = {
    "metadata.name": name,
    "metadata.namespace": namespace,
    "status.podIP": address,
    "spec.nodeName": "live",
  };
  for (const [key, value] of Object.entries(labels)) fields[`metadata.labels['${key}']`] = value;
  return entry(fields, { key: fieldRef?.fieldPath ?? JSON.stringify(source), name: "the fields that are known here" });
}

function entry(data: Readonly<Record<string, string>>, { name, key }: { name: string; key: string }): string {
  const value = data[key];
  if (value === undefined) throw new Error(`${name} has no ${key}`);
  return value;
}
