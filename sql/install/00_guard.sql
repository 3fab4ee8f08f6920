\echo Use "CREATE EXTENSION pg_tide" to load this file. \quit

-- Of a schema that is already there, others may be the owner, or of what is in it.
DO $$
DECLARE
	taken pg_catalog.pg_namespace;
BEGIN
	SELECT * INTO taken FROM pg_catalog.pg_namespace n
	WHERE n.nspname IN ('tide', 'tide_internal', 'tide_shadow')
	ORDER BY n.nspname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'schema "%" already exists', taken.nspname USING ERRCODE = 'duplicate_schema',
			DETAIL = pg_catalog.format('Extension pg_tide makes it itself; the one that is there belongs to role "%s".',
				pg_catalog.pg_get_userbyid(taken.nspowner)),
			HINT = 'Drop the schema if nothing is in it (DROP EXTENSION of version 0.1.0 left an empty schema tide), else rename it.';
	END IF;
END;
$$;

-- tide: what users call and see; tide_internal: metadata, for pg_tide alone; tide_shadow: shadow tables and change logs
CREATE SCHEMA tide;
COMMENT ON SCHEMA tide IS 'pg_tide: the sync engine''s functions and views';
REVOKE ALL ON SCHEMA tide FROM PUBLIC;
GRANT USAGE ON SCHEMA tide TO PUBLIC;
CREATE SCHEMA tide_internal;
COMMENT ON SCHEMA tide_internal IS 'pg_tide metadata, not for direct use';
REVOKE ALL ON SCHEMA tide_internal FROM PUBLIC;
CREATE SCHEMA tide_shadow;
COMMENT ON SCHEMA tide_shadow IS 'pg_tide shadow tables and change logs, not for direct use';
REVOKE ALL ON SCHEMA tide_shadow FROM PUBLIC;
