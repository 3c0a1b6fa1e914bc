import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { CoreV1Api, KubernetesObjectApi, type KubernetesObject } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import { parse } from "yaml";
import { evaluateStack } from "../rehearsal/program/charts";
import { ROOT } from "../rehearsal/program/evaluate";
import { verdict } from "../rehearsal/simulation/colours";
import { told } from "../rehearsal/simulation/events";
import { command, print, progress, run } from "./cli";
import { kubeconfigOf } from "./kubeconfig";
import { pulumiCli, type PulumiOptions } from "./pulumi";
import { FIELD_MANAGER, readObject } from "./verify/cluster";

const program = command(
  "recover",
  "Repairs a stack after a killed or interrupted `up`; afterwards a plain `pulumi up` converges.",
  ["npm run recover -- --stack dev"],
)
  .requiredOption("--stack <name>", "the stack whose `up` was killed")
  .addHelpText(
    "after",
    `
Steps, which may be repeated at any point:
  1. release the lock of the dead update (pulumi cancel)
  2. drop pending creations from the state and refresh the rest (pulumi refresh)
  3. delete the records of interrupted Helm operations; their objects stay and the next operation
     takes them over
  4. run \`pulumi up\` so that it adopts objects that the dead update created but did not record.
     If an object was not created by Pulumi, it is reported, and step 4 changes nothing.
Before them it removes empty attributes of the state's file, which a kill can leave in a backend in
a directory (file://).
It stops before step 1 if the kubeconfig points to another cluster than the stack's.

Like \`npx pulumi\`, it uses the backend, passphrase and kubeconfig of your shell.`,
  )
  .action(async ({ stack }: { stack: string }) => {
    await recover(stack);
  });

void run(program);

// Existing objects are taken over instead of rejected; fields that only the lost state recorded are set again.
const ADOPT = { PULUMI_K8S_UPSERT_EXISTING_OBJECTS: "true", PULUMI_K8S_ENABLE_PATCH_FORCE: "true" };

async function recover(stack: string): Promise<void> {
  const kubeconfig = kubeconfigOf(stack);

  const core = kubeconfig.makeApiClient(CoreV1Api);
  await dropEmptyAttributes(stack);
  const recorded = await refuseOtherCluster(stack, core);
  const engine = (what: string, resources: number, args: readonly string[], env = {}) =>
    cli([...args, "--stack", stack], { env, progress: told(`     ${what}`, resources, progress) });
  progress("1/4  lock: releasing the lock of the dead update");
  await cli(["cancel", "--yes", "--stack", stack]);
  progress("2/4  state: dropping pending creations, refreshing the rest");
  await engine("refresh", recorded, ["refresh", "--clear-pending-creates", "--yes", "--skip-preview"]);
  progress("3/4  Helm: deleting the records of interrupted operations");
  for (const release of await forgetPendingReleases(core, await releasesOfProgram(stack))) progress(`     ${release}`);
  progress("4/4  objects: looking for those that were created but not recorded");
  const preview = await engine("preview", recorded, ["preview", "--json"], ADOPT);
  const { steps } = JSON.parse(preview) as { readonly steps: readonly PreviewStep[] };
  const { ours, foreign } = await existing(plannedObjects(steps), KubernetesObjectApi.makeApiClient(kubeconfig));
  if (foreign.length > 0) {
    throw new pulumi.RunError(
      `these objects exist and were made by no Pulumi program, so they are not adopted:\n` +
        `${foreign.map((name) => `  ${name}`).join("\n")}\n` +
        `delete or rename them, or import them with \`npx pulumi import\`; then run this again`,
    );
  }
  for (const name of ours) progress(`     ${name}`);
  progress(`4/4  objects: adopting ${ours.length}, and making what is missing`);
  await engine("up", steps.length, ["up", "--yes", "--skip-preview"], ADOPT);
  progress("4/4  objects: once more, since the state records the provider's settings, and the usual ones belong there");
  await engine("up again", steps.length, ["up", "--yes", "--skip-preview"]);
  print(
    verdict("ok", `${stack} is repaired: ${ours.length} objects adopted. Next: npm run verify -- --stack ${stack}`),
  );
}

/** Runs the Pulumi CLI and passes its errors on. */
async function cli(args: readonly string[], options: PulumiOptions = {}): Promise<string> {
  const { ok, stdout, stderr } = await pulumiCli(args, options);
  if (ok) return stdout;
  throw new pulumi.RunError(`pulumi ${args.join(" ")} failed:\n${stdout}${stderr}`);
}

