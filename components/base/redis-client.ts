import { mountedCa } from "./certificate";

/** Where pods of Redis' clients have the CA of the server. */
export const REDIS_CA = mountedCa("redis");
