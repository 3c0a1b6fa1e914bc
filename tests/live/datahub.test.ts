import assert from "node:assert/strict";
import { images } from "../../components/base/versions";
import { WRITTEN } from "../../components/catalog/ingestion/account";
import { postgresRecipe, type Recipe } from "../../components/catalog/ingestion/recipes";
import { type Cluster, theCluster } from "./harness/cluster";
import { Pod } from "./harness/pod";
import { PolarisDouble } from "./harness/polaris";
import type { Rendered } from "./harness/rendered";

const GMS = "http://datahub-gms:8080";

/** Hands a recipe to the classes of the package that would run it; prints what they say. */
const PARSE = `
import json, os, pathlib, yaml
from datahub.ingestion.api.common import PipelineContext
from datahub.ingestion.run.pipeline import PipelineConfig
from datahub.ingestion.sink.sink_registry import sink_registry
from datahub.ingestion.source.file import read_metadata_file
from datahub.ingestion.source.source_registry import source_registry
from datahub.ingestion.transformer.transform_registry import transform_registry

def faults(recipe):
    try:
        config = PipelineConfig.model_validate(recipe)
        source_registry.get(config.source.type).get_config_class().model_validate(config.source.config)
        sink_registry.get(config.sink.type).get_config_class().model_validate(config.sink.config)
        for one in config.transformers or []:
            transform_registry.get(one.type).create(one.config, PipelineContext(run_id="test"))
        return ""
    except Exception as error:
        return str(error)

mounted = pathlib.Path("/recipes/recipe.yaml")
recipes = json.loads(os.environ["RECIPES"]) or [yaml.safe_load(mounted.read_text())]
for file in mounted.parent.glob("*.json"):
    assert list(read_metadata_file(file)), file
print(json.dumps([faults(recipe) for recipe in recipes]))
`;

/** Runs the mounted recipe with a file in place of DataHub, which alone knows of earlier runs; prints what it would write. */
const INGEST = `
import json, yaml
from datahub.configuration.config_loader import load_config_file
from datahub.ingestion.run.pipeline import Pipeline
recipe = load_config_file("/recipes/recipe.yaml", resolve_env_vars=True)
recipe["sink"] = {"type": "file", "config": {"filename": "/tmp/written.json"}}
del recipe["source"]["config"]["stateful_ingestion"]
pipeline = Pipeline.create(recipe, report_to=None)
pipeline.run()
pipeline.raise_from_status()
print(json.dumps(json.load(open("/tmp/written.json"))))
`;

