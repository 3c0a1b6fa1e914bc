import assert from "node:assert/strict";
import { type Registered, waitsFor } from "./mocks";

/** Fails where one resource may be made before another stands. */
export function assertOrder(seen: readonly Registered[], later: Registered, earlier: Registered): void {
  assert.ok(
    waitsFor(seen, later, earlier),
    `${later.urn} may start before ${earlier.urn}: hand it over, or add it to dependsOn`,
  );
}
