\echo Use "ALTER EXTENSION pg_tide UPDATE TO '0.2.0'" to load this file. \quit

-- Servers may run the library of before until they are restarted: tables that it reads by position keep their columns.

SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- The extension is no longer in schema tide, so that the schema can be one of its members and goes with it. No command
-- says so (ALTER EXTENSION SET SCHEMA would move the objects): the extension's dependency on the schema is turned round.
UPDATE pg_depend d
SET classid = d.refclassid, objid = d.refobjid, refclassid = d.classid, refobjid = d.objid, deptype = 'e'
FROM pg_extension e
WHERE e.extname = 'pg_tide'
	AND d.classid = 'pg_extension'::regclass AND d.objid = e.oid
	AND d.refclassid = 'pg_namespace'::regclass AND d.refobjid = e.extnamespace AND d.deptype = 'n';
UPDATE pg_extension SET extnamespace = 'pg_catalog'::regnamespace WHERE extname = 'pg_tide';

-- names of functions, for dumps; what was dropped has none
DELETE FROM tide_internal.mutators m WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = m.function);
ALTER TABLE tide_internal.mutators ADD COLUMN signature text;
UPDATE tide_internal.mutators SET signature = function::regprocedure::text;
ALTER TABLE tide_internal.mutators ALTER COLUMN signature SET NOT NULL;
ALTER TABLE tide_internal.conflict_policies ADD COLUMN signature text;
UPDATE tide_internal.conflict_policies c SET signature = p.oid::regprocedure::text FROM pg_proc p WHERE p.oid = c.function;

-- names of mutators called
ALTER TABLE tide_internal.mutations ADD COLUMN mutator text;
CREATE OR REPLACE VIEW tide.mutation_log WITH (security_barrier) AS
SELECT m.client_id, m.mutation_id, m.at, m.role, c.subject, m.op,
	m.table_name AS "table", m.key, m.status, m.code, m.message, m.mutator
FROM tide_internal.mutations m
JOIN tide_internal.clients c USING (client_id);

-- column failover, state standby
CREATE OR REPLACE VIEW tide.status WITH (security_barrier) AS
	SELECT s.slot_name AS slot,
		coalesce(w.pid, r.active_pid) AS pid,
		CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby'
			 WHEN w.state IS NOT NULL AND w.pid IS NOT NULL THEN w.state
			 WHEN r.active_pid IS NOT NULL THEN 'running'
			 WHEN s.slot_name IS NOT NULL AND (r.slot_name IS NULL OR r.wal_status = 'lost') AND
				EXISTS (SELECT FROM tide_internal.sources WHERE sources.state <> 'new') THEN 'slot lost'
			 WHEN s.enabled THEN 'restarting' ELSE 'stopped' END AS state,
		c.op_id, c.lsn, nullif(c.at, 'epoch') AS at,
		CASE WHEN s.slot_name IS NOT NULL THEN p.wal_end - greatest(nullif(c.lsn, '0/0'), w.processed) END AS lag_bytes,
		CASE WHEN s.slot_name IS NULL THEN NULL WHEN p.wal_end <= greatest(c.lsn, w.processed) THEN interval '0'
			 ELSE pg_catalog.clock_timestamp() - greatest(nullif(c.at, 'epoch'), w.at_end) END AS lag,
		p.wal_end - r.restart_lsn AS wal_retained_bytes,
		c.changes, c.transactions, c.batches, s.last_error, s.last_error_at,
		(SELECT pg_catalog.format('%I.%I', n.nspname, t.relname)
		   FROM tide_internal.sources o
		   JOIN pg_catalog.pg_class t ON t.oid = o.relid
		   JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
		  WHERE o.source_id = w.source_id) AS worst_table,
		w.source_load AS worst_table_load,
		(SELECT h.name FROM tide_internal.shapes h WHERE h.shape_id = w.shape_id) AS worst_shape,
		w.shape_load AS worst_shape_load,
		-- by way of JSON, as older servers have no such columns
		CASE WHEN pg_catalog.pg_is_in_recovery()
			 THEN r.slot_name IS NOT NULL AND NOT r.temporary AND (f.slot ->> 'synced')::boolean IS TRUE AND
				coalesce((f.slot ->> 'conflicting')::boolean, false) IS FALSE AND f.slot ->> 'invalidation_reason' IS NULL
			 ELSE (f.slot ->> 'failover')::boolean IS TRUE END AS failover
	FROM tide_internal.state s
	CROSS JOIN tide_internal.checkpoints c
	CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
		THEN pg_catalog.pg_last_wal_replay_lsn()
		ELSE pg_catalog.pg_current_wal_flush_lsn() END AS wal_end) p
	CROSS JOIN tide_internal.worker_info() w
	LEFT JOIN pg_catalog.pg_replication_slots r ON r.slot_name = s.slot_name
	CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(r) AS slot) f;

