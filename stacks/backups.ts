import type { z } from "zod";
import type { ObjectStore, Postgres } from "./config/data";

/** What is wrong with a value of `postgres`: its key and the reason. */
export interface BackupFault {
  readonly path: readonly string[];
  readonly message: string;
}

interface Parts {
  readonly postgres?: z.output<typeof Postgres> | undefined;
  readonly objectStore?: z.output<typeof ObjectStore> | undefined;
}

/** What is wrong with the backups of PostgreSQL, and with what it is restored from. */
export function backupFaults({ postgres, objectStore }: Parts): BackupFault[] {
  if (postgres === undefined) return [];
  const { backups, restoreFrom } = postgres;
  const faults: BackupFault[] = [];
  const fault = (key: string, message: string) => faults.push({ path: key.split("."), message });

  if (backups?.target.kind === "object-store") {
    if (objectStore === undefined) {
      fault(
        "backups.target.kind",
        `"object-store" needs objectStore, which is off; describe it, or name an "external" one`,
      );
    } else if (objectStore.kind !== "external" && backups.target.acknowledges === undefined) {
      fault(
        "backups.target",
        `"object-store" lies on volumes of the cluster that it protects, since objectStore.kind is "${objectStore.kind}"; ` +
          `name an "external" one, or add \`acknowledges: lost-with-the-cluster\``,
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
