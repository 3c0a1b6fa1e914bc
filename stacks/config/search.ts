import { z } from "zod";
import { exporter, size, Size, Volume } from "./shapes";

/** Elasticsearch and its operator. */
export const Elasticsearch = z.strictObject({
  nodes: z
    .int()
    .min(1)
    .meta({ description: "Nodes, each eligible as master and holding data; two are no safer than one" }),
  ...size,
  volume: Volume,
  operator: Size,
  exporter,
  readable: z
    .array(
      z
        .string()
        .regex(/^[a-z0-9][a-z0-9_.*-]*$/, "expected a pattern that begins with a letter or digit, such as sales-*"),
    )
    .min(1)
    .meta({ description: "Name patterns of the indices that Trino may read" }),
});

/** Neo4j: one server. */
export const Neo4j = z.strictObject({ ...size, volume: Volume }).meta({
  description:
    "The store of DataHub's graph, else Elasticsearch; when it comes or goes, rebuild the graph (docs/datahub.md)",
});
