import { partsOf } from "./systems";

/** The systems that each system requires; other connections are made only if both ends are deployed. */
export const NEEDS = partsOf("needs");

/** A fault: the key and the reason. */
export interface NeedFault {
  readonly key: string;
  readonly message: string;
}

/** A fault for each configured system whose requirements are not configured. */
export function needFaults(config: Readonly<Record<string, unknown>>): NeedFault[] {
  return NEEDS.filter(([system]) => config[system] !== undefined).flatMap(([system, needs]) =>
    needs
      .filter((need) => config[need] === undefined)
      .map((need) => ({
        key: system,
        message: `needs ${need}, which is not configured; configure ${need}, or remove ${system}`,
      })),
  );
}

/** A system that another one requires: the config check has already rejected its absence. */
export function needed<T>(system: T | undefined): T {
  if (system === undefined) throw new Error("stacks/config/systems.ts does not list a requirement of this system");
  return system;
}
