import { execFileSync } from "node:child_process";
import * as os from "node:os";
import * as path from "node:path";
import { command, print, run } from "../../commands/cli";
import { charts, images } from "../../components/base/versions";
import { ROOT } from "../../rehearsal/program/evaluate";
import { removeRemains } from "../../rehearsal/node/node";
import { isolated } from "../support/isolated";
import { fromDebian } from "../../rehearsal/node/operators/monitoring";
import { metricsServerVersion } from "../../rehearsal/node/tools";
import { checkMachine } from "../../rehearsal/node/machine";
import { prepareSite } from "../../rehearsal/node/site";
import { table } from "../../rehearsal/simulation/tables";
import { ensureDebian } from "../../rehearsal/software/debian";

/** The command line. */
export const program = command(
  "test:node",
  "Brings the stack `local` up on a real node of this machine: kubelet, containerd, real operators, real software.",
  ["npm run test:node"],
)
  .argument("[mocha...]", "arguments for mocha")
  .allowUnknownOption()
  .addHelpText(
    "after",
    "\nThe first run builds kubelet, kube-proxy, CoreDNS and others from their Go modules, installs MLflow, Feast and Ray, and makes\n" +
      "their images on Debian's packages, all in the cache (CARBON_CACHE, or ~/.cache/254carbon). The node lives in namespaces of\n" +
      "its own and ends with the command.\n" +
      "Exit codes: 0 passed, 2 wrong usage or machine, otherwise the number of failed tests.",
  )
  .action(async (mochaArgs: string[]) => {
    checkMachine();
    const started = Date.now();
    await prepareSite("local", (line) => {
      console.log(`[${Math.round((Date.now() - started) / 1000)} s] ${line}`);
    });
    process.exitCode = await isolated(path.join(ROOT, ".mocharc.node.yaml"), mochaArgs).finally(removeRemains);
    print(table(["what differs", "a cluster's", "this node's"], await differences()));
  });

/** What a cluster has and this node has not. */
async function differences(): Promise<string[][]> {
  const program = async (name: Parameters<typeof ensureDebian>[0], file: string): Promise<string> =>
    said(path.join(await ensureDebian(name, console.log), "bin", file));
  const monitoring = Object.entries(fromDebian).map(async ([name, { image, program: file }]) => [
    ...[name, image],
    await program(name as keyof typeof fromDebian, file),
  ]);
  return [
    ["nodes", "several", "one"],
    ["charts", "published", "those in .charts, else stand-ins"],
    ["images", "published", "made of packages, on Debian 12"],
    ["cert-manager", "with ACME issuers", "without"],
    ["Valkey", images.valkey, await program("valkey", "valkey-server")],
    ...(await Promise.all(monitoring)),
    ["metrics-server", `that of chart ${charts.metricsServer.version}`, metricsServerVersion],
    ["containers", "its containerd and runc", `${said("containerd")}, ${said("runc")}`],
    ["kernel", "its own", os.release()],
    ["a loss of power", "takes what is not on disks yet", "takes what is in memory, caches of disks excepted"],
  ];
}

/** What a program says of its version. */
function said(program: string): string {
  return execFileSync(program, ["--version"], { encoding: "utf8" }).split("\n")[0] ?? "";
}

if (require.main === module) void run(program);
