import type { z } from "zod";
import { isWithin } from "../../components/base/networks";
import type { ObjectStore, Postgres } from "./data";

/** A fault: the key below `postgres` and the reason. */
export interface BackupFault {
  readonly path: readonly string[];
  readonly message: string;
}

interface Parts {
  readonly postgres?: z.output<typeof Postgres> | undefined;
  readonly objectStore?: z.output<typeof ObjectStore> | undefined;
  readonly cluster: { readonly podCidr: string };
}

/** Faults in the backups of PostgreSQL and in its restore. */
export function backupFaults({ postgres, objectStore, cluster }: Parts): BackupFault[] {
  if (postgres === undefined || postgres.kind === "external") return [];
  const { backups, restoreFrom } = postgres;
  const faults: BackupFault[] = [];
  const fault = (key: string, message: string) => faults.push({ path: key.split("."), message });

  const target = backups?.target;
  if (target?.kind === "object-store" && objectStore === undefined) {
    fault(
      "backups.target.kind",
      `"object-store" needs objectStore, which is not configured; configure it, or use an "external" target`,
    );
  } else if (target !== undefined && target.acknowledges === undefined) {
    const reason = insideReason(target, objectStore, cluster);
    if (reason !== undefined) {
      fault(
        "backups.target",
        `"${target.kind}" is stored on volumes of the cluster that it protects, since ${reason}; ` +
          `use an "external" target outside the cluster, or add \`acknowledges: lost-with-the-cluster\``,
      );
    }
  }
  if (restoreFrom !== undefined && backups === undefined) {
    fault(
      "restoreFrom",
      `needs postgres.backups, whose target holds "${restoreFrom.archive}"; configure postgres.backups`,
    );
  }
  if (restoreFrom !== undefined && restoreFrom.archive === backups?.archive) {
    fault(
      "backups.archive",
      `the server is restored from "${restoreFrom.archive}" and may not write to it; ` +
        `choose a new archive such as ${restoreFrom.archive}-2`,
    );
  }
  return faults;
}

type OwnPostgres = Exclude<z.output<typeof Postgres>, { readonly kind: "external" }>;
type Target = NonNullable<OwnPostgres["backups"]>["target"];

/** Why backups stay inside the cluster; undefined if they leave it. */
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
  // A single label or a Service's full name, whatever the cluster domain is.
  if (/^[^.:]+\.?$|\.svc(\.|$)/.test(hostname)) return `${key}.url names the Service ${hostname}`;
  const inside = cidrs.find((cidr) => isWithin(podCidr, cidr));
  return inside && `${inside} of ${key}.cidrs is inside cluster.podCidr`;
}
