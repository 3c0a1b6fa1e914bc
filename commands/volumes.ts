import { CoreV1Api, type V1PersistentVolume } from "@kubernetes/client-node";
import { verdict } from "../rehearsal/simulation/colours";
import { command, JSON_OPTION, run, show } from "./cli";
import { kubeconfigOf } from "./kubeconfig";
import { table } from "../rehearsal/simulation/tables";

const program = command("volumes", "Lists the volumes of a stack's cluster, unclaimed ones first.", [
  "npm run volumes -- --stack prod",
])
  .requiredOption("--stack <name>", "the stack whose cluster to read")
  .option(...JSON_OPTION)
  .addHelpText(
    "after",
    `
\`pulumi destroy\` deletes claims, never volumes: these stay, Released, until you delete them with
kubectl. It uses the kubeconfig of your shell.`,
  )
  .action(async ({ stack, json }: { stack: string; json?: string | true }) => {
    const { items } = await kubeconfigOf(stack).makeApiClient(CoreV1Api).listPersistentVolume();
    const volumes = items.map(volumeOf).sort((a, b) => Number(a.phase === "Bound") - Number(b.phase === "Bound"));
    show(json, volumes, describe(stack, volumes));
  });

void run(program);

interface Volume {
  readonly name: string;
  readonly phase: string;
  readonly claim: string;
  readonly size: string;
  readonly node: string;
  readonly reclaimPolicy: string;
}

function volumeOf({ metadata, spec, status }: V1PersistentVolume): Volume {
  const { namespace, name } = spec?.claimRef ?? {};
  const terms = spec?.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return {
    name: metadata?.name ?? "",
    phase: status?.phase ?? "",
    claim: name === undefined ? "" : `${namespace}/${name}`,
    size: spec?.capacity?.["storage"] ?? "",
    node: terms
      .flatMap(({ matchExpressions = [] }) => matchExpressions.flatMap(({ values = [] }) => values))
      .join(", "),
    reclaimPolicy: spec?.persistentVolumeReclaimPolicy ?? "",
  };
}

function describe(stack: string, volumes: readonly Volume[]): string {
  const unclaimed = volumes.filter(({ phase }) => phase !== "Bound").length;
  const rows = volumes.map((v) => [v.phase, v.claim, v.size, v.node, v.reclaimPolicy, v.name]);
  return [
    table(["phase", "claim", "size", "node", "policy", "volume"], rows),
    "",
    unclaimed === 0
      ? verdict("ok", `${volumes.length} volumes of ${stack}, all claimed`)
      : verdict(
          "unknown",
          `${volumes.length} volumes of ${stack}, ${unclaimed} of them unclaimed. Next: docs/volumes.md`,
        ),
  ].join("\n");
}
