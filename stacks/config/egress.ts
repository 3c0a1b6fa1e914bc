import { z } from "zod";
import { isDirect } from "../../components/base/outside";
import { certificates, outside } from "./shapes";

const host = z
  .string()
  .regex(/^\.?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, "expected a host such as idp.example.com, or a domain");

/** How pods reach servers outside the cluster. */
export const Egress = z.strictObject({
  proxy: z
    .strictObject({
      url: z
        .url({
          protocol: /^http$/,
          error: "expected a URL such as http://proxy.example.com:3128",
          abort: true,
        })
        .refine((url) => new URL(url).username === "", { error: "has a login in it, which is not supported" }),
      ...outside,
      noProxy: z
        .array(host)
        .default([])
        .meta({ description: "Servers that are asked directly, with those of the domains below" }),
    })
    .optional()
    .meta({ description: "HTTP proxy through which pods ask servers outside that speak HTTP" }),
  certificates: certificates
    .optional()
    .meta({ description: "Certificates, in PEM, that pods trust outside besides those of the public authorities" }),
});

type Server = { readonly kind: string; readonly url?: string; readonly issuer?: string; readonly jwks?: string };

/** What goes outside. */
interface EgressConfig {
  readonly egress?: z.output<typeof Egress> | undefined;
  readonly objectStore?: Server | undefined;
  readonly postgres?:
    { readonly kind?: string | undefined; readonly backups?: { readonly target: Server } | undefined } | undefined;
  readonly gateway?:
    | {
        readonly people: Server;
        readonly programs: Server;
        readonly certificates: Server & { readonly server?: string };
      }
    | undefined;
  readonly singleSignOn?: { readonly issuer: string; readonly datahub?: object | undefined } | undefined;
  readonly certManager: unknown;
}

/** A fault for each server that must be asked through the proxy by a program that knows none. */
export function egressFaults(config: EgressConfig): { readonly path: readonly string[]; readonly message: string }[] {
  const { egress, objectStore, postgres, gateway, singleSignOn, certManager } = config;
  const { proxy } = egress ?? {};
  if (proxy === undefined) return [];
  const acme = certManager === "existing" ? gateway?.certificates.server : undefined;
  const asked: readonly (readonly [string, string, string | undefined])[] = [
    ["objectStore.url", "not all clients of S3 know a proxy", objectStore?.url],
    ["postgres.backups.target.url", "PostgreSQL's backups know no proxy", postgres?.backups?.target.url],
    ["gateway.people", "Envoy knows no proxy", gateway?.people.jwks ?? gateway?.people.issuer],
    ["gateway.programs", "Envoy knows no proxy", gateway?.programs.jwks],
    ["gateway.certificates", "a cert-manager that is not the platform's is told of no proxy", acme],
    ["singleSignOn.datahub", "DataHub's Java knows no proxy", singleSignOn?.datahub && singleSignOn.issuer],
  ];
  return asked.flatMap(([key, why, url]) => {
    if (url === undefined || isDirect(proxy.noProxy, new URL(url).hostname)) return [];
    const message = `${why}, and ${new URL(url).hostname} would be asked through it; add it to egress.proxy.noProxy`;
    return [{ path: key.split("."), message }];
  });
}
