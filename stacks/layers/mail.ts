import type { MailServer } from "../../components/base/mail";
import type { PlatformConfig } from "../config/schema";
import type { Secrets } from "../config/secrets";

/** The server that sends mail, where the stack has one. */
export function mailServer({ mail }: PlatformConfig, secrets: Secrets): MailServer | undefined {
  if (mail === undefined) return undefined;
  const { cidrs, ...server } = mail;
  return {
    ...server,
    password: secrets.get("mailPassword"),
    destination: {
      ...{ kind: "external", name: "mail", cidrs, port: server.port, why: "mail" },
      outside: { host: server.server, http: false },
    },
  };
}
