import { partsOf } from "./systems";

/** What each system cannot do without; every other connection is made only where both ends are there. */
export const NEEDS = partsOf("needs");

/** What is wrong with a value: its key and the reason. */
export interface NeedFault {
  readonly key: string;
  readonly message: string;
}

/** A fault for each system that is described while one that it needs is not. */
export function needFaults(config: Readonly<Record<string, unknown>>): NeedFault[] {
  return NEEDS.filter(([system]) => config[system] !== undefined).flatMap(([system, needs]) =>
    needs
      .filter((need) => config[need] === undefined)
      .map((need) => ({ key: system, message: `needs ${need}, which is off; describe ${need}, or remove ${system}` })),
  );
}

/** A system that another one needs: the check of the config has refused its absence. */
export function needed<T>(system: T | undefined): T {
  if (system === undefined) throw new Error("stacks/config/systems.ts lets a system go without what it needs");
  return system;
}