describe("DataHub's recipes", () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await theCluster();
  });

  const jobs = (): Rendered[] =>
    [...cluster.program.all("Job"), ...cluster.program.all("CronJob").map(jobOf)].filter(
      ({ spec }) => spec.template.spec.containers[0].image === images.datahubIngestion,
    );

  it("are what the package that runs them takes, each as it is mounted", async () => {
    const names = jobs().map(({ metadata }) => metadata.name);
    for (const source of ["account", "postgres", "kafka", "trino", "iceberg", "cleanup"])
      assert.ok(names.includes(`datahub-ingestion-${source}`), source);
    const faults = await Promise.all(jobs().map((job) => parsed(cluster, job)));
    assert.deepEqual(
      faults.flat(),
      jobs().map(() => ""),
    );
  });

  it("cannot be what once failed in production: figures on fields of a profile of tables, and table lineage", async () => {
    const { source, ...sound } = postgresRecipe({
      gms: GMS,
      hostPort: "postgres:5432",
      database: "datahub",
      schema: "public",
      ignored: ["tmp_", "staging_"],
      profiling: { kind: "tables", workers: 10 },
    });
    const { profiling } = source.config as { profiling: object };
    const onFields = ["null_count", "min_value", "max_value"].map((figure) => [`include_field_${figure}`, true]);
    const spoilt = (config: object): Recipe => ({
      ...sound,
      source: { ...source, config: { ...source.config, ...config } },
    });
    const [fields = "", lineage = "", nothing] = await parsed(cluster, theJob("postgres"), [
      spoilt({ profiling: { ...profiling, ...Object.fromEntries(onFields) } }),
      spoilt({ include_table_lineage: true }),
      spoilt({}),
    ]);
    assert.match(fields, /Cannot enable field-level metrics if profile_table_level_only is set/);
    assert.match(lineage, /include_table_lineage\s+Extra inputs are not permitted/);
    assert.equal(nothing, "");
  });

  it("finds the tables of PostgreSQL as a role that only reads, counts their rows, and looks at no field", async () => {
    const postgres = await cluster.postgres();
    await postgres.query(
      `SET ROLE datahub;
       CREATE TABLE prices (code text, price numeric); INSERT INTO prices VALUES ('WTI', 71.5), ('CORN', 4.2);
       CREATE VIEW dear AS SELECT code FROM prices WHERE price > 50;
       CREATE TABLE staging_prices (code text);
       GRANT SELECT ON ALL TABLES IN SCHEMA public TO ingestion_reader;`,
      "datahub",
    );
    const changes: any[] = await python(cluster, theJob("postgres"), INGEST);
    const datasets = changes.filter(({ entityType }: any) => entityType === "dataset");
    const names = new Set(
      datasets.map(({ entityUrn }: any) => /postgres,datahub\.public\.([^,]+),/.exec(entityUrn)?.[1]),
    );
    assert.deepEqual([...names].sort(), ["dear", "prices"]);
    const profiles = datasets.filter(({ aspectName }: any) => aspectName === "datasetProfile");
    const [profile] = profiles.filter(({ entityUrn }: any) => entityUrn.includes(".prices,"));
    assert.deepEqual([profile.aspect.json.rowCount, profile.aspect.json.columnCount], [2, 2]);
    for (const { aspect } of profiles) assert.deepEqual(aspect.json.fieldProfiles, []);
    const written = new Set(changes.map(kindOf));
    assert.deepEqual(
      [...written].filter((kind) => !WRITTEN.includes(kind)),
      [],
    );
  });

  it("finds the tables of Iceberg as a client who may read no data", async () => {
    const polaris = new PolarisDouble(cluster.program.data("Secret", "polaris-logins")["ROOT_SECRET"] ?? "");
    const { namespace } = cluster.program.object("polaris-setup", "Job").metadata;
    await polaris.listen(cluster.play("polaris", namespace));
    try {
      await cluster.job("polaris-setup", { again: true });
      const changes: any[] = await python(cluster, theJob("iceberg"), INGEST);
      const columns = changes.flatMap(({ entityUrn, aspectName, aspect }: any) =>
        aspectName === "schemaMetadata" ? [[entityUrn, ...aspect.json.fields.map((one: any) => one.fieldPath)]] : [],
      );
      const [[table, column] = []] = columns;
      assert.match(table ?? "", /iceberg,hmco_iceberg\.prices\.daily,/);
      assert.match(column ?? "", /\.code$/);
      assert.deepEqual(
        changes.map(kindOf).filter((kind) => !WRITTEN.includes(kind)),
        [],
      );
    } finally {
      polaris.close();
    }
  });

  function theJob(source: string): Rendered {
    return jobOf(cluster.program.object(`datahub-ingestion-${source}`, "CronJob"));
  }
});

function jobOf({ metadata, spec, ...rest }: Rendered): Rendered {
  return { ...rest, metadata, spec: spec.jobTemplate.spec };
}

/** The kind of the entity that a change is about, in either of the forms that the package has for changes. */
function kindOf({ entityUrn, proposedSnapshot = {} }: any): string {
  const [snapshot] = Object.values<any>(proposedSnapshot);
  return /^urn:li:(\w+):/.exec(entityUrn ?? snapshot.urn)?.[1] ?? "";
}

/** What the package finds wrong with recipes, or with the one that a Job mounts. */
function parsed(cluster: Cluster, job: Rendered, recipes: readonly Recipe[] = []): Promise<string[]> {
  return python(cluster, job, PARSE, { RECIPES: JSON.stringify(recipes) });
}

/** Runs a script in place of a Job's command, in a pod that is otherwise its own; reads what it printed last as JSON. */
async function python(cluster: Cluster, job: Rendered, script: string, env: Record<string, string> = {}): Promise<any> {
  const { metadata, spec } = job["spec"].template;
  const [container] = spec.containers;
  const variables = Object.entries(env).map(([name, value]) => ({ name, value }));
  const changed = {
    ...container,
    command: ["python", "-c", script],
    env: [...container.env, ...variables],
  };
  const pod = new Pod(cluster, {
    name: `${job.metadata.name}-${String(++runs)}`,
    namespace: job.metadata.namespace,
    template: { metadata, spec: { ...spec, containers: [changed] } },
  });
  const output = await pod.run(120);
  return JSON.parse(output.trimEnd().split("\n").at(-1) ?? "");
}

let runs = 0;
