import { BlockList } from "node:net";
import type { z } from "zod";
import type { ObjectStore, Postgres } from "./data";

/** What is wrong with a value of `postgres`: its key and the reason. */
export interface BackupFault {
  readonly path: readonly string[];
  readonly message: string;
}

interface Parts {
  readonly postgres?: z.output<typeof Postgres> | undefined;
  readonly objectStore?: z.output<typeof ObjectStore> | undefined;
  readonly cluster: { readonly podCidr: string };
}

/** What is wrong with the backups of PostgreSQL, and with what it is restored from. */
export function backupFaults({ postgres, objectStore, cluster }: Parts): BackupFault[] {
  if (postgres === undefined) return [];
  const { backups, restoreFrom } = postgres;
  const faults: BackupFault[] = [];
  const fault = (key: string, message: string) => faults.push({ path: key.split("."), message });

  const target = backups?.target;
  if (target?.kind === "object-store" && objectStore === undefined) {
    fault(
      "backups.target.kind",
      `"object-store" needs objectStore, which is off; describe it, or name an "external" one`,
    );
  } else if (target !== undefined && target.acknowledges === undefined) {
    const reason = insideReason(target, objectStore, cluster);
    if (reason !== undefined) {
      fault(
        "backups.target",
        `"${target.kind}" lies on volumes of the cluster that it protects, since ${reason}; ` +
          `name an "external" one outside of it, or add \`acknowledges: lost-with-the-cluster\``,
      );
    }
  }
  if (restoreFrom !== undefined && backups === undefined) {
    fault(
      "restoreFrom",
      `needs postgres.backups, whose target holds "${restoreFrom.archive}"; describe postgres.backups`,
    );
  }
  if (restoreFrom !== undefined && restoreFrom.archive === backups?.archive) {
    fault(
      "backups.archive",
      `"${restoreFrom.archive}" is what the server is restored from, and it may not write there; ` +
        `name a new one such as ${restoreFrom.archive}-2`,
    );
  }
  return faults;
}

type Target = NonNullable<z.output<typeof Postgres>["backups"]>["target"];

/** By what one sees that backups stay in the cluster; undefined where they leave it. */
function insideReason(
  target: Target,
  objectStore: Parts["objectStore"],
  cluster: Parts["cluster"],
): string | undefined {
  if (target.kind === "external") return addressReason("backups.target", target, cluster);
  if (objectStore?.kind === "external") return addressReason("objectStore", objectStore, cluster);
  return objectStore && `objectStore.kind is "${objectStore.kind}"`;
}

function addressReason(
  key: string,
  { url, cidrs }: { readonly url: string; readonly cidrs: readonly string[] },
  { podCidr }: Parts["cluster"],
): string | undefined {
  const { hostname } = new URL(url);
  // One label, or a Service's full name, whatever the domain of the cluster is.
  if (/^[^.:]+\.?$|\.svc(\.|$)/.test(hostname)) return `${key}.url names a Service, ${hostname}`;
  const inside = cidrs.find((cidr) => isWithin(podCidr, cidr));
  return inside && `${inside} of ${key}.cidrs lies in cluster.podCidr`;
}

function isWithin(network: string, cidr: string): boolean {
  const [base = "", prefix] = network.split("/");
  const [address = "", length] = cidr.split("/");
  const addresses = new BlockList();
  addresses.addSubnet(base, Number(prefix));
  return Number(length) >= Number(prefix) && addresses.check(address);
}
