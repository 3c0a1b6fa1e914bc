import { randomUUID } from "node:crypto";
import * as http from "node:http";
import { json, text } from "node:stream/consumers";

/** A request that the double does not answer with 200. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** A table as Iceberg's API loads it, without a snapshot. */
const TABLE = {
  "metadata-location": "s3://iceberg-warehouse/prices/daily/metadata/00000.metadata.json",
  metadata: {
    "format-version": 2,
    "table-uuid": "0e0ce8a5-7b0b-4c5c-9a53-0d2b1c1f9d57",
    location: "s3://iceberg-warehouse/prices/daily",
    "last-sequence-number": 0,
    "last-updated-ms": 0,
    "last-column-id": 1,
    "current-schema-id": 0,
    schemas: [
      {
        type: "struct",
        "schema-id": 0,
        fields: [{ id: 1, name: "code", required: false, type: "string" }],
      },
    ],
    "default-spec-id": 0,
    "partition-specs": [{ "spec-id": 0, fields: [] }],
    "last-partition-id": 999,
    "default-sort-order-id": 0,
    "sort-orders": [{ "order-id": 0, fields: [] }],
    properties: {},
  },
};

interface Principal {
  clientId: string;
  secret: string;
  readonly roles: Set<string>;
}

/**
 * A double of Polaris 1.7.0, which is on no registry: tokens, and of its management API what the set-up uses, with the answers
 * of its specification (polaris-management-service.yml) and code: 409 for what is there, 401 for a wrong secret, a version
 * that an update has to name, a secret made up for each new principal. Of Iceberg's API it has what lists tables, of which there
 * is one, `prices.daily`, for clients with the privileges that it takes (IcebergCatalogHandler, RbacOperationSemantics): on the
 * catalog, or on a namespace, which has to be there (PolarisAdminService).
 */
export class PolarisDouble {
  readonly principals = new Map<string, Principal>();
  readonly principalRoles = new Map<string, Set<string>>([["service_admin", new Set()]]);
  readonly catalogs = new Map<string, any>();
  /** By role: the privileges on the catalog, and those on a namespace as `<namespace>:<privilege>`. */
  readonly grants = new Map<string, Set<string>>();
  readonly namespaces = new Map<string, object>([["prices", {}]]);
  /** Every request that changed something, as `METHOD path`. */
  readonly changes: string[] = [];
  private readonly tokens = new Map<string, string>();
  private readonly server = http.createServer((request, response) => void this.answer(request, response));

  constructor(rootSecret: string) {
    this.principals.set("root", { clientId: "root", secret: rootSecret, roles: new Set(["service_admin"]) });
  }

  listen(address: string): Promise<void> {
    return new Promise((resolve) => this.server.listen(8181, address, resolve));
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    try {
      const body = await this.handle(request);
      response.writeHead(body === undefined ? 201 : 200).end(JSON.stringify(body));
    } catch (error) {
      response.writeHead(error instanceof Refusal ? error.status : 500).end(String(error));
    }
  }

  private async handle(request: http.IncomingMessage): Promise<object | undefined> {
    const { method = "", url = "", headers } = request;
    if (url === "/api/catalog/v1/oauth/tokens") return this.token(new URLSearchParams(await text(request)));
    const client = this.tokens.get(headers.authorization ?? "");
    const [, read] = /^\/api\/catalog\/v1\/([^?]*)/.exec(url) ?? [];
    if (read !== undefined && client !== undefined) {
      const body: any = method === "POST" ? await json(request) : {};
      return this.read(client, `${method} ${read}`, body, String(headers["x-iceberg-access-delegation"] ?? ""));
    }
    const [, path = ""] = /^\/api\/management\/v1(\/.*)$/.exec(url) ?? [];
    if (client !== "root") throw new Refusal(401, "not authorized");
    const body: any = ["GET", "DELETE"].includes(method) ? {} : await json(request);
    const result = this.manage(method, path, body);
    if (method !== "GET") this.changes.push(`${method} ${path}`);
    return result;
  }

  private token(form: URLSearchParams): object {
    if (!form.get("scope")?.startsWith("PRINCIPAL_ROLE:")) throw new Refusal(400, "invalid_scope");
    for (const [name, { clientId, secret }] of this.principals) {
      if (clientId !== form.get("client_id") || secret !== form.get("client_secret")) continue;
      const token = randomUUID();
      this.tokens.set(`Bearer ${token}`, name);
      return { access_token: token, token_type: "bearer" };
    }
    throw new Refusal(401, "unauthorized_client");
  }