-- What pg_dump takes along, see doc/operations.md. OIDs, column numbers, LSNs and transaction ids mean nothing on
-- another server, so the tables are not dumped as they are: what is in them is dumped under its names, as
-- rows of tide_internal.saved, and the trigger there puts it back.

-- one row; written by the ingest
CREATE TABLE tide_internal.home (
	singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	system_id     bigint NOT NULL
);
COMMENT ON TABLE tide_internal.home IS 'identifier of the server whose OIDs are in these tables';
INSERT INTO tide_internal.home (system_id) SELECT system_identifier FROM pg_catalog.pg_control_system();

-- never has a row: pg_dump takes those of tide_internal.to_save(), and what is inserted goes elsewhere
CREATE TABLE tide_internal.saved (
	step          int NOT NULL,          -- rows go in by its order
	kind          text NOT NULL,
	content       jsonb NOT NULL
);
COMMENT ON TABLE tide_internal.saved IS 'the way by which pg_dump and pg_restore take pg_tide''s data along';

-- a function, since pg_dump keeps itself from views
CREATE FUNCTION tide_internal.to_save() RETURNS TABLE (step int, kind text, content jsonb)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
	WITH table_names AS NOT MATERIALIZED (
		SELECT c.oid AS relid, format('%I.%I', n.nspname, c.relname) AS name
		FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p')
	), column_names AS NOT MATERIALIZED (
		SELECT attrelid AS relid, attnum, attname AS name
		FROM pg_attribute
		WHERE attnum > 0 AND NOT attisdropped
		UNION ALL
		SELECT oid, 0, NULL FROM pg_class -- the row itself
	)
	SELECT 1 AS step, 'trusted role' AS kind, jsonb_build_object('role', r.rolname) AS content
	FROM tide_internal.trusted_roles t
	JOIN pg_roles r ON r.oid = t.role
	UNION ALL
	SELECT 2, 'writable table', jsonb_build_object('table', t.name, 'conflict', w.conflict)
	FROM tide_internal.writable_tables w
	JOIN table_names t USING (relid)
	UNION ALL
	SELECT 3, 'conflict policy', jsonb_build_object('table', t.name, 'column', a.name, 'policy', p.policy,
		'signature', p.signature)
	FROM tide_internal.conflict_policies p
	JOIN table_names t USING (relid)
	JOIN column_names a USING (relid, attnum)
	UNION ALL
	SELECT 4, 'signed table', jsonb_build_object('table', t.name)
	FROM tide_internal.signed_tables s
	JOIN table_names t USING (relid)
	UNION ALL
	SELECT 5, 'mutator', jsonb_build_object('name', m.name, 'signature', m.signature)
	FROM tide_internal.mutators m
	JOIN pg_proc p ON p.oid = m.function
	UNION ALL
	SELECT 6, 'shape', jsonb_build_object('name', s.name, 'owner', r.rolname, 'definition', s.definition,
		'search_path', s.search_path, 'created_at', s.created_at,
		-- pushes must keep to it before the shape is compiled again
		'encrypted', (SELECT jsonb_agg(jsonb_build_object('table', t.name, 'column', a.name))
			FROM tide_internal.encrypted_columns e
			JOIN table_names t USING (relid)
			JOIN column_names a USING (relid, attnum)
			WHERE e.shape_id = s.shape_id))
	FROM tide_internal.shapes s
	JOIN pg_roles r ON r.oid = s.owner
	WHERE s.state <> 'dropped'
	UNION ALL
	-- who reads a dump must not be able to make tokens
	SELECT 7, 'jwt key', to_jsonb(k)
		|| CASE WHEN k.algorithm = 'HS256' THEN '{"key": null}'::jsonb ELSE '{}' END
	FROM tide_internal.jwt_keys k
	UNION ALL
	SELECT 8, 'device', to_jsonb(d) FROM tide.devices d
	UNION ALL
	SELECT 9, 'key grant', to_jsonb(g) FROM tide.key_grants g
	UNION ALL
	SELECT 10, 'key backup', to_jsonb(b) FROM tide.key_backups b
	UNION ALL
	SELECT 11, 'signed mutation', to_jsonb(m) FROM tide.signed_mutations m
	UNION ALL
	SELECT 12, 'client', to_jsonb(c) FROM tide_internal.clients c
	UNION ALL
	SELECT 13, 'mutation', to_jsonb(m) || jsonb_build_object('relation', t.name)
	FROM tide_internal.mutations m
	LEFT JOIN table_names t USING (relid)
	UNION ALL
	SELECT 14, 'row clock', to_jsonb(c) || jsonb_build_object('table', t.name, 'column', a.name)
	FROM tide_internal.row_clocks c
	JOIN table_names t USING (relid)
	JOIN column_names a USING (relid, attnum)
	UNION ALL
	-- later: than the clock that a push gave to the same column
	SELECT 15, 'server clock', to_jsonb(c) || jsonb_build_object('table', t.name, 'column', a.name,
		'later', coalesce(c.xid <> r.xid AND c.lsn > r.lsn, true))
	FROM tide_internal.server_clocks c
	JOIN table_names t USING (relid)
	JOIN column_names a USING (relid, attnum)
	LEFT JOIN tide_internal.row_clocks r USING (relid, key_id, attnum)
	UNION ALL
	SELECT 16, 'set element', to_jsonb(e) || jsonb_build_object('table', t.name, 'column', a.name)
	FROM tide_internal.set_elements e
	JOIN table_names t USING (relid)
	JOIN column_names a USING (relid, attnum)
	ORDER BY 1;
