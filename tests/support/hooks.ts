import { createRequire } from "node:module";
import type * as Mocks from "./mocks";

// Node's own limit, which mocha lifts: Pulumi takes a trace of each of its promises.
Error.stackTraceLimit = 10;

// Mocha gives a worker a second to end, and it takes longer to write the coverage: it ends itself after that.
process.on("SIGTERM", () => undefined);

/** No run passes over a fault in an apply; and it ends with a fresh engine, for Pulumi fails a process with open work. */
export const mochaHooks = {
  beforeAll(): void {
    mocks().watchRejections();
  },
  async afterAll(): Promise<void> {
    const { failOnRejections, mockEngine } = mocks();
    await mockEngine();
    failOnRejections();
  },
};

// Loaded where tests run: the process that hands the files out loads this file, too, and would keep the workers waiting.
const load = createRequire(__filename);
const mocks = () => load("./mocks") as typeof Mocks;
