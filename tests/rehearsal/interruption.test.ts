import * as assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SAVE_ONCE } from "../../rehearsal/simulation/engine";
import { ROOT } from "../../rehearsal/program/evaluate";
import { openRehearsal, type Rehearsal } from "../../rehearsal/simulation/rehearse";
import { assertUnchanged, end, SMALL_STACK, SMALL_STACK_FLAGS, ownCache, rehearsed, start } from "./command";

const silent = (): void => undefined;

describe("an interrupted rehearsal", () => {
  const points = {
    "while the control plane starts": /starting the control plane/,
    "during up": /up: \d+ of \d+ resources/,
  };
  for (const [when, line] of Object.entries(points)) {
    it(`leaves no process and no directory after Ctrl-C ${when}`, async () => {
      const { child, runs } = await rehearsalAt(line);
      const ended = end(child);
      child.kill("SIGINT");
      assert.equal((await ended).code, 130);
      await nothingLeft(runs);
    });
  }

  it("ends before up when SIGTERM comes between two phases", async () => {
    const { child, runs } = await rehearsalAt(/charts: /);
    const ended = end(child);
    child.kill("SIGTERM");
    const { code, output } = await ended;
    assert.equal(code, 130, output);
    assert.match(output, /SIGTERM: taking everything down/);
    assert.doesNotMatch(output, /up: \d+ of \d+ resources/, "nothing is begun that nobody waits for");
    await nothingLeft(runs);
  });

  it("leaves no process after a kill, and the next works, also with a credential that nobody can decrypt", async () => {
    const { child, runs } = await rehearsalAt(/up: \d+ of \d+ resources/);
    child.kill("SIGKILL");
    await nothingLeft(runs);
    const { report } = await withSecuredStack((stack) => rehearsed(stack, SMALL_STACK_FLAGS));
    assert.deepEqual(report.faults, []);
  });
});

// What is to be killed saves each step, as a user's does. What mends it is left alone, and saves at its end: that is three
// times as fast.
const saveOnce = true;
const recover = ({ engine }: Rehearsal) =>
  end(start("commands/recover.ts", ["--stack", "dev"], { ...engine.env, ...SAVE_ONCE }));

describe("an interrupted up", () => {
  let rehearsal: Rehearsal;
  beforeEach(async () => {
    rehearsal = await openRehearsal({ stack: "dev", overrides: SMALL_STACK, progress: silent });
  });
  afterEach(() => rehearsal.cluster.stop());

  it("converges by a plain up after Ctrl-C, or by `npm run recover` where that met an object without a record", async () => {
    const { engine } = rehearsal;
    const interruption = new AbortController();
    const result = await engine.run("up", {
      signal: interruption.signal,
      progress: ({ done }) => {
        if (done > 60) interruption.abort();
      },
    });
    assert.equal(result.ok, false);
    const { errors } = await engine.run("up", { saveOnce });
    // The interruption may cut off the answer to a creation: about once in ten times, the object is then in no state.
    const unrecorded = errors.filter((error) => /already exists|apply conflict/.test(error));
    assert.deepEqual(
      errors.filter((error) => !unrecorded.includes(error) && error !== "update failed"),
      [],
    );
    if (unrecorded.length > 0) {
      const recovered = await recover(rehearsal);
      assert.equal(recovered.code, 0, recovered.output);
    }
    assertUnchanged(await engine.run("up", { saveOnce }));
  });

  it("converges by `npm run recover` after a kill, which leaves other people's Helm releases alone", async () => {
    const { engine, directory, api } = rehearsal;
    const labels = { owner: "helm", status: "pending-install", name: "theirs" };
    const theirs = { name: "sh.helm.release.v1.theirs.v1", namespace: "default" };
    await api.core.createNamespacedSecret({ namespace: "default", body: { metadata: { ...theirs, labels } } });
    const result = await engine.run("up", {
      progress: ({ done }) => {
        if (done > 130) killAll(`events-up-`, directory);
      },
    });
    assert.equal(result.ok, false);
    // What a kill leaves of this file when it comes at the wrong moment.
    fs.writeFileSync(path.join(directory, "state", ".pulumi", "stacks", "carbon", "dev.json.attrs"), "");
    const recovered = await recover(rehearsal);
    assert.equal(recovered.code, 0, recovered.output);
    assert.ok(await api.core.readNamespacedSecret(theirs), "the Secret of somebody else is gone");
    assertUnchanged(await engine.run("up", { saveOnce }));
  });
});