  /** What a client sees of the tables; `delegation` says whether it wants credentials of the store, too. */
  private read(client: string, request: string, body: any, delegation: string): object {
    const grants = [...this.there(this.principals, client).roles]
      .flatMap((role) => [...this.there(this.principalRoles, role)])
      .flatMap((role) => [...this.there(this.grants, role)]);
    const to = <T>(privilege: string, answer: T, namespace = ""): T => {
      const wider = privilege.startsWith("TABLE_") ? "TABLE_FULL_METADATA" : "CATALOG_MANAGE_CONTENT";
      const enough = ["CATALOG_MANAGE_CONTENT", privilege, ...[privilege, wider].map((one) => `${namespace}:${one}`)];
      // Who made the catalog manages its metadata.
      if (client === "root" || enough.some((one) => grants.includes(one))) return answer;
      throw new Refusal(403, `${client} has no ${privilege}`);
    };
    const [, listed] = /^GET iceberg\/namespaces\/(\w+)\/tables$/.exec(request) ?? [];
    if (listed !== undefined && listed !== "prices") {
      this.there(this.namespaces, listed);
      return to("TABLE_LIST", { identifiers: [] }, listed);
    }
    switch (request) {
      case "GET config":
        return { defaults: {}, overrides: { prefix: "iceberg" } };
      case "GET iceberg/namespaces":
        return to("NAMESPACE_LIST", { namespaces: [...this.namespaces.keys()].map((name) => [name]) });
      case "POST iceberg/namespaces": {
        const answer = to("NAMESPACE_CREATE", { namespace: body.namespace });
        this.fresh(this.namespaces, body.namespace[0], {});
        return answer;
      }
      case "DELETE iceberg/namespaces/carbon_proof": {
        const answer = to("NAMESPACE_DROP", {});
        this.namespaces.delete("carbon_proof");
        return answer;
      }
      case "GET iceberg/namespaces/prices":
        return to("NAMESPACE_READ_PROPERTIES", { namespace: ["prices"], properties: {} });
      case "GET iceberg/namespaces/prices/tables":
        return to("TABLE_LIST", { identifiers: [{ namespace: ["prices"], name: "daily" }] });
      case "GET iceberg/namespaces/prices/tables/daily":
        return to(delegation === "" ? "TABLE_READ_PROPERTIES" : "TABLE_READ_DATA", TABLE);
      default:
        throw new Refusal(501, `the double knows no ${request}`);
    }
  }

  private manage(method: string, path: string, body: any): object | undefined {
    const [kind = "", name = "", part = "", inner = "", last = ""] = path.split("/").slice(1);
    switch (`${method} ${[kind, part, last].filter((word) => word !== "").join(" ")}`) {
      case "GET catalogs":
        return this.there(this.catalogs, name);
      case "POST catalogs":
        this.fresh(this.catalogs, body.catalog.name, { ...body.catalog, entityVersion: 1 });
        return undefined;
      case "PUT catalogs": {
        const catalog = this.there(this.catalogs, name);
        const { currentEntityVersion, ...update } = body;
        if (currentEntityVersion !== catalog.entityVersion) throw new Refusal(409, "CommitConflictException");
        this.catalogs.set(name, { ...catalog, ...update, entityVersion: Number(catalog.entityVersion) + 1 });
        return this.catalogs.get(name);
      }
      case "GET principals":
        return { principals: [...this.principals.keys()].map((one) => ({ name: one })) };
      case "DELETE principals": {
        this.gone(this.principals, name);
        return;
      }
      case "DELETE principal-roles": {
        this.gone(this.principalRoles, name);
        return;
      }
      case "DELETE catalogs catalog-roles": {
        this.gone(this.grants, `${name}/${inner}`);
        return;
      }
      case "POST principals": {
        const made = { clientId: randomUUID(), secret: randomUUID(), roles: new Set<string>() };
        this.fresh(this.principals, body.principal.name, made);
        return { principal: body.principal, credentials: { clientId: made.clientId, clientSecret: made.secret } };
      }
      case "POST principals reset": {
        const principal = this.there(this.principals, name);
        principal.clientId = body.clientId;
        principal.secret = body.clientSecret;
        return { principal: { name }, credentials: body };
      }
      case "PUT principals principal-roles":
        this.there(this.principalRoles, body.principalRole.name);
        this.there(this.principals, name).roles.add(body.principalRole.name);
        return undefined;
      case "POST principal-roles":
        this.fresh(this.principalRoles, body.principalRole.name, new Set());
        return undefined;
      case "PUT principal-roles catalog-roles":
        this.there(this.grants, `${inner}/${body.catalogRole.name}`);
        this.there(this.principalRoles, name).add(`${inner}/${body.catalogRole.name}`);
        return undefined;
      case "POST catalogs catalog-roles":
        this.there(this.catalogs, name);
        this.fresh(this.grants, `${name}/${body.catalogRole.name}`, new Set());
        return undefined;
      case "GET catalogs catalog-roles grants": {
        const held = [...this.there(this.grants, `${name}/${inner}`)];
        return {
          grants: held.map((grant) => {
            const [privilege, namespace] = grant.split(":").reverse();
            return namespace === undefined
              ? { type: "catalog", privilege }
              : { type: "namespace", namespace: [namespace], privilege };
          }),
        };
      }
      case "PUT catalogs catalog-roles grants":
        for (const namespace of body.grant.namespace ?? []) this.there(this.namespaces, namespace);
        this.there(this.grants, `${name}/${inner}`).add(written(body.grant));
        return undefined;
      case "POST catalogs catalog-roles grants":
        this.there(this.grants, `${name}/${inner}`).delete(written(body.grant));
        return undefined;
      default:
        throw new Refusal(501, `the double knows no ${method} ${path}`);
    }
  }

  private there<T>(all: ReadonlyMap<string, T>, name: string): T {
    const found = all.get(name);
    if (found === undefined) throw new Refusal(404, `${name} does not exist`);
    return found;
  }

  private gone<T>(all: Map<string, T>, name: string): undefined {
    this.there(all, name);
    all.delete(name);
  }

  private fresh<T>(all: Map<string, T>, name: string, value: T): void {
    if (all.has(name)) throw new Refusal(409, `${name} already exists`);
    all.set(name, value);
  }
}

function written({ namespace, privilege }: { namespace?: string[]; privilege: string }): string {
  return [...(namespace ?? []), privilege].join(":");
}