/**
 * A backend in a directory (`file://`) writes the attributes of the state's file in place: a kill at that moment leaves none, and every
 * command then fails with `EOF`. It does without them, and writes them anew.
 */
async function dropEmptyAttributes(stack: string): Promise<void> {
  const { url } = JSON.parse(await cli(["whoami", "--json"])) as { readonly url: string };
  const [, directory] = /^file:\/\/([^?]*)/.exec(url) ?? [];
  if (directory === undefined) return;
  const { name: project } = parse(fs.readFileSync(path.join(ROOT, "Pulumi.yaml"), "utf8")) as { readonly name: string };
  const home = directory.replace(/^~/, os.homedir());
  const file = path.join(home, ".pulumi", "stacks", project, `${stack}.json.attrs`);
  if (fs.statSync(file, { throwIfNoEntry: false })?.size === 0) fs.rmSync(file);
}

/** A refresh against another cluster would find nothing and empty the state. Returns the number of recorded resources. */
async function refuseOtherCluster(stack: string, core: CoreV1Api): Promise<number> {
  const state = JSON.parse(await cli(["stack", "export", "--stack", stack])) as StackExport;
  const resources = state.deployment?.resources ?? [];
  const recorded = resources.find(({ type }) => type === "pulumi:index:Stash")?.outputs?.output;
  const { metadata } = await core.readNamespace({ name: "kube-system" });
  if (recorded === undefined || recorded === metadata?.uid) return resources.length;
  throw new pulumi.RunError(
    `the kubeconfig leads to cluster ${metadata?.uid}, but this stack was made on cluster ${recorded}; ` +
      `set KUBECONFIG to that cluster's; nothing was changed`,
  );
}

interface StackExport {
  readonly deployment?: {
    readonly resources?: readonly { readonly type: string; readonly outputs?: { readonly output?: string } }[];
  };
}

/** The program's releases, as `<namespace>/<name>`; others may be in progress. */
async function releasesOfProgram(stack: string): Promise<ReadonlySet<string>> {
  const { registrations } = await evaluateStack(stack);
  const releases = registrations.filter(({ type }) => type === "kubernetes:helm.sh/v3:Release");
  return new Set(releases.map(({ inputs }) => `${String(inputs["namespace"])}/${String(inputs["name"])}`));
}

/**
 * Deletes the records of operations that Helm believes to be in progress, because Helm refuses any other until they are
 * gone. Objects and volumes of the release stay; the next operation takes them over by their release annotations.
 */
async function forgetPendingReleases(core: CoreV1Api, ours: ReadonlySet<string>): Promise<string[]> {
  const { items } = await core.listSecretForAllNamespaces({
    labelSelector: "owner=helm,status in (pending-install,pending-upgrade,pending-rollback,uninstalling)",
  });
  const pending = items.flatMap(({ metadata }) => {
    const { namespace = "", name = "", labels = {} } = metadata ?? {};
    const release = `${namespace}/${labels["name"]}`;
    return ours.has(release) ? [{ namespace, name, text: `${release}: ${labels["status"]}` }] : [];
  });
  for (const { namespace, name } of pending) await core.deleteNamespacedSecret({ name, namespace });
  return pending.map(({ text }) => text);
}

interface PreviewStep {
  readonly op: string;
  readonly newState?: { readonly type: string; readonly inputs?: Partial<KubernetesObject> };
}

/** The Kubernetes objects that an `up` would create; what it patches may be somebody else's. */
function plannedObjects(steps: readonly PreviewStep[]): KubernetesObject[] {
  return steps.flatMap(({ op, newState }) => {
    const { apiVersion, kind, metadata } = newState?.inputs ?? {};
    const creates = op === "create" && newState?.type.startsWith("kubernetes:") && !newState.type.endsWith("Patch");
    return creates && apiVersion && kind && metadata?.name ? [{ apiVersion, kind, metadata }] : [];
  });
}

async function existing(
  planned: readonly KubernetesObject[],
  api: KubernetesObjectApi,
): Promise<{ ours: string[]; foreign: string[] }> {
  const ours: string[] = [];
  const foreign: string[] = [];
  for (const { apiVersion = "", kind = "", metadata } of planned) {
    const name = metadata?.name ?? "";
    const namespace = metadata?.namespace;
    const found = await readObject(api, { apiVersion, kind, name, ...(namespace !== undefined && { namespace }) });
    if (found === undefined) continue;
    const isOurs = found.metadata?.managedFields?.some(({ manager }) => manager?.startsWith(FIELD_MANAGER)) ?? false;
    (isOurs ? ours : foreign).push(`${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`);
  }
  return { ours, foreign };
}
