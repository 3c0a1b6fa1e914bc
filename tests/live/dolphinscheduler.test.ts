import assert from "node:assert/strict";
import { type Cluster, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import { type Pod } from "./harness/pod";
import { workflows } from "./harness/systems";
import { dolphinschedulerHome } from "../../rehearsal/software/dolphinscheduler";

const SCRIPT = `cat greeting.txt; id -u; echo "$HOSTNAME"`;

describe("DolphinScheduler", function () {
  // Four Java servers start at once.
  this.timeout(1_500_000);
  let cluster: Cluster;
  let pods: Awaited<ReturnType<typeof workflows>>;
  let session = "";

  before(async function () {
    // docs/dolphinscheduler.md says where one comes from.
    if (dolphinschedulerHome() === undefined) this.skip();
    cluster = await theCluster();
    pods = await workflows(cluster);
    session = (await login(adminPassword())).data?.sessionId ?? "";
  });

  const adminPassword = (): string => cluster.program.data("Secret", "dolphinscheduler-admin")["password"] ?? "";

  const login = (password: string): Promise<any> =>
    ask(pods.api, "login", {
      method: "POST",
      body: new URLSearchParams({ userName: "admin", userPassword: password }),
    });

  /** What the API answers to admin; throws unless it says success. */
  const call = async (route: string, form?: Record<string, string> | FormData): Promise<any> => {
    const body = form instanceof FormData ? form : new URLSearchParams(form);
    const request = form === undefined ? {} : { method: "POST", body };
    const answer = await ask(pods.api, route, { ...request, headers: { sessionId: session } });
    assert.equal(answer.code, 0, `${route}: ${String(answer.msg)}`);
    return answer.data;
  };

  it("makes its tables, and a second run leaves them as they are", async () => {
    const postgres = await cluster.postgres();
    const tables = (): Promise<string[]> =>
      postgres.query(
        "SELECT relname, relfilenode FROM pg_class WHERE relname LIKE 't\\_ds\\_%' ORDER BY 1",
        "dolphinscheduler",
      );
    const before = await tables();
    assert.ok(
      before.some((line) => line.startsWith("t_ds_jdbc_registry_data|")),
      "the registry is not in the database",
    );
    await cluster.job("dolphinscheduler-schema", { again: true });
    assert.deepEqual(await tables(), before);
  });

  it("refuses the vendor's login and takes ours, also after the Job has run again", async () => {
    await cluster.job("dolphinscheduler-set-admin", { again: true });
    assert.notEqual((await login("dolphinscheduler123")).code, 0);
    assert.equal((await login(adminPassword())).code, 0);
  });

  it("answers every probe", async () => {
    for (const pod of Object.values(pods)) assert.deepEqual(await pod.faults(), []);
  });

  it("reaches its database over TLS alone", async () => {
    const postgres = await cluster.postgres();
    const plain =
      "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'dolphinscheduler'";
    assert.deepEqual(await postgres.query(plain), ["t"]);
  });

  it("knows its servers by names that outlive their pods", async () => {
    const postgres = await cluster.postgres();
    const keys = await postgres.query("SELECT data_key FROM t_ds_jdbc_registry_data ORDER BY 1", "dolphinscheduler");
    for (const [kind, port] of [
      ["alert", 50052],
      ["master", 5678],
      ["worker", 1234],
    ] as const) {
      const server = `dolphinscheduler-${kind}`;
      assert.ok(
        keys.some((key) => key.endsWith(`/${server}-0.${server}:${port}`)),
        `${server} in ${keys.join(", ")}`,
      );
    }
  });

  it("exports metrics where they are scraped", async () => {
    for (const [kind, pod] of Object.entries(pods)) {
      const route = kind === "api" ? "/dolphinscheduler/actuator/prometheus" : "/actuator/prometheus";
      assert.match(await (await fetch(pod.url("http", route))).text(), /^jvm_memory_used_bytes\{/m, kind);
    }
  });

  it("runs a workflow with a file of the object store as its own user, and shows its log", async () => {
    const { code } = await runWorkflow("live", SCRIPT);
    const log = await taskLog(code);
    assert.match(log, /hello from the bucket/);
    assert.match(log, /\b1000\b[^]*dolphinscheduler-worker-0/);
  });

  it("keeps the worker's credentials from a task that looks for them", async () => {
    const { code } = await runWorkflow("curious", "env; cat /proc/[0-9]*/environ | tr '\\0' '\\n'; echo looked");
    const log = await taskLog(code);
    assert.match(log, /looked/);
    for (const name of ["registry", "object-store"]) {
      for (const [key, value] of Object.entries(cluster.program.data("Secret", `dolphinscheduler-${name}`))) {
        if (/PASSWORD|SECRET/.test(key)) assert.ok(!log.includes(value), key);
      }
    }
  });

  it("deletes instances that are old, and nothing else", async () => {
    const postgres = await cluster.postgres();
    await postgres.query(
      "UPDATE t_ds_process_instance SET start_time = now() - interval '1 year' WHERE id = 1",
      "dolphinscheduler",
    );
    await cluster.cronJob("dolphinscheduler-history");
    const count = "SELECT count(*) FILTER (WHERE id = 1), count(*) > 0 FROM t_ds_process_instance";
    assert.deepEqual(await postgres.query(count, "dolphinscheduler"), ["0|t"]);
  });

  it("still shows the log when the worker's pod was lost", async () => {
    const { code } = await runWorkflow("kept", "echo kept for later");
    await cluster.stop(pods.worker, { atOnce: true });
    pods = { ...pods, worker: await cluster.pod("dolphinscheduler-worker") };
    assert.match(await taskLog(code), /kept for later/);
  });

  it("starts a task again whose worker was lost", async () => {
    const run = await startWorkflow("moved", "sleep 20; echo arrived");
    await eventually(60, async () => {
      const { totalList } = await call(`projects/${run.code}/task-instances?pageNo=1&pageSize=10`);
      assert.deepEqual(
        totalList.map(({ state }: any) => state),
        ["RUNNING_EXECUTION"],
      );
    });
    await cluster.stop(pods.worker, { atOnce: true });
    pods = { ...pods, worker: await cluster.pod("dolphinscheduler-worker") };
    await run.success();
    assert.match(await taskLog(run.code), /arrived/);
  });

  /** Makes a workflow of one shell task with a file, and starts it. */
  async function startWorkflow(
    name: string,
    rawScript: string,
  ): Promise<{ readonly code: number; readonly success: () => Promise<void> }> {
    const upload = new FormData();
    const directory = "dolphinscheduler/default/resources/";
    const file = `${name}.txt`;
    upload.set("type", "FILE");
    upload.set("name", file);
    upload.set("currentDir", directory);
    upload.set("file", new Blob(["hello from the bucket\n"]), file);
    await call("resources", upload);

    const { code } = await call("projects", { projectName: name, description: "" });
    const project = `projects/${String(code)}`;
    const [task] = await call(`${project}/task-definition/gen-task-codes?genNum=1`);
    const script = rawScript.replace("greeting.txt", file);
    const definition = {
      code: task,
      name: "greet",
      taskType: "SHELL",
      version: 0,
      workerGroup: "default",
      environmentCode: -1,
      failRetryTimes: 0,
      failRetryInterval: 1,
      flag: "YES",
      isCache: "NO",
      taskPriority: "MEDIUM",
      timeout: 0,
      timeoutFlag: "CLOSE",
      timeoutNotifyStrategy: "",
      delayTime: 0,
      description: "",
      taskExecuteType: "BATCH",
      taskParams: {
        localParams: [],
        rawScript: script,
        resourceList: [{ resourceName: `${directory}${file}` }],
      },
    };
    const relation = {
      name: "",
      preTaskCode: 0,
      preTaskVersion: 0,
      postTaskCode: task,
      postTaskVersion: 0,
      conditionType: "NONE",
      conditionParams: {},
    };
    const workflow = await call(`${project}/process-definition`, {
      name,
      description: "",
      globalParams: "[]",
      locations: JSON.stringify([{ taskCode: task, x: 0, y: 0 }]),
      timeout: "0",
      executionType: "PARALLEL",
      taskDefinitionJson: JSON.stringify([definition]),
      taskRelationJson: JSON.stringify([relation]),
    });
    await call(`${project}/process-definition/${String(workflow.code)}/release`, { name, releaseState: "ONLINE" });
    await call(`${project}/executors/start-process-instance`, {
      processDefinitionCode: String(workflow.code),
      scheduleTime: "",
      failureStrategy: "END",
      warningType: "NONE",
      workerGroup: "default",
      tenantCode: "default",
      processInstancePriority: "MEDIUM",
      dryRun: "0",
    });
    const success = (): Promise<void> =>
      eventually(180, async () => {
        const { totalList } = await call(`${project}/process-instances?pageNo=1&pageSize=10`);
        assert.deepEqual(
          totalList.map(({ state }: any) => state),
          ["SUCCESS"],
        );
      });
    return { code, success };
  }

  async function runWorkflow(name: string, rawScript: string): Promise<{ readonly code: number }> {
    const run = await startWorkflow(name, rawScript);
    await run.success();
    return run;
  }

  async function taskLog(project: number): Promise<string> {
    const { totalList } = await call(`projects/${project}/task-instances?pageNo=1&pageSize=10`);
    const { message } = await call(`log/detail?taskInstanceId=${String(totalList[0].id)}&skipLineNum=0&limit=1000`);
    return message;
  }
});

async function ask(api: Pod, route: string, init: RequestInit): Promise<any> {
  return (await fetch(api.url("http", `/dolphinscheduler/${route}`), init)).json();
}
