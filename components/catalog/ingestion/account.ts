import { rolesByGroup } from "../../base/sign-on";
import { createHmac } from "node:crypto";
import type { Recipe } from "./recipes";

/** The user of DataHub's own services. */
export const SYSTEM_CLIENT = "__datahub_system";

/** Entity types that recipes write: metadata, and the records of their runs. */
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

/** A change of one aspect of an entity, in DataHub's format. */
interface Change {
  readonly entityType: string;
  readonly entityUrn: string;
  readonly changeType: "UPSERT";
  readonly aspectName: string;
  readonly aspect: { readonly json: object };
}

/** DataHub's own roles. */
export type DatahubRole = "Admin" | "Editor" | "Reader";

/** The roles of the identity provider's groups, under the names by which DataHub makes them at a login. */
export function groupsOf(roles: Readonly<Partial<Record<DatahubRole, readonly string[]>>>): Change[] {
  return [...rolesByGroup(roles)].flatMap(([group, own]) => {
    const id = encodeURIComponent(group).replaceAll("%20", "+");
    return [
      change("corpGroup", id, "corpGroupInfo", { displayName: group, admins: [], members: [], groups: [] }),
      change("corpGroup", id, "roleMembership", { roles: own.map((role) => `urn:li:dataHubRole:${role}`) }),
    ];
  });
}

function change(entityType: string, id: string, aspectName: string, json: object): Change {
  return {
    entityType,
    entityUrn: `urn:li:${entityType}:${id}`,
    changeType: "UPSERT",
    aspectName,
    aspect: { json },
  };
}

/** A DataHub user with the rights of everybody, plus writing {@link WRITTEN}. */
export function accountOf(user: string): Change[] {
  return [
    change("corpuser", user, "corpUserInfo", { active: true, displayName: "Ingestion", title: "Recipes by the clock" }),
    change("dataHubPolicy", user, "dataHubPolicyInfo", {
      displayName: "Ingestion",
      description: "What the recipes of the platform write",
      type: "METADATA",
      state: "ACTIVE",
      editable: false,
      // Recording a recipe's run requires the right to run it.
      privileges: ["EDIT_ENTITY", "VIEW_ENTITY_PAGE", "EXECUTE_ENTITY"],
      actors: { users: [`urn:li:corpuser:${user}`], resourceOwners: false, allUsers: false, allGroups: false },
      resources: { filter: { criteria: [{ field: "TYPE", values: WRITTEN, condition: "EQUALS" }] } },
    }),
  ];
}

/** The recipe that creates the user and the groups from a file; without a token it writes as the system. */
export function accountRecipe(gms: string, file: string): Recipe {
  return {
    pipeline_name: "account",
    source: { type: "file", config: { path: file } },
    sink: { type: "datahub-rest", config: { server: gms } },
  };
}

/**
 * A token for a DataHub user, like those of DataHub's stateless token service. It is valid until it expires or the key changes,
 * which gives a new token.
 */
export function accessToken(user: string, signingKey: string, expires: Date): string {
  const claims = {
    version: "1",
    type: "PERSONAL",
    actorType: "USER",
    actorId: user,
    sub: user,
    iss: "datahub-metadata-service",
    exp: Math.floor(expires.getTime() / 1000),
  };
  const signed = [{ alg: "HS256" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${signed}.${createHmac("sha256", signingKey).update(signed).digest("base64url")}`;
}
