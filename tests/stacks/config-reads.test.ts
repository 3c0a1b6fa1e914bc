import assert from "node:assert/strict";
import { SECRET_KEYS } from "../../stacks/config/systems";
import { runAnew, shaped, SHAPES } from "../support/program";
import { read, sources } from "../support/sources";

// What only a rehearsal and the capacity table look at, since the program does not know its nodes, and what only the check of
// the config asks for.
const NOT_FOR_THE_PROGRAM = /^(cluster\.(kubernetesVersion|nodes\.)|postgres\.backups\.target\.acknowledges$)/;
// Who issues a credential, what lasts and what the cluster has follows from choices that others act on.
const DECIDE_NOTHING = ["stacks/config/systems.ts", "stacks/config/lasting.ts", "stacks/config/add-ons.ts"];

// Stacks have the same keys (tests/stack-files.test.ts), and every other shape is one of prod.
for (const shape of SHAPES.filter((one) => one.startsWith("prod"))) {
  it(`reads every value of ${shape} in exactly one file of stacks/`, async () => {
    const config = shaped(shape);
    const reads = new Map<string, Set<string>>();
    await runAnew(watched(config, [], reads));
    const faults = leaves(config).flatMap((key) => {
      const files = [...(reads.get(key) ?? [])].filter((file) => !DECIDE_NOTHING.includes(file));
      const expected = NOT_FOR_THE_PROGRAM.test(key) ? 0 : 1;
      return files.length === expected ? [] : [`${key} is read in ${files.join(", ") || "no file"}`];
    });
    assert.deepEqual(faults, []);
  });
}

it("asks for every credential in exactly one file", () => {
  for (const key of Object.keys(SECRET_KEYS)) {
    const files = sources("stacks", "components").filter((file) => read(file).includes(`"${key}"`));
    assert.equal(files.length, 1, `${key} is asked for in ${files.join(", ") || "no file"}`);
  }
});

/**
 * The config, noting for each value the file of stacks/ that reads it. What a file hands on as a whole counts as read
 * there, whoever takes it apart.
 */
function watched<T extends object>(value: T, path: readonly string[], reads: Map<string, Set<string>>, owner = ""): T {
  return new Proxy(value, {
    get(target, key, receiver) {
      const inner: unknown = Reflect.get(target, key, receiver);
      if (typeof key === "symbol" || !Object.hasOwn(target, key)) return inner;
      const own = [...path, key];
      const reader = callerInStacks() ?? owner;
      if (typeof inner === "object" && inner !== null) return watched(inner, own, reads, reader);
      // What stands before the program asks, too.
      if (reader !== "") reads.set(own.join("."), (reads.get(own.join(".")) ?? new Set()).add(reader));
      return inner;
    },
  });
}

/** The file of stacks/ whose code has just asked for a property; undefined where somebody else did. */
function callerInStacks(): string | undefined {
  // The plain frames: ts-node's would look every one of them up in a source map.
  const before = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace");
  Error.prepareStackTrace = (_, frames) => frames.map((frame) => frame.getFileName() ?? "");
  const files = new Error().stack as unknown as string[];
  Object.defineProperty(Error, "prepareStackTrace", before ?? { value: undefined, configurable: true, writable: true });
  const caller = files.find((file) => file.endsWith(".ts") && file !== __filename);
  return /\/(stacks\/[\w/-]+\.ts)$/.exec(caller ?? "")?.[1];
}

function leaves(value: unknown, path: readonly string[] = []): string[] {
  if (typeof value !== "object" || value === null) return [path.join(".")];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}
