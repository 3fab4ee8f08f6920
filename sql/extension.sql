-- what CREATE EXTENSION makes, and what it leaves alone
SELECT nspname,
       has_schema_privilege('public', oid, 'USAGE') AS public_usage
  FROM pg_namespace WHERE nspname LIKE 'tide%' ORDER BY nspname;
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'tide_internal'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;
SELECT count(*) AS tables_public_may_read FROM pg_class c
 WHERE c.relnamespace = 'tide_internal'::regnamespace AND c.relkind IN ('r', 'v')
   AND has_table_privilege('public', c.oid, 'SELECT');
-- no slot and no worker
SELECT count(*) AS slots FROM pg_replication_slots WHERE database = current_database();
SELECT count(*) AS workers FROM pg_stat_activity
 WHERE datname = current_database() AND backend_type LIKE '%tide%';
-- the schema is fixed
ALTER EXTENSION pg_tide SET SCHEMA public;
-- dropping it leaves nothing, and it can be made again
DROP EXTENSION pg_tide;
SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tide%';
-- it takes no schema that is there already (18 says more of where)
\set SHOW_CONTEXT never
CREATE SCHEMA tide AUTHORIZATION pg_monitor;
CREATE EXTENSION pg_tide;
DROP SCHEMA tide;
CREATE SCHEMA tide_internal AUTHORIZATION pg_monitor;
CREATE EXTENSION pg_tide;
DROP SCHEMA tide_internal;
CREATE EXTENSION pg_tide SCHEMA public;
\set SHOW_CONTEXT errors
-- and has no use for search_path
SET search_path = '';
CREATE EXTENSION pg_tide;
RESET search_path;
SELECT extname, extrelocatable, n.nspname
  FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'pg_tide';
-- nothing was taken in yet, so there is no telling how much is missing
SELECT state, pid, op_id, at, lag_bytes, lag, wal_retained_bytes, last_error FROM tide.status;
-- also in a transaction that has pushed
CREATE TABLE tagged (id int PRIMARY KEY, tags text[]);
INSERT INTO tagged VALUES (1, '{a}');
SELECT tide.allow_writes('tagged');
SELECT tide.set_conflict_policy('tagged', 'tags', 'set');
BEGIN;
SELECT tide.push('{"client": "d20b0000-0000-4000-8000-000000000001", "mutations": [{"id": 1, "op": "update", "table": "tagged",
	"key": {"id": 1}, "values": {"tags": ["a", "b"]}, "base": {"tags": ["a"]}}]}') -> 'results' AS results;
DROP EXTENSION pg_tide;
COMMIT;
SELECT tags FROM tagged;
CREATE EXTENSION pg_tide;
DROP TABLE tagged;
