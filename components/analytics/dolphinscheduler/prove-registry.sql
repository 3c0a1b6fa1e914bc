-- Run as a worker, after the grants: it must be able to keep an entry in the registry, and see no other table.
DO $proof$
DECLARE
  entry int;
  relation regclass;
BEGIN
  INSERT INTO t_ds_jdbc_registry_lock (lock_key, lock_owner, last_term) VALUES ('/proof', 'proof', 0);
  INSERT INTO t_ds_jdbc_registry_data (data_key, data_value, data_type, last_term)
    VALUES ('/proof', '', 1, 0) RETURNING id INTO entry;
  UPDATE t_ds_jdbc_registry_data SET data_value = 'read' WHERE id = entry;
  DELETE FROM t_ds_jdbc_registry_data WHERE id = entry AND data_value = 'read';
  DELETE FROM t_ds_jdbc_registry_lock WHERE lock_key = '/proof';
  FOR relation IN
    SELECT oid FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
      AND relname NOT IN ('t_ds_jdbc_registry_data', 't_ds_jdbc_registry_lock')
  LOOP
    IF has_table_privilege(relation, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') THEN
      RAISE EXCEPTION '% may use %: revoke what somebody has granted', current_user, relation;
    END IF;
  END LOOP;
END
$proof$;
