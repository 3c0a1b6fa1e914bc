import { z } from "zod";
import { Size } from "./shapes";

/** DataHub and its ingestion. */
export const Datahub = z.strictObject({
  gms: Size.meta({ description: "The metadata service" }),
  frontend: Size,
  maeConsumer: Size.meta({ description: "The consumer that writes metadata changes to the search indices" }),
  mceConsumer: Size.meta({ description: "The consumer that applies proposed changes from Kafka" }),
  systemUpdate: Size.meta({ description: "The Job that prepares tables, topics and indices" }),
  ingestion: Size.optional().meta({
    description: "The pod of an ingestion recipe; if set, every deployed source is ingested on a schedule",
  }),
});
