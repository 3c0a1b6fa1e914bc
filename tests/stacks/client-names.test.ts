import assert from "node:assert/strict";
import type { Data } from "../../stacks/layers/data";
import type { Search } from "../../stacks/layers/search";
import type { Sql } from "../../stacks/layers/sql";
import type { Streams } from "../../stacks/layers/streams";
import type { Full } from "../support/full";

// Never called: tsc checks that each line is an error without its mark.
const mistyped = ({
  postgres,
  redis,
  objectStore,
  kafka,
  elasticsearch,
  polaris,
}: Full<Data & Search & Sql & Streams>) => [
  // @ts-expect-error: nobody reads so.
  postgres.reader("trni"),
  // @ts-expect-error: no database is called so.
  postgres.database("mlfow"),
  // @ts-expect-error: no user is called so.
  redis.login("supersett"),
  // @ts-expect-error: no bucket is called so.
  objectStore.bucket("mlflow-artefacts", "mlflow"),
  // @ts-expect-error: no user is called so.
  objectStore.bucket("mlflow-artifacts", "mlfow"),
  // @ts-expect-error: no user is called so.
  kafka.login("x"),
  // @ts-expect-error: no user is called so.
  elasticsearch.login("x"),
  // @ts-expect-error: no client is called so.
  polaris.catalog("x"),
];

it("a client that a store does not have does not compile", () => {
  assert.equal(mistyped.length, 1);
});
