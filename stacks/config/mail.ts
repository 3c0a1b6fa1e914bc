import { z } from "zod";
import { outside, port } from "./shapes";

/** The server that sends mail. */
export const Mail = z.strictObject({
  server: z.hostname("expected a host name").meta({ description: "SMTP server, with a certificate of its name" }),
  port: port.default(587).meta({ description: "465 speaks TLS from the start, every other port must offer STARTTLS" }),
  username: z.string().min(1).meta({ description: "Login at the server; its password is carbon:mailPassword" }),
  from: z.email("expected an address").meta({ description: "Sender of every mail" }),
  ...outside,
});

/** What needs mail. */
interface MailConfig {
  readonly mail?: object | undefined;
  readonly monitoring?: { readonly paging: { readonly kind: string } } | undefined;
}

/** A fault if alerts are mailed and nothing sends mail. */
export function mailFaults({ mail, monitoring }: MailConfig): { readonly path: string[]; readonly message: string }[] {
  if (mail !== undefined || monitoring?.paging.kind !== "email") return [];
  return [{ path: ["monitoring", "paging"], message: "needs mail, which is not configured; configure mail" }];
}
