import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { Program } from "./program";
import type { Rendered } from "./rendered";

const made = new Map<string, Readonly<Record<string, Buffer>>>();

/** The Secret that cert-manager would make of a Certificate: the same at each call, and signed by itself. */
export function certificate({ spec }: Rendered): Readonly<Record<string, Buffer>> {
  const known = made.get(spec.secretName) ?? issue(spec);
  made.set(spec.secretName, known);
  return known;
}

/** The contents of a Secret that cert-manager would make; nothing for those of others. */
export function issuedAs(secretName: string, program: Program): Readonly<Record<string, Buffer>> | undefined {
  const found = program.all("Certificate").find(({ spec }) => spec.secretName === secretName);
  return found && certificate(found);
}

/** The certificate of servers outside, by these names, which pods trust where the stack says so. */
export function outsideCertificate(...dnsNames: string[]): { readonly key: Buffer; readonly cert: Buffer } {
  const { "tls.key": key, "tls.crt": cert } = issue({
    secretName: "outside",
    dnsNames,
    keystores: { pkcs12: { password: "changeit" } },
  });
  if (key === undefined || cert === undefined) throw new Error("openssl wrote no certificate");
  return { key, cert };
}

function issue({ secretName, dnsNames, keystores }: any): Readonly<Record<string, Buffer>> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "carbon-certificate-"));
  const openssl = (...args: string[]): void => {
    execFileSync("openssl", args, { cwd: directory, stdio: "ignore" });
  };
  const names = dnsNames.map((name: string) => `DNS:${name}`).join(",");
  const subject = ["-subj", `/CN=${secretName}`, "-addext", `subjectAltName=${names}`];
  openssl(
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "1",
    ...subject,
    "-keyout",
    "tls.key",
    "-out",
    "tls.crt",
  );
  const { password } = keystores.pkcs12;
  // Java takes only what is marked as trusted for a CA, which this openssl does not do.
  const store = ["-keystore", "truststore.p12", "-storetype", "PKCS12", "-storepass", password];
  execFileSync("keytool", ["-importcert", "-noprompt", "-file", "tls.crt", ...store], {
    cwd: directory,
    stdio: "ignore",
  });
  const read = (file: string): Buffer => fs.readFileSync(path.join(directory, file));
  const [crt, key, trust] = [read("tls.crt"), read("tls.key"), read("truststore.p12")];
  fs.rmSync(directory, { recursive: true });
  return { "tls.crt": crt, "tls.key": key, "ca.crt": crt, "truststore.p12": trust };
}
