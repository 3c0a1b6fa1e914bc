import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { command, run } from "../../commands/cli";
import { ROOT } from "../../rehearsal/program/evaluate";
import { isolated } from "../support/isolated";
import { checkMachine } from "./machine";
import { ensureDebian } from "../../rehearsal/software/debian";
import { ensureKafka } from "../../rehearsal/software/kafka";
import { ensureNeo4j } from "../../rehearsal/software/neo4j";
import { ensurePostgres } from "../../rehearsal/software/postgres";
import { ensureEnvoyGateway, ensureRedisExporter, ensureS3 } from "../../rehearsal/software/tools";
import { ensureTrino } from "../../rehearsal/software/trino";
import { ensureTool, ensureVenv, locks } from "../../rehearsal/software/venvs";

/** Everything that takes the network: inside there is none. */
async function prepare(): Promise<void> {
  const started = Date.now();
  const progress = (line: string): void => {
    console.log(`[${Math.round((Date.now() - started) / 1000)} s] ${line}`);
  };
  await ensureS3(progress);
  await ensureEnvoyGateway(progress);
  await ensureRedisExporter(progress);
  await ensureTool("ruff", progress);
  await ensureNeo4j(progress);
  await ensureKafka(progress);
  await ensurePostgres(progress);
  for (const name of Object.keys(locks) as (keyof typeof locks)[]) await ensureVenv(name, progress);
  await ensureTrino(progress);
  await ensureDebian("valkey", progress);
  await ensureDebian("prometheus", progress);
  progress("tools and virtual environments are at hand");
}

/** The command line. */
export const program = command(
  "test:live",
  "Starts the real software of a stack from the objects that the program renders, and does its work with it.",
  ["npm run test:live", "npm run test:live -- --fgrep MLflow"],
)
  .argument("[mocha...]", "arguments for mocha")
  .allowUnknownOption()
  .addHelpText(
    "after",
    "\nThe first run builds MinIO, Envoy Gateway and Redis' exporter, installs MLflow, Feast, Ray, Superset and DataHub's client, and fetches PostgreSQL, Valkey, Neo4j, Kafka, Trino\n" +
      "and Prometheus into the cache (CARBON_CACHE, or ~/.cache/254carbon). Logs and metrics are left\n" +
      "in out/live.\n" +
      "Exit codes: 0 passed, 2 wrong usage or machine, otherwise the number of failed tests.",
  )
  .action(async (mochaArgs: string[]) => {
    checkMachine();
    await prepare();
    const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-live-"));
    const config = path.join(ROOT, ".mocharc.live.yaml");
    process.exitCode = await isolated(config, mochaArgs, { CARBON_LIVE_SCRATCH: scratch }).finally(() => {
      fs.rmSync(scratch, { recursive: true, force: true });
    });
  });

if (require.main === module) void run(program);
