-- Deletions under policy hlc by clients whose clocks are behind: what counts is their clocks, not the server's.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
CREATE SCHEMA push_tombstones;
SET search_path = push_tombstones, public;
RESET client_min_messages;
\pset format unaligned
CREATE TABLE marks (id int PRIMARY KEY, v text);
SELECT tide.create_shape('marks', '{"table": "marks"}');
SELECT tide.allow_writes('marks', 'hlc');
SELECT tide.ingest() IS NOT NULL AS done;
CREATE SEQUENCE ids;
CREATE FUNCTION push(op text, key int, ms int) RETURNS text LANGUAGE sql AS $$
	SELECT tide.push(jsonb_build_object('client', 'de1e7e00-0000-4000-8000-000000000001', 'mutations', jsonb_build_array(
		jsonb_build_object('id', nextval('ids'), 'op', op, 'table', 'marks', 'key', jsonb_build_object('id', key),
			'hlc', '0190000000' || lpad(to_hex(ms), 2, '0') || '-0000-0000000000000001')
		|| CASE op WHEN 'delete' THEN '{}' ELSE jsonb_build_object('values', jsonb_build_object('v', ms)) END)))
		#>> '{results,0,status}' $$;
-- deleted, made again and deleted again, each taken in: the first deletion's note does not outlive the second
SELECT push('insert', 1, 10);
SELECT push('delete', 1, 20);
SELECT tide.ingest() IS NOT NULL AS done;
SELECT push('insert', 1, 30);
SELECT push('delete', 1, 40);
SELECT tide.ingest() IS NOT NULL AS done;
SELECT push('insert', 1, 35) AS older, push('insert', 1, 50) AS newer;
-- an older deletion of what is not there does not take the newer one's place
SELECT push('delete', 2, 60);
SELECT push('delete', 2, 20);
SELECT push('insert', 2, 40) AS older, push('insert', 2, 70) AS newer;
SELECT * FROM marks ORDER BY id;

SELECT tide.reset();
SELECT tide.drop_shape('marks');
SELECT tide.disallow_writes('marks');
SET client_min_messages = warning;
DROP SCHEMA push_tombstones CASCADE;
DELETE FROM tide_internal.mutations WHERE client_id::text LIKE 'de1e7e00%';
DELETE FROM tide_internal.clients WHERE client_id::text LIKE 'de1e7e00%';
