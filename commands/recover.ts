import { spawnSync } from "node:child_process";
import * as path from "node:path";
import { CoreV1Api, KubernetesObjectApi, type KubernetesObject } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import { evaluateStack } from "../rehearsal/program/charts";
import { ROOT } from "../rehearsal/program/evaluate";
import { command, run } from "./cli";
import { kubeconfigOf } from "./kubeconfig";
import { readObject } from "./verify/cluster";

const program = command("recover", "Repairs a stack after a killed `up`; afterwards a plain `pulumi up` converges.", [
  "npm run recover -- --stack dev",
])
  .requiredOption("--stack <name>", "the stack whose `up` was killed")
  .addHelpText(
    "after",
    `
Steps, which may be repeated at any point:
  1. release the lock of the dead update (pulumi cancel)
  2. drop pending creations from the state and refresh the rest (pulumi refresh)
  3. delete the records of interrupted Helm operations; their objects stay and the next operation takes them over
  4. run \`pulumi up\` so that it adopts objects that the dead update created but did not record.
     If an object was not created by Pulumi, it is reported, and step 4 changes nothing.
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
  await refuseOtherCluster(stack, core);
  say("1/4 lock: releasing the lock of the dead update");
  cli(["cancel", "--yes", "--stack", stack]);
  say("2/4 state: dropping pending creations, refreshing the rest");
  cli(["refresh", "--clear-pending-creates", "--yes", "--skip-preview", "--non-interactive", "--stack", stack]);
  say("3/4 Helm: deleting the records of interrupted operations");
  for (const release of await forgetPendingReleases(core, await releasesOfProgram(stack))) say(`    ${release}`);
  say("4/4 objects: adopting those that were created but not recorded");
  const preview = cli(["preview", "--json", "--non-interactive", "--stack", stack], ADOPT);
  const { ours, foreign } = await existing(plannedObjects(preview), KubernetesObjectApi.makeApiClient(kubeconfig));
  if (foreign.length > 0) {
    throw new pulumi.RunError(
      `these objects exist and were made by no Pulumi program, so they are not adopted:\n` +
        `${foreign.map((name) => `  ${name}`).join("\n")}\n` +
        `delete or rename them, or import them with \`npx pulumi import\`; then run this again`,
    );
  }
  for (const name of ours) say(`    ${name}`);
  const up = ["up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack];
  cli(up, ADOPT);
  // The state records the provider's settings; this `up` restores the usual ones.
  cli(up);
  say(`Done: ${ours.length} objects adopted. \`npx pulumi up -s ${stack}\` has nothing left to repair.`);
}

/** Runs the Pulumi CLI in the repository and passes its errors on. */
function cli(args: readonly string[], env: Readonly<Record<string, string>> = {}): string {
  const pulumiCli = path.join(ROOT, "node_modules", ".bin", "pulumi");
  const { status, stdout, stderr } = spawnSync(pulumiCli, args, {
    cwd: ROOT,
    env: { ...process.env, ...env },
    encoding: "utf8",
    maxBuffer: 256 * 1024 * 1024,
  });
  if (status === 0) return stdout;
  throw new pulumi.RunError(`pulumi ${args.join(" ")} failed:\n${stdout}${stderr}`);
}

/** A refresh against another cluster would find nothing and empty the state. */
async function refuseOtherCluster(stack: string, core: CoreV1Api): Promise<void> {
  const state = JSON.parse(cli(["stack", "export", "--stack", stack])) as StackExport;
  const recorded = state.deployment?.resources?.find(({ type }) => type === "pulumi:index:Stash")?.outputs?.output;
  const { metadata } = await core.readNamespace({ name: "kube-system" });
  if (recorded === undefined || recorded === metadata?.uid) return;
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
function plannedObjects(preview: string): KubernetesObject[] {
  const { steps } = JSON.parse(preview) as { steps: PreviewStep[] };
  return steps.flatMap(({ op, newState }) => {
    const { apiVersion, kind, metadata } = newState?.inputs ?? {};
    const creates = op === "create" && newState?.type.startsWith("kubernetes:") && !newState.type.endsWith("Patch");
    return creates && apiVersion && kind && metadata?.name ? [{ apiVersion, kind, metadata }] : [];
  });
}

// The provider's field manager.
const FIELD_MANAGER = "pulumi-kubernetes";

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

function say(line: string): void {
  console.error(line);
}
