\echo Use "CREATE EXTENSION pg_tide" to load this file. \quit

-- tide_internal: metadata, for pg_tide alone; tide_shadow: shadow tables and change logs
CREATE SCHEMA tide_internal;
COMMENT ON SCHEMA tide_internal IS 'pg_tide metadata, not for direct use';
REVOKE ALL ON SCHEMA tide_internal FROM PUBLIC;
CREATE SCHEMA tide_shadow;
COMMENT ON SCHEMA tide_shadow IS 'pg_tide shadow tables and change logs, not for direct use';
REVOKE ALL ON SCHEMA tide_shadow FROM PUBLIC;
GRANT USAGE ON SCHEMA @extschema@ TO PUBLIC;
COMMENT ON SCHEMA @extschema@ IS 'pg_tide: the sync engine''s functions and views';
