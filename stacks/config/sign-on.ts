import { z } from "zod";
import { httpsUrl, identityProvider } from "./shapes";

// Some products read it as a part of an expression or of a list.
const group = z
  .string()
  .regex(/^[\w .:/@=,+-]{1,128}$/, "expected letters, digits, spaces and ._:/@=,+- at most")
  .meta({ description: "Name of a group, as the provider's tokens have it" });
const groups = z.array(group).min(1);
const clientId = z
  .string()
  .min(1)
  .meta({ description: "Name of the client at the provider; docs/sign-on.md has the URL that it redirects to" });

/** A client whose system has these roles alone. */
const client = <Roles extends readonly [string, ...string[]]>(roles: Roles, least: string) => ({
  clientId,
  roles: z
    .partialRecord(z.enum(roles), groups)
    .meta({ description: `Groups of each role. Who is in several gets the highest, and who is in none ${least}` }),
});

/** How people log in at an OpenID Connect provider. */
export const SingleSignOn = z.strictObject({
  ...identityProvider,
  scopes: z
    .array(z.string().regex(/^[\w.:/-]+$/, "expected the name of a scope"))
    .default(["openid", "profile", "email"])
    .meta({ description: "What clients ask for; some providers send groups only with a scope such as `groups`" }),
  groupsClaim: z
    .string()
    .regex(/^[\w.:/-]+$/, "expected the name of a claim")
    .default("groups")
    .meta({ description: "Claim with the list of a person's groups" }),
  superset: z
    .strictObject({
      clientId,
      roles: z
        .record(z.string().regex(/^[\w .-]+$/, "expected the name of a role"), groups)
        .meta({ description: "Groups of each of Superset's roles. Who is in none may not log in" }),
    })
    .optional()
    .meta({ description: "Superset; its secret is carbon:supersetClientSecret" }),
  datahub: z
    .strictObject(client(["Admin", "Editor", "Reader"], "sees what DataHub shows to everybody"))
    .optional()
    .meta({ description: "DataHub; its secret is carbon:datahubClientSecret" }),
  grafana: z
    .strictObject({
      ...client(["Admin", "Editor", "Viewer"], "may not log in"),
      authorizationUrl: httpsUrl.meta({ description: "Where the browser is sent; Grafana cannot ask the provider" }),
      tokenUrl: httpsUrl.meta({ description: "Where Grafana gets tokens" }),
      userInfoUrl: httpsUrl.meta({ description: "Where Grafana gets a person's claims" }),
    })
    .optional()
    .meta({ description: "Grafana; its secret is carbon:grafanaClientSecret" }),
});

// Each as singleSignOn calls it, and where it stands in the stack file.
const SIGN_ON_SYSTEMS = { superset: "superset", datahub: "datahub", grafana: "monitoring.grafana" } as const;

/** A system in which people can log in so. */
export type SignOnSystem = keyof typeof SIGN_ON_SYSTEMS;

/** What single sign-on needs. */
interface SignOnConfig {
  readonly singleSignOn?: z.output<typeof SingleSignOn> | undefined;
  readonly gateway?: { readonly people: { readonly kind: string; readonly issuer?: string } } | undefined;
  readonly superset?: object | undefined;
  readonly datahub?: { readonly ingestion?: object | undefined } | undefined;
  readonly monitoring?: { readonly grafana?: object | undefined } | undefined;
}

/** A fault for everything that single sign-on needs and the stack does not have. */
export function signOnFaults(config: SignOnConfig): { readonly path: readonly string[]; readonly message: string }[] {
  const { singleSignOn, gateway, superset, datahub, monitoring } = config;
  if (singleSignOn === undefined) return [];
  const configured = { superset, datahub, grafana: monitoring?.grafana };
  const clients = (Object.keys(SIGN_ON_SYSTEMS) as SignOnSystem[]).filter((key) => singleSignOn[key] !== undefined);
  const faults = clients.flatMap((key) => {
    const system = SIGN_ON_SYSTEMS[key];
    const fault = (message: string) => ({ path: ["singleSignOn", key], message: `${message}, or remove it` });
    return [
      ...(configured[key] === undefined ? [fault(`${system} is not configured; configure ${system}`)] : []),
      ...(gateway === undefined
        ? [fault("has no public host to which the provider could send people back; configure gateway")]
        : []),
    ];
  });
  if (clients.length === 0) {
    faults.push({ path: ["singleSignOn"], message: `names no system; add ${Object.keys(SIGN_ON_SYSTEMS).join(", ")}` });
  }
  if (gateway?.people.kind === "oidc" && gateway.people.issuer !== singleSignOn.issuer) {
    faults.push({
      path: ["singleSignOn", "issuer"],
      message: `is another than gateway.people.issuer (${String(gateway.people.issuer)}): people would log in twice; name one`,
    });
  }
  if (singleSignOn.datahub && datahub && datahub.ingestion === undefined) {
    faults.push({
      path: ["singleSignOn", "datahub", "roles"],
      message:
        "are written by a Job of datahub.ingestion, which is not configured; configure it, or remove datahub here",
    });
  }
  return faults;
}
