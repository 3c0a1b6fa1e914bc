import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { type Cluster, OUT, theCluster } from "./harness/cluster";
import { eventually } from "./harness/eventually";
import { selects } from "./harness/program";
import { rayCluster } from "./harness/systems";

describe("Prometheus", () => {
  let cluster: Cluster;
  before(async () => {
    cluster = await theCluster();
    await rayCluster(cluster);
  });

  it("scrapes every pod that a monitor selects", async () => {
    const prometheus = await cluster.prometheus();
    const targets = await prometheus.targets();
    const monitors = cluster.program.all("PodMonitor");
    const selected = (await cluster.pods())
      .filter((pod) => monitors.some(({ spec }) => selects(spec.selector.matchLabels, pod.labels)))
      .map(({ name }) => name);
    assert.deepEqual(targets.map(({ labels }) => labels["pod"]).sort(), selected.sort());
    assert.deepEqual(
      targets.filter(({ health }) => health !== "up").map(({ labels, lastError }) => `${labels["pod"]}: ${lastError}`),
      [],
    );
    await keep(targets.map(({ labels, scrapeUrl }) => [labels["pod"] ?? "", scrapeUrl]));
  });

  it("leaves no monitor without a pod", async () => {
    const pods = await cluster.pods();
    const idle = cluster.program
      .all("PodMonitor")
      .filter(({ spec }) => !pods.some((pod) => selects(spec.selector.matchLabels, pod.labels)))
      .map(({ metadata }) => metadata.name);
    assert.deepEqual(idle, []);
  });

  it("notices a worker that is lost", async () => {
    const lost = await cluster.pod("ray-worker");
    const prometheus = await cluster.prometheus();
    const expression = `up{pod="${lost.name}"}`;
    assert.deepEqual(
      (await prometheus.query(expression)).map(({ value }) => value),
      [1],
    );
    lost.kill();
    await eventually(20, async () => {
      assert.deepEqual(
        (await prometheus.query(expression)).map(({ value }) => value),
        [0],
      );
    });
    await cluster.stop(lost, { atOnce: true });
    await cluster.pod("ray-worker");
  });
});

/** Leaves the whole text of each target for people who write rules and dashboards. */
async function keep(targets: readonly (readonly [string, string])[]): Promise<void> {
  const directory = path.join(OUT, "metrics");
  fs.mkdirSync(directory, { recursive: true });
  for (const [pod, url] of targets) {
    fs.writeFileSync(path.join(directory, `${pod}.txt`), await (await fetch(url)).text());
  }
}
