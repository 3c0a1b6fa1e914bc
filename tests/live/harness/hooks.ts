import { closeCluster } from "./cluster";

/** Mocha's own: nothing starts outside of the namespaces, and nothing outlives the tests. */
export const mochaHooks = {
  beforeAll(): void {
    // As process 1 we are alone: what this file's cluster mounts and starts goes with us.
    if (process.pid !== 1)
      throw new Error("live tests run in namespaces of their own; start them with `npm run test:live`");
  },
  async afterAll(): Promise<void> {
    await closeCluster();
  },
};
