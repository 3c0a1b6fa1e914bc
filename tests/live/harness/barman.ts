import { issuedAs } from "./certificates";
import type { Program } from "./program";

/**
 * The command lines of barman's programs, as the plugin's library (cloudnative-pg/barman-cloud, `pkg/archiver`, `pkg/backup` and
 * `pkg/restorer`) makes them from an ObjectStore and a Cluster.
 */
export interface Barman {
  readonly env: Readonly<Record<string, string>>;
  /** The content of the file {@link BARMAN_CA}. */
  readonly ca: string | Buffer;
  readonly archiveCommand: readonly string[];
  readonly backUp: readonly string[];
  readonly list: readonly string[];
  readonly fetchCommand: readonly string[];
  readonly restore: (directory: string) => readonly string[];
  readonly check: (archive: string) => readonly string[];
}

/** Where the plugin has the CA of the object store. */
export const BARMAN_CA = "/controller/certificates/backup-barman-ca.crt";
const BACKUP = "backup-live";

/** How a Cluster of the program is backed up. */
export function barmanOf(program: Program, cluster: any): Barman {
  const [{ parameters }] = cluster.plugins;
  const { configuration } = program.object(parameters.barmanObjectName, "ObjectStore")["spec"];
  const { destinationPath, endpointURL, endpointCA, s3Credentials, wal, data } = configuration;
  const credential = ({ name, key }: any): string => program.data("Secret", name)[key] ?? "";
  const where = ["--endpoint-url", endpointURL, "--cloud-provider", "aws-s3", destinationPath];
  const store = [...where, parameters.serverName];
  return {
    ca: issuedAs(endpointCA.name, program)?.[endpointCA.key] ?? "",
    env: {
      AWS_ACCESS_KEY_ID: credential(s3Credentials.accessKeyId),
      AWS_SECRET_ACCESS_KEY: credential(s3Credentials.secretAccessKey),
      AWS_DEFAULT_REGION: credential(s3Credentials.region),
      AWS_CA_BUNDLE: BARMAN_CA,
    },
    archiveCommand: ["barman-cloud-wal-archive", `--${wal.compression}`, ...store],
    backUp: ["barman-cloud-backup", "--user", "postgres", "--name", BACKUP, `--${data.compression}`, ...store],
    list: ["barman-cloud-backup-list", ...store],
    fetchCommand: ["barman-cloud-wal-restore", ...store],
    restore: (directory) => ["barman-cloud-restore", ...store, BACKUP, directory],
    check: (archive) => ["barman-cloud-check-wal-archive", ...where, archive],
  };
}
