import { verdict } from "../rehearsal/simulation/colours";
import { endLocal, findLocal, type Local, startLocal } from "../rehearsal/node/local";
import { checkMachine } from "../rehearsal/node/machine";
import { command, interruptibly, print, progress, run } from "./cli";

const STACK = "local";

/** The command line. */
export const program = command(
  "local",
  "Brings the ML core up on a real node of this machine, leaves it running, and prints how to reach it.",
  ["npm run local", "npm run local -- --down"],
)
  .option("--down", "end it, with its data", false)
  .addHelpText(
    "after",
    `
What runs is the stack of Pulumi.local.yaml, on a Kubernetes of one node in namespaces of its own,
which takes root on Linux. The first start builds kubelet, kube-proxy, the operators and others from
their Go modules, installs MLflow, Feast and Ray, and makes images of them, in the cache
(CARBON_CACHE, or ~/.cache/254carbon). Changes of the stack file or the program come there by
\`npx pulumi up -s local\`, in a shell with the printed file.
Exit codes: 0 it runs, or has ended; 1 it did not come up; 2 wrong usage or machine; 130 Ctrl-C.`,
  )
  .action(async ({ down }: { down: boolean }) => {
    if (down) {
      print((await endLocal()) ? `Ended the stack ${STACK}.` : `The stack ${STACK} does not run on this machine.`);
      return;
    }
    const running = findLocal();
    if (running !== undefined) {
      print(reached(running));
      return;
    }
    checkMachine();
    process.exitCode = await interruptibly(async (signal) => {
      const local = await startLocal(STACK, progress, signal);
      print(reached(local));
      return 0;
    });
  });

if (require.main === module) {
  void run(program).finally(() => {
    process.exit();
  });
}

/** How to reach what runs. */
function reached({ urls, envFile }: Local): string {
  const width = Math.max(...Object.keys(urls).map(({ length }) => length));
  return [
    ...Object.entries(urls).map(([what, url]) => `${what.padEnd(width)}  ${url}`),
    "",
    `source ${envFile}`,
    "kubectl -n data-platform get pods",
    "",
    verdict(
      "ok",
      `the stack ${STACK} runs on this machine. Next: docs/ml-quick-start.md; end it with npm run local -- --down`,
    ),
  ].join("\n");
}
