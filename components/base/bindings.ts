import type { PodArgs } from "./pod";

/** Where pods find the Secrets of their service bindings, each in a directory of its name (https://servicebinding.io). */
export const BINDING_ROOT = "/bindings";

/** Volumes with the Secrets of service bindings, where they are mounted, and the variable that says so. */
export interface MountedBindings {
  readonly env: Readonly<Record<string, string>>;
  readonly mounts: Readonly<Record<string, string>>;
  readonly volumes: NonNullable<PodArgs["volumes"]>;
}

/** Mounts the Secrets of service bindings, which follow when a login changes. */
export function mountBindings(secrets: readonly string[]): MountedBindings {
  return {
    env: { SERVICE_BINDING_ROOT: BINDING_ROOT },
    mounts: Object.fromEntries(secrets.map((name) => [`${BINDING_ROOT}/${name}`, volumeOf(name)])),
    volumes: secrets.map((name) => ({ name: volumeOf(name), secret: { secretName: name } })),
  };
}

function volumeOf(secret: string): string {
  return `binding-${secret}`;
}
