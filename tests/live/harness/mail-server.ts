import { text } from "node:stream/consumers";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import type { Cluster } from "./cluster";

/** Its name and port. */
export const MAIL = { server: "smtp.example.com", port: 2587 };

/** A mail server that takes mail over TLS alone, from one user, and keeps it. */
export class MailServer {
  /** What arrived, as it was sent. */
  readonly mails: string[] = [];
  private readonly server: SMTPServer;

  private constructor({ username, password, ...certificate }: MailServerArgs) {
    this.server = new SMTPServer({
      ...certificate,
      onAuth: (login, _, answer) => {
        const isKnown = login.username === username && login.password === password;
        answer(isKnown ? undefined : new Error("unknown user"), { user: username });
      },
      onData: (stream, _, answer) => {
        void text(stream).then((mail) => {
          this.mails.push(mail);
          answer();
        });
      },
    });
  }

  /** Starts it at the address of the tests, and has its name lead there. */
  static async start(cluster: Cluster, args: MailServerArgs): Promise<MailServer> {
    const mail = new MailServer(args);
    await new Promise<void>((resolve) => mail.server.listen(MAIL.port, cluster.own, resolve));
    cluster.publishHosts(cluster.own, [MAIL.server]);
    return mail;
  }

  close(): void {
    this.server.close();
  }
}

/** Its certificate, and who may send. */
interface MailServerArgs extends Required<Pick<SMTPServerOptions, "key" | "cert">> {
  readonly username: string;
  readonly password: string;
}
