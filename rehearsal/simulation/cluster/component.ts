import { setTimeout as sleep } from "node:timers/promises";
import { ApiException } from "@kubernetes/client-node";
import { isAlive } from "../processes";
import type { Guardian, NamedProcess } from "./guardian";

// 5 s on two idle cores; a machine that is busy with other rehearsals takes many times that.
const READY_SECONDS = 300;
const ANSWER_SECONDS = 10;
const STARTS = 5;

/**
 * Waits until a condition holds of what a component serves: until asking succeeds with anything but `false`.
 *
 * @throws Error with what was seen last and the end of the component's log, when time is up.
 */
export async function until(guardian: Guardian, name: string, condition: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + READY_SECONDS * 1000;
  const seen = await wait(condition, () => {
    guardian.check();
    return Date.now() < deadline;
  });
  if (seen !== undefined) throw new Error(failure(guardian, name, `not ready after ${READY_SECONDS} s`, seen));
}

/** A component of a cluster that is starting: on a busy machine it may have to be started more than once. */
export class Component {
  private constructor(
    private readonly guardian: Guardian,
    private readonly name: string,
    private readonly args: () => Promise<readonly string[]>,
    private process: NamedProcess,
  ) {}

  /** @param args is asked again for each start. */
  static async start(guardian: Guardian, name: string, args: () => Promise<readonly string[]>): Promise<Component> {
    return new Component(guardian, name, args, await guardian.run(name, await args()));
  }

  /**
   * Waits as {@link until}, and starts the component anew when it dies, or has not come to the condition within `patience`
   * seconds, each time a little more.
   */
  async until(condition: () => Promise<unknown>, patience = READY_SECONDS): Promise<void> {
    const { guardian, name } = this;
    const deadline = Date.now() + READY_SECONDS * 1000;
    for (let starts = 1, deaths = 0; ; starts++) {
      const restart = Math.min(deadline, Date.now() + patience * starts * 1000);
      const seen = await wait(condition, () => {
        guardian.check(this.process);
        return isAlive(this.process) && Date.now() < restart;
      });
      if (seen === undefined) return;
      if (!isAlive(this.process)) deaths++;
      if (deaths === STARTS) throw new Error(failure(guardian, name, `died ${deaths} times`, seen));
      if (Date.now() >= deadline) throw new Error(failure(guardian, name, `not ready after ${READY_SECONDS} s`, seen));
      guardian.forget(this.process);
      this.process = await guardian.run(name, await this.args());
    }
  }
}

/** Waits until a condition holds; returns what was seen last when it was no longer worth it. */
async function wait(condition: () => Promise<unknown>, isWorthIt: () => boolean): Promise<string | undefined> {
  let seen = "nothing";
  while (isWorthIt()) {
    try {
      if ((await answered(condition())) !== false) return undefined;
      seen = "an answer, but not yet the one that is waited for";
    } catch (error) {
      seen = error instanceof ApiException ? `${error.code} ${JSON.stringify(error.body)}` : (error as Error).message;
    }
    await sleep(50);
  }
  return seen;
}

/** What holds the port may be no API server, and never answer. */
function answered<T>(answer: Promise<T>): Promise<T> {
  const patience = sleep(ANSWER_SECONDS * 1000, undefined, { ref: false }).then(() => {
    throw new Error(`no answer within ${ANSWER_SECONDS} s`);
  });
  return Promise.race([answer, patience]);
}

function failure(guardian: Guardian, name: string, what: string, seen: string): string {
  return `${name}: ${what}; seen last: ${seen}\n${guardian.log(name)}`;
}
