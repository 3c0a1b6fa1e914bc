import { createHmac } from "node:crypto";
import type { Recipe } from "./recipes";

/** Who DataHub's own parts are to each other. */
export const SYSTEM_CLIENT = "__datahub_system";

/** Kinds of entities that recipes write: what describes data, and the record of their own runs. */
export const WRITTEN = [
  "container",
  "dataHubExecutionRequest",
  "dataHubIngestionSource",
  "dataJob",
  "dataPlatformInstance",
  "dataset",
  "query",
  "schemaField",
  "tag",
];

/** One aspect of an entity, as DataHub takes changes. */
interface Change {
  readonly entityType: string;
  readonly entityUrn: string;
  readonly changeType: "UPSERT";
  readonly aspectName: string;
  readonly aspect: { readonly json: object };
}

/** A user of DataHub who may write {@link WRITTEN}, and nothing else that not everybody may. */
export function accountOf(user: string): Change[] {
  const change = (entityType: string, id: string, aspectName: string, json: object): Change => ({
    entityType,
    entityUrn: `urn:li:${entityType}:${id}`,
    changeType: "UPSERT",
    aspectName,
    aspect: { json },
  });
  return [
    change("corpuser", user, "corpUserInfo", { active: true, displayName: "Ingestion", title: "Recipes by the clock" }),
    change("dataHubPolicy", user, "dataHubPolicyInfo", {
      displayName: "Ingestion",
      description: "What the recipes of the platform write",
      type: "METADATA",
      state: "ACTIVE",
      editable: false,
      // Who records a run of a recipe must be allowed to run it.
      privileges: ["EDIT_ENTITY", "VIEW_ENTITY_PAGE", "EXECUTE_ENTITY"],
      actors: { users: [`urn:li:corpuser:${user}`], resourceOwners: false, allUsers: false, allGroups: false },
      resources: { filter: { criteria: [{ field: "TYPE", values: WRITTEN, condition: "EQUALS" }] } },
    }),
  ];
}

/** The recipe that makes a user of a file with {@link accountOf}: without a token it writes as the system. */
export function accountRecipe(gms: string, file: string): Recipe {
  return {
    pipeline_name: "account",
    source: { type: "file", config: { path: file } },
    sink: { type: "datahub-rest", config: { server: gms } },
  };
}

/**
 * A token for a user of DataHub, as its service for tokens without a record signs them. It is good until the key changes, which
 * makes another one.
 */
export function accessToken(user: string, signingKey: string): string {
  const claims = {
    version: "1",
    type: "PERSONAL",
    actorType: "USER",
    actorId: user,
    sub: user,
    iss: "datahub-metadata-service",
  };
  const signed = [{ alg: "HS256" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${signed}.${createHmac("sha256", signingKey).update(signed).digest("base64url")}`;
}
