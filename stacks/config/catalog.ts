import { z } from "zod";
import { Size } from "./shapes";

/** DataHub, and the recipes that fill it. */
export const Datahub = z.strictObject({
  gms: Size.meta({ description: "The metadata service" }),
  frontend: Size,
  maeConsumer: Size.meta({ description: "What writes changes to the search indices" }),
  mceConsumer: Size.meta({ description: "What takes proposed changes from Kafka" }),
  systemUpdate: Size.meta({ description: "A Job that prepares tables, topics and indices" }),
  ingestion: Size.optional().meta({
    description: "The pod of a recipe: with it, each source that is deployed is looked at by the clock",
  }),
});