$$;
COMMENT ON FUNCTION tide_internal.to_save() IS 'what pg_dump takes along, under its names';
REVOKE ALL ON FUNCTION tide_internal.to_save() FROM PUBLIC;

-- pg_dump runs SELECT step, kind, content FROM ONLY tide_internal.saved, followed by this
SELECT pg_catalog.pg_extension_config_dump('tide_internal.saved',
	'WHERE false UNION ALL SELECT step, kind, content FROM tide_internal.to_save()');
-- these are part of it; by themselves pg_restore --jobs would load grants before their devices
SELECT pg_catalog.pg_extension_config_dump('tide.devices', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('tide.key_grants', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('tide.key_backups', 'WHERE false');
SELECT pg_catalog.pg_extension_config_dump('tide.signed_mutations', 'WHERE false');

-- one row back in its place; what is there already stays. Runs as whoever restores: nobody else may write here.
CREATE FUNCTION tide_internal.restore() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	content jsonb := NEW.content;
	found_role oid := (SELECT oid FROM pg_roles WHERE rolname = coalesce(content ->> 'owner', content ->> 'role'));
	found_table oid := to_regclass(content ->> 'table');
	found_column smallint := CASE WHEN content -> 'column' = 'null' THEN 0 ELSE (SELECT attnum FROM pg_attribute
		WHERE attrelid = found_table AND attname = content ->> 'column' AND attnum > 0 AND NOT attisdropped) END;
	found_function oid := CASE WHEN NEW.kind IN ('mutator', 'conflict policy') THEN to_regprocedure(content ->> 'signature') END;
	missing text := CASE
		WHEN NEW.kind IN ('trusted role', 'shape') AND found_role IS NULL
			THEN format('role "%s" does not exist', coalesce(content ->> 'owner', content ->> 'role'))
		WHEN NEW.kind IN ('writable table', 'conflict policy', 'signed table') AND found_table IS NULL
			THEN format('table %s does not exist', content ->> 'table')
		WHEN NEW.kind = 'conflict policy' AND found_column IS NULL
			THEN format('column "%s" of table %s does not exist', content ->> 'column', content ->> 'table')
		WHEN NEW.kind IN ('mutator', 'conflict policy') AND found_function IS NULL AND content ->> 'signature' IS NOT NULL
			THEN format('function %s does not exist', content ->> 'signature')
		WHEN NEW.kind = 'jwt key' AND content -> 'key' = 'null'
			THEN format('the secret of key "%s" is not in dumps', content ->> 'kid')
		END;
BEGIN
	IF missing IS NOT NULL THEN
		RAISE WARNING 'pg_tide did not restore a %: %', NEW.kind, missing;
		RETURN NULL;
	END IF;
	CASE NEW.kind
	WHEN 'trusted role' THEN
		INSERT INTO tide_internal.trusted_roles (role) VALUES (found_role) ON CONFLICT DO NOTHING;
	WHEN 'writable table' THEN
		INSERT INTO tide_internal.writable_tables (relid, conflict)
		VALUES (found_table, content ->> 'conflict') ON CONFLICT DO NOTHING;
	WHEN 'conflict policy' THEN
		INSERT INTO tide_internal.conflict_policies (relid, attnum, policy, function, signature)
		VALUES (found_table, found_column, content ->> 'policy', found_function, content ->> 'signature') ON CONFLICT DO NOTHING;
	WHEN 'signed table' THEN
		INSERT INTO tide_internal.signed_tables (relid) VALUES (found_table) ON CONFLICT DO NOTHING;
	WHEN 'mutator' THEN
		INSERT INTO tide_internal.mutators (name, function, signature)
		VALUES (content ->> 'name', found_function, content ->> 'signature') ON CONFLICT DO NOTHING;
	WHEN 'shape' THEN
		WITH shape AS (
			INSERT INTO tide_internal.shapes (name, owner, definition, search_path, created_at)
			SELECT content ->> 'name', found_role, content -> 'definition', content ->> 'search_path',
				(content ->> 'created_at')::timestamptz
			WHERE NOT EXISTS (SELECT FROM tide_internal.shapes WHERE name = content ->> 'name' AND state <> 'dropped')
			RETURNING shape_id)
		INSERT INTO tide_internal.encrypted_columns (shape_id, relid, attnum)
		SELECT s.shape_id, a.attrelid, a.attnum
		FROM shape s, jsonb_array_elements(nullif(content -> 'encrypted', 'null')) e
		JOIN pg_attribute a ON a.attrelid = to_regclass(e ->> 'table') AND a.attname = e ->> 'column' AND a.attnum > 0;
	WHEN 'jwt key' THEN
		INSERT INTO tide_internal.jwt_keys
		SELECT * FROM jsonb_populate_record(NULL::tide_internal.jwt_keys, content) ON CONFLICT DO NOTHING;
	WHEN 'device' THEN
		INSERT INTO tide.devices
		SELECT * FROM jsonb_populate_record(NULL::tide.devices, content) ON CONFLICT DO NOTHING;
	WHEN 'key grant' THEN
		INSERT INTO tide.key_grants
		SELECT * FROM jsonb_populate_record(NULL::tide.key_grants, content) ON CONFLICT DO NOTHING;
	WHEN 'key backup' THEN
		INSERT INTO tide.key_backups
		SELECT * FROM jsonb_populate_record(NULL::tide.key_backups, content) ON CONFLICT DO NOTHING;
	WHEN 'signed mutation' THEN
		INSERT INTO tide.signed_mutations
		SELECT * FROM jsonb_populate_record(NULL::tide.signed_mutations, content) ON CONFLICT DO NOTHING;
	WHEN 'client' THEN
		INSERT INTO tide_internal.clients
		SELECT * FROM jsonb_populate_record(NULL::tide_internal.clients, content) ON CONFLICT DO NOTHING;
		-- they may have pushed since the dump: an epoch that is not a first one says so (src/store/epoch.c)
		UPDATE tide_internal.state SET epoch = overlay(overlay(epoch::text PLACING '8' FROM 15)
			PLACING lpad(to_hex(extract(epoch FROM clock_timestamp())::bigint), 8, '0') FROM 29)::uuid
		WHERE slot_name IS NULL AND substr(epoch::text, 15, 1) = '4';
	WHEN 'mutation' THEN
		INSERT INTO tide_internal.mutations
		SELECT * FROM jsonb_populate_record(NULL::tide_internal.mutations,
			content || jsonb_build_object('relid', to_regclass(content ->> 'relation')::oid)) ON CONFLICT DO NOTHING;
	WHEN 'row clock', 'server clock', 'set element' THEN
		PERFORM tide_internal.restore_memory(NEW.kind, content || jsonb_build_object('relid', found_table, 'attnum', found_column))
		WHERE found_table IS NOT NULL AND found_column IS NOT NULL;
	ELSE
		RAISE EXCEPTION 'pg_tide cannot restore a %', NEW.kind USING ERRCODE = 'feature_not_supported',
			HINT = 'The dump is of a newer version of pg_tide.';
	END CASE;
	RETURN NULL;
END;
$$;
COMMENT ON FUNCTION tide_internal.restore() IS 'puts a row of a dump back in its place';
REVOKE ALL ON FUNCTION tide_internal.restore() FROM PUBLIC;

-- What conflicts are decided by. Positions in the WAL of the other server become those that say the same here: a
-- server's clock is after or before that of a push; elements are there, for whoever pulls from now on.
CREATE FUNCTION tide_internal.restore_memory(kind text, content jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF kind = 'row clock' THEN
		INSERT INTO tide_internal.row_clocks
		SELECT * FROM jsonb_populate_record(NULL::tide_internal.row_clocks,
			content || '{"xid": "2", "lsn": "0/1"}') ON CONFLICT DO NOTHING;
	ELSIF kind = 'server clock' THEN
		INSERT INTO tide_internal.server_clocks
		SELECT * FROM jsonb_populate_record(NULL::tide_internal.server_clocks,
			content || CASE WHEN content -> 'later' = 'true' THEN '{"xid": "1", "lsn": "0/2"}'::jsonb
				ELSE '{"xid": "2", "lsn": "0/1"}' END) ON CONFLICT DO NOTHING;
	ELSE
		INSERT INTO tide_internal.set_elements
		SELECT * FROM jsonb_populate_record(NULL::tide_internal.set_elements,
			content || jsonb_build_object('lsn', least((content ->> 'lsn')::pg_lsn, pg_current_wal_insert_lsn())))
		ON CONFLICT DO NOTHING;
	END IF;
END;
$$;
COMMENT ON FUNCTION tide_internal.restore_memory(text, jsonb) IS 'puts a clock or a set element of a dump back in its place';
REVOKE ALL ON FUNCTION tide_internal.restore_memory(text, jsonb) FROM PUBLIC;
CREATE TRIGGER restore BEFORE INSERT ON tide_internal.saved
	FOR EACH ROW EXECUTE FUNCTION tide_internal.restore();
-- also under session_replication_role = replica, which scripts set to load data without triggers and foreign keys
ALTER TABLE tide_internal.saved ENABLE ALWAYS TRIGGER restore;

-- functions are followed by OID, and dumped by name
CREATE FUNCTION tide_internal.note_function() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- after pg_upgrade the OIDs are another's until the worker has been there
	IF (SELECT system_id FROM tide_internal.home) <> (SELECT system_identifier FROM pg_control_system()) THEN
		RETURN;
	END IF;
	UPDATE tide_internal.mutators m SET signature = p.oid::regprocedure::text
	FROM pg_proc p WHERE p.oid = m.function AND m.signature <> p.oid::regprocedure::text;
	UPDATE tide_internal.conflict_policies c SET signature = p.oid::regprocedure::text
	FROM pg_proc p WHERE p.oid = c.function AND c.signature <> p.oid::regprocedure::text;
END;
$$;
COMMENT ON FUNCTION tide_internal.note_function() IS 'keeps the names of mutators'' and policies'' functions';
REVOKE ALL ON FUNCTION tide_internal.note_function() FROM PUBLIC;
CREATE EVENT TRIGGER tide_function ON ddl_command_end
	WHEN TAG IN ('ALTER FUNCTION', 'ALTER ROUTINE', 'ALTER SCHEMA')
	EXECUTE FUNCTION tide_internal.note_function();
ALTER EVENT TRIGGER tide_function ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER tide_function IS 'tells pg_tide of functions renamed';

-- also under session_replication_role = replica
ALTER EVENT TRIGGER tide_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER tide_drop ENABLE ALWAYS;
ALTER EVENT TRIGGER tide_table_rewrite ENABLE ALWAYS;
