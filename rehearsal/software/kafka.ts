import * as path from "node:path";
import { kafkaVersion } from "../../components/base/versions";
import { cached } from "./cached";
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
  const name = `kafka/${kafkaVersion}-${REPORTER}`;
  const directory = await cached(name, `Kafka ${kafkaVersion}`, progress, (unfinished) => {
    fetchJars(unfinished, ARTIFACTS);
  });
  return path.join(directory, "lib");
}
