import { closeCluster } from "./cluster";

/** Mocha's own: what was started ends, though the kernel would end it, too, with mocha's namespaces. */
export const mochaHooks = {
  afterAll: closeCluster,
};
