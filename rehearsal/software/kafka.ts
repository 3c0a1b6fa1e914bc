import * as fs from "node:fs";
import * as path from "node:path";
import { kafkaVersion } from "../../components/base/versions";
import { cacheDirectory } from "../simulation/toolchain";
import { withLock } from "../simulation/toolchain/lock";
import { fetchJars } from "./maven";

// The last release of Strimzi's reporter on Maven Central; its image has 0.4.0, which names metrics in the same way.
const REPORTER = "0.2.0";
// The broker, and what writes its log and shows its metrics.
const ARTIFACTS = [
  `org.apache.kafka:kafka_2.13:${kafkaVersion}`,
  "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
  `io.strimzi:metrics-reporter:${REPORTER}`,
];

/** Finds Kafka's jars in the cache, or fetches them from Maven Central; returns their directory. */
export async function ensureKafka(progress: (line: string) => void): Promise<string> {
  const all = path.join(cacheDirectory(), "kafka");
  const directory = path.join(all, [kafkaVersion, REPORTER].join("-"));
  if (!fs.existsSync(directory)) {
    fs.mkdirSync(all, { recursive: true });
    await withLock(`${directory}.lock`, progress, () => {
      if (fs.existsSync(directory)) return Promise.resolve();
      progress(`fetching Kafka ${kafkaVersion}`);
      const unfinished = `${directory}.unfinished`;
      fs.rmSync(unfinished, { recursive: true, force: true });
      fs.mkdirSync(unfinished);
      fetchJars(unfinished, ARTIFACTS);
      fs.renameSync(unfinished, directory);
      return Promise.resolve();
    });
  }
  return path.join(directory, "lib");
}
