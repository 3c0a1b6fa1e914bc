import { setTimeout as sleep } from "node:timers/promises";

/**
 * Repeats an assertion until it holds, and throws what it threw last when the time is over.
 *
 * @param unless throws at once what makes waiting useless.
 */
export async function eventually(
  seconds: number,
  assertion: () => Promise<void>,
  unless: () => void = () => undefined,
): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; ;) {
    try {
      await assertion();
      return;
    } catch (error) {
      unless();
      if (Date.now() > deadline) throw error;
      await sleep(500);
    }
  }
}
