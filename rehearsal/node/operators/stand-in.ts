import type { Manifest } from "../../operators/operator";

/** A release: what the program gives it, and what a stand-in makes of its declaration. */
export interface Release {
  readonly namespace: string;
  readonly values: object;
  readonly objects: readonly Manifest[];
}

interface Workload extends Manifest {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly object[] } } };
}

/** Has the container of a workload run a program, in a pod with what it needs. */
export function run(object: Manifest, container: object, pod: object = {}): Manifest {
  const workload = object as Workload;
  const { containers, ...spec } = workload.spec.template.spec;
  const [first, ...others] = containers;
  return withSpec(workload, { ...spec, ...pod, containers: [{ ...first, ...container }, ...others] });
}

/** A hook's container has nothing to do here, and ends. */
export function ended(object: Manifest): Manifest {
  return object.kind === "Job" ? run(object, { command: ["true"] }) : object;
}

function withSpec(workload: Workload, spec: object): Manifest {
  return { ...workload, spec: { ...workload.spec, template: { ...workload.spec.template, spec } } };
}

/** A certificate that cert-manager issues, in the Secret of the same name. */
export function selfSigned(namespace: string, name: string, services: readonly string[]): Manifest[] {
  const apiVersion = "cert-manager.io/v1";
  const metadata = { name, namespace };
  const dnsNames = services.flatMap((service) => [service, `${service}.${namespace}`, `${service}.${namespace}.svc`]);
  return [
    { apiVersion, kind: "Issuer", metadata, spec: { selfSigned: {} } },
    { apiVersion, kind: "Certificate", metadata, spec: { secretName: name, issuerRef: { name }, dnsNames } },
  ];
}
