-- Run as a reader, after its owner's grants: it must read every table and must be refused every write. The quotes have a name,
-- since Kubernetes makes one of two dollar signs in a command.
DO $proof$
DECLARE
  relation regclass;
BEGIN
  FOR relation IN
    SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
  LOOP
    BEGIN
      EXECUTE format('SELECT FROM %s LIMIT 0', relation);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE EXCEPTION '% may not read %: its owner must be the database''s, who grants it', current_user, relation;
    END;
    IF has_table_privilege(relation, 'INSERT, UPDATE, DELETE, TRUNCATE') THEN
      RAISE EXCEPTION '% may write to %: revoke what somebody has granted', current_user, relation;
    END IF;
  END LOOP;
  BEGIN
    CREATE TABLE public.proof ();
    RAISE EXCEPTION '% may create tables: revoke CREATE on the schema public', current_user;
  EXCEPTION WHEN insufficient_privilege THEN
    NULL;
  END;
  BEGIN
    CREATE TEMPORARY TABLE proof ();
    RAISE EXCEPTION '% may create temporary tables: revoke TEMPORARY on the database', current_user;
  EXCEPTION WHEN insufficient_privilege THEN
    NULL;
  END;
END
$proof$;
