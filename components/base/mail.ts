import type * as pulumi from "@pulumi/pulumi";
import type { ExternalPeer } from "./endpoint";

/** The server that sends the platform's mail: with STARTTLS, on port 465 with TLS from the start. */
export interface MailServer {
  readonly server: string;
  readonly port: number;
  readonly username: string;
  readonly password: pulumi.Output<string>;
  /** The sender of every mail. */
  readonly from: string;
  /** Its network destination. */
  readonly destination: ExternalPeer;
}
