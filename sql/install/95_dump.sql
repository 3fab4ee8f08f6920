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
