import { failOnRejections, mockEngine } from "./mocks";

/** No run passes over a fault in an apply; and it ends with a fresh engine, for Pulumi fails a process with open work. */
export const mochaHooks = {
  async afterAll(): Promise<void> {
    await mockEngine();
    failOnRejections();
  },
};