describe("npm run recover", () => {
  let rehearsal: Rehearsal;
  before(async () => {
    rehearsal = await openRehearsal({ stack: "dev", overrides: SMALL_STACK, progress: silent });
  });
  after(() => rehearsal.cluster.stop());

  it("adopts nothing that somebody else made, and names it", async () => {
    const { engine, api } = rehearsal;
    // The label is a conflict for versions of the plugin before 4.25, which adopt what exists where no field differs.
    const enforce = { "pod-security.kubernetes.io/enforce": "privileged" };
    await api.core.createNamespace({ body: { metadata: { name: "gateway", labels: enforce } } });
    assert.equal((await engine.run("up", { saveOnce })).ok, false);

    const refused = await recover(rehearsal);
    assert.notEqual(refused.code, 0);
    assert.match(refused.output, /made by no Pulumi program[^]*Namespace gateway/);
    const gateway = await api.core.readNamespace({ name: "gateway" });
    assert.deepEqual(gateway.metadata?.labels, { ...enforce, "kubernetes.io/metadata.name": "gateway" });
  });

  it("refuses a cluster that the stack was not made on, and changes nothing", async () => {
    const { engine, directory } = rehearsal;
    const { uid = "" } = (await rehearsal.api.core.readNamespace({ name: "kube-system" })).metadata ?? {};
    const state = await engine.query("stack", "export");
    const file = path.join(directory, "elsewhere.json");
    fs.writeFileSync(file, state.replaceAll(uid, "another-cluster"));
    await engine.query("stack", "import", "--file", file);
    const before = await engine.query("stack", "export");

    const { code, output } = await recover(rehearsal);
    assert.notEqual(code, 0);
    assert.match(output, /leads to cluster .*, but this stack was made on cluster another-cluster; set KUBECONFIG/);
    assert.equal(await engine.query("stack", "export"), before);
  });
});

/** A copy of dev whose stack file holds an encrypted credential; there is no passphrase for it. */
async function withSecuredStack<T>(work: (stack: string) => Promise<T>): Promise<T> {
  const file = path.join(ROOT, "Pulumi.secured-test.yaml");
  const dev = fs.readFileSync(path.join(ROOT, "Pulumi.dev.yaml"), "utf8");
  fs.writeFileSync(
    file,
    `encryptionsalt: v1:nobody-knows-the-passphrase\n${dev}  carbon:minioRootPassword:\n    secure: v1:not:decipherable\n`,
  );
  try {
    return await work("secured-test");
  } finally {
    fs.rmSync(file);
  }
}

/** Starts a rehearsal and waits until it prints a line; tells where it works. */
async function rehearsalAt(line: RegExp): Promise<{ child: ChildProcess; runs: string }> {
  const own = ownCache();
  const runs = path.join(own, "runs");
  const child = start("commands/rehearse.ts", ["--stack", "dev", ...SMALL_STACK_FLAGS], { CARBON_CACHE: own });
  await new Promise<void>((resolve, reject) => {
    let output = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (line.test(output)) resolve();
    });
    child.once("close", () => {
      reject(new Error(output));
    });
  });
  return { child, runs };
}

/** Waits up to ten seconds for the end of everything that names the directory. */
async function nothingLeft(runs: string): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const left = [...processesNaming(runs).values(), ...(fs.existsSync(runs) ? fs.readdirSync(runs) : [])];
    if (left.length === 0) break;
    assert.ok(Date.now() < deadline, `left behind: ${left.join("; ")}`);
    await sleep(200);
  }
  fs.rmSync(path.dirname(runs), { recursive: true });
}

function killAll(...words: string[]): void {
  for (const [pid, line] of processesNaming(words[0] ?? "")) {
    if (words.every((word) => line.includes(word))) process.kill(pid, "SIGKILL");
  }
}

function processesNaming(word: string): Map<number, string> {
  const found = new Map<number, string>();
  for (const pid of fs.readdirSync("/proc").map(Number).filter(Boolean)) {
    const read = (file: string): string => {
      try {
        return fs.readFileSync(`/proc/${pid}/${file}`, "utf8").replaceAll("\0", " ");
      } catch {
        return ""; // it has ended
      }
    };
    const line = `${read("cmdline")} ${read("environ")}`;
    if (pid !== process.pid && line.includes(word)) found.set(pid, line.slice(0, 200));
  }
  return found;
}
