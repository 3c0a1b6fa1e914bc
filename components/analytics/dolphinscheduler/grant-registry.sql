-- Run as the owner of the database: what a worker does in the registry, and nothing else.
\getenv worker REGISTRY_HIKARICONFIG_USERNAME
\getenv database PGDATABASE
REVOKE TEMPORARY ON DATABASE :"database" FROM PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON t_ds_jdbc_registry_data, t_ds_jdbc_registry_lock TO :"worker";
GRANT USAGE ON SEQUENCE t_ds_jdbc_registry_data_id_seq, t_ds_jdbc_registry_lock_id_seq TO :"worker";
