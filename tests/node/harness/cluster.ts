import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { Rehearsal } from "../../../rehearsal/simulation/rehearse";
import { eventually } from "../../live/harness/eventually";

/** Runs a command as somebody who holds the stack's kubeconfig and state; returns its output. Rejects when it fails. */
function run(
  { engine }: Rehearsal,
  command: readonly string[],
  options: { readonly input?: string; readonly timeoutSeconds?: number } = {},
): Promise<string> {
  const [file = "", ...args] = command;
  const { input = "", timeoutSeconds = 300 } = options;
  const child = spawn(file, args, {
    env: { ...process.env, ...engine.env },
    timeout: timeoutSeconds * 1000,
    killSignal: "SIGKILL",
  });
  let [output, complaints] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command.join(" ")}: ${signal ?? `exit code ${code}`}\n${complaints}${output}`));
    });
  });
}

/** `kubectl` in a namespace. */
export function kubectl(rehearsal: Rehearsal, namespace: string, args: readonly string[], input = ""): Promise<string> {
  return run(rehearsal, ["kubectl", "--namespace", namespace, ...args], { input });
}

/** Loses a pod, to which nobody says a word, and waits until another in its place is ready. */
export async function replacePod(rehearsal: Rehearsal, namespace: string, selector: string): Promise<void> {
  const pod = ["pod", `--selector=${selector}`];
  await kubectl(rehearsal, namespace, ["delete", ...pod, "--grace-period=0", "--force"]);
  await eventually(240, async () => {
    await kubectl(rehearsal, namespace, ["wait", ...pod, "--for=condition=Ready", "--timeout=10s"]);
  });
}

/** Runs a CronJob now, to its end; throws with its log when it fails. */
export async function runNow(rehearsal: Rehearsal, cronJob: string, timeoutSeconds = 240): Promise<void> {
  const [namespace, job] = ["data-platform", `${cronJob}-now`];
  await kubectl(rehearsal, namespace, ["create", "job", job, `--from=cronjob/${cronJob}`]);
  const deadline = Date.now() + timeoutSeconds * 1000;
  for (;;) {
    const status = await kubectl(rehearsal, namespace, ["get", "job", job, "--output=jsonpath={.status}"]);
    if (status.includes('"succeeded":1')) return;
    if (status.includes('"Failed"') || Date.now() > deadline) {
      const log = await kubectl(rehearsal, namespace, ["logs", `job/${job}`, "--tail=40"]).catch(String);
      throw new Error(`${job}: ${status}\n${log}`);
    }
    await sleep(500);
  }
}

/** A check of `npm run verify`. */
interface Check {
  readonly topic: string;
  readonly name: string;
  readonly state: string;
  readonly faults: readonly object[];
}

/** The checks of `npm run verify` that do not pass. */
export async function failedChecks(rehearsal: Rehearsal): Promise<Check[]> {
  // With a failed check it exits with an error.
  const verify = `npm run --silent verify -- --stack ${rehearsal.stack} --json || true`;
  const { checks } = JSON.parse(await run(rehearsal, ["sh", "-c", verify])) as { checks: Check[] };
  return checks.filter(({ state }) => state !== "ok");
}

/** Of each container that does not run, or is not ready, and has not succeeded: what became of it, and the end of its log. */
export async function lastWords(rehearsal: Rehearsal): Promise<string[]> {
  const { items } = await rehearsal.api.core.listPodForAllNamespaces();
  const containers = items.flatMap(({ metadata, status }) =>
    [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
      .filter(({ ready, state }) => !ready && state?.terminated?.exitCode !== 0)
      .map(({ name, state, lastState }) => ({
        namespace: metadata?.namespace ?? "",
        pod: metadata?.name ?? "",
        name,
        // Such as OOMKilled, which no log says.
        reasons: [state?.waiting, state?.terminated, lastState?.terminated].flatMap((one) => one?.reason ?? []),
        before: state?.running && lastState?.terminated ? ["--previous"] : [],
      })),
  );
  return Promise.all(
    containers.map(async ({ namespace, pod, name, reasons, before }) => {
      const args = ["logs", pod, `--container=${name}`, "--tail=10", ...before];
      const log = await kubectl(rehearsal, namespace, args).catch(String);
      return `${namespace}/${pod}, container ${[name, ...reasons].join(", ")}:\n${log}`;
    }),
  );
}
