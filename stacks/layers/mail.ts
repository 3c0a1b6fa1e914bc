import type { MailServer } from "../../components/base/mail";
import type { PlatformConfig } from "../config/schema";
import type { Secrets } from "../config/secrets";

/** The server that sends mail, where the stack has one. */
export function mailServer({ mail }: PlatformConfig, secrets: Secrets): { readonly mail?: MailServer } {
  if (mail === undefined) return {};
  const { cidrs, ...server } = mail;
  const destination = {
    kind: "external",
    name: "mail",
    cidrs,
    port: server.port,
    why: "mail",
    outside: { host: server.server, http: false },
  } as const;
  return { mail: { ...server, password: secrets.get("mailPassword"), destination } };
}
