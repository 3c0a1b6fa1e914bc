import { spawnSync } from "node:child_process";
import * as path from "node:path";
import { CoreV1Api, KubernetesObjectApi, type KubernetesObject } from "@kubernetes/client-node";
import * as pulumi from "@pulumi/pulumi";
import { ROOT } from "../rehearsal/evaluate";
import { command, run } from "../rehearsal/cli";
import { kubeconfigOf } from "./kubeconfig";

const program = command(
  "recover",
  "Repairs a stack after an `up` that was killed: afterwards a plain `pulumi up` converges.",
  ["npm run recover -- --stack dev"],
)
  .requiredOption("--stack <name>", "the stack whose `up` was killed")
  .addHelpText(
    "after",
    `
What it does, in this order, and may be repeated at any point:
  1. takes back the lock of the dead update (pulumi cancel)
  2. drops what the state only planned to make, and reads the rest from the cluster (pulumi refresh)
  3. forgets Helm operations that died half-way; what they made stays and is taken over by the next one
  4. runs \`pulumi up\` so that it adopts the objects which the dead update made but did not record.
     An object that this program did not make is never adopted: it is named, and nothing is changed.

It uses the backend, passphrase and kubeconfig of your shell, like \`npx pulumi\`.`,
  )
  .action(async ({ stack }: { stack: string }) => {
    await recover(stack);
  });

void run(program);

// An object that exists is taken over instead of refused; fields that only the lost state knew are set anew.
const ADOPT = { PULUMI_K8S_UPSERT_EXISTING_OBJECTS: "true", PULUMI_K8S_ENABLE_PATCH_FORCE: "true" };

async function recover(stack: string): Promise<void> {
  const kubeconfig = kubeconfigOf(stack);

  say("1/4 lock: taking back that of the dead update");
  cli(["cancel", "--yes", "--stack", stack]);
  say("2/4 state: dropping pending creations, reading the rest from the cluster");
  cli(["refresh", "--clear-pending-creates", "--yes", "--skip-preview", "--non-interactive", "--stack", stack]);
  say("3/4 Helm: forgetting operations that died half-way");
  for (const release of await forgetPendingReleases(kubeconfig.makeApiClient(CoreV1Api))) say(`    ${release}`);
  say("4/4 objects: adopting what was made but not recorded");
  const preview = cli(["preview", "--json", "--non-interactive", "--stack", stack], ADOPT);
  const { ours, foreign } = await existing(plannedObjects(preview), KubernetesObjectApi.makeApiClient(kubeconfig));
  if (foreign.length > 0) {
    throw new pulumi.RunError(
      `these objects exist and were not made by this program, so they are not adopted:\n` +
        `${foreign.map((name) => `  ${name}`).join("\n")}\n` +
        `delete or rename them, or bring them in by name with \`npx pulumi import\`; then run this again`,
    );
  }
  for (const name of ours) say(`    ${name}`);
  const up = ["up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack];
  cli(up, ADOPT);
  // The provider remembers how it was set; this `up` makes it refuse what exists again.
  cli(up);
  say(`Done: ${ours.length} objects adopted. \`npx pulumi up -s ${stack}\` has nothing left to mend.`);
}

/** Runs the Pulumi CLI in the repository; its failure is the user's to read. */
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

/**
 * Deletes the records of operations that Helm believes to be under way: it refuses any other until they are gone.
 * Objects and volumes of the release stay; the next operation takes them over by their release annotations.
 */
async function forgetPendingReleases(api: CoreV1Api): Promise<string[]> {
  const { items } = await api.listSecretForAllNamespaces({
    labelSelector: "owner=helm,status in (pending-install,pending-upgrade,pending-rollback,uninstalling)",
  });
  for (const { metadata } of items) {
    await api.deleteNamespacedSecret({ name: metadata?.name ?? "", namespace: metadata?.namespace ?? "" });
  }
  return items.map(
    ({ metadata }) => `${metadata?.namespace}/${metadata?.labels?.["name"]}: ${metadata?.labels?.["status"]}`,
  );
}

interface PreviewStep {
  readonly op: string;
  readonly newState?: { readonly type: string; readonly inputs?: Partial<KubernetesObject> };
}

/** The Kubernetes objects that an `up` would create. */
function plannedObjects(preview: string): KubernetesObject[] {
  const { steps } = JSON.parse(preview) as { steps: PreviewStep[] };
  return steps.flatMap(({ op, newState }) => {
    const { apiVersion, kind, metadata } = newState?.inputs ?? {};
    return op === "create" && newState?.type.startsWith("kubernetes:") && apiVersion && kind && metadata?.name
      ? [{ apiVersion, kind, metadata }]
      : [];
  });
}

// The provider signs every field it sets with a manager of this name.
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
    const found = await api
      .read({ apiVersion, kind, metadata: { name, ...(namespace !== undefined && { namespace }) } })
      .catch(ifAbsent);
    if (found === undefined) continue;
    const isOurs = found.metadata?.managedFields?.some(({ manager }) => manager?.startsWith(FIELD_MANAGER)) ?? false;
    (isOurs ? ours : foreign).push(`${kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`);
  }
  return { ours, foreign };
}

/** Neither the object nor, before its CRD is there, its kind need exist. */
function ifAbsent(error: unknown): undefined {
  const { code, message } = error as { code?: number; message?: string };
  if (code !== 404 && !message?.includes("Unrecognized API version and kind")) throw error;
}

function say(line: string): void {
  console.error(line);
}
