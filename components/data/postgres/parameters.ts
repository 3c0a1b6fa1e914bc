import type { ContainerSize } from "../../base/pod";
import type { Volume } from "../../base/volume";

// Measured after queries over the catalog (PostgreSQL 15); large results and sorts take more, but few run at a time.
const CONNECTION_MIB = 4;

/** What the server's own parameters are made of. */
export interface ParameterArgs {
  readonly size: ContainerSize;
  readonly volume: Volume;
  /** The most connections of all clients together. */
  readonly connections: number;
}

const DERIVED = [
  "shared_buffers",
  "max_connections",
  "max_slot_wal_keep_size",
  "max_wal_size",
  "wal_keep_size",
] as const;

/** The parameters that follow from the server's size and its clients. */
export function derivedParameters({
  size,
  volume,
  connections,
}: ParameterArgs): Readonly<Record<(typeof DERIVED)[number], string>> {
  const volumeMiB = volume.sizeGiB * 1024;
  return {
    shared_buffers: `${sharedBuffersMiB(size)}MB`,
    max_connections: `${connections}`,
    // What a replica that is away makes the server keep. One that needs more is made anew from the archive.
    max_slot_wal_keep_size: `${Math.floor(volumeMiB / 5)}MB`,
    // Between checkpoints, and in store for replicas: the defaults of PostgreSQL and the operator, less on a small volume.
    max_wal_size: `${Math.min(1024, Math.floor(volumeMiB / 10))}MB`,
    wal_keep_size: `${Math.min(512, Math.floor(volumeMiB / 20))}MB`,
  };
}

/** Memory that the server takes with all its connections, in MiB. */
export function memoryOf(connections: number, size: ContainerSize): number {
  return sharedBuffersMiB(size) + connections * CONNECTION_MIB;
}

// A quarter of the memory, as the PostgreSQL documentation (20.4.1) advises.
function sharedBuffersMiB({ memoryMiB }: ContainerSize): number {
  return Math.round(memoryMiB.limit / 4);
}

/** Who manages a parameter that the config may not set. */
export function managerOf(parameter: string): string | undefined {
  if (OPERATORS.includes(parameter)) return "CloudNativePG";
  return (DERIVED as readonly string[]).includes(parameter) ? "the program" : undefined;
}

// CloudNativePG 1.30, `FixedConfigurationParameters` in pkg/postgres/configuration.go.
const OPERATORS = `
  allow_system_table_mods archive_cleanup_command archive_command archive_mode archive_timeout bonjour bonjour_name cluster_name
  config_file data_directory data_sync_retry event_source external_pid_file full_page_writes hba_file hot_standby huge_pages
  ident_file jit_provider listen_addresses log_destination log_directory log_file_mode log_filename log_rotation_age
  log_rotation_size log_truncate_on_rotation logging_collector port primary_conninfo primary_slot_name promote_trigger_file
  recovery_end_command recovery_min_apply_delay recovery_target recovery_target_action recovery_target_inclusive
  recovery_target_lsn recovery_target_name recovery_target_time recovery_target_timeline recovery_target_xid
  restart_after_crash restore_command shared_preload_libraries ssl ssl_ca_file ssl_cert_file ssl_ciphers ssl_crl_file
  ssl_dh_params_file ssl_ecdh_curve ssl_key_file ssl_max_protocol_version ssl_min_protocol_version ssl_passphrase_command
  ssl_passphrase_command_supports_reload ssl_prefer_server_ciphers stats_temp_directory synchronous_standby_names
  syslog_facility syslog_ident syslog_sequence_numbers syslog_split_messages unix_socket_directories unix_socket_group
  unix_socket_permissions wal_level wal_log_hints
`
  .trim()
  .split(/\s+/);
