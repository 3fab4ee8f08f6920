-- Event triggers: DDL told in the WAL, see doc/schema-changes.md. They fire always: under session_replication_role = replica, which
-- scripts set to load data without triggers, tables are altered as well.

CREATE FUNCTION tide_internal.note_ddl() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'tide_sql_note_ddl';
COMMENT ON FUNCTION tide_internal.note_ddl() IS 'writes a logical message for each object a command made or changed';
REVOKE ALL ON FUNCTION tide_internal.note_ddl() FROM PUBLIC;
CREATE EVENT TRIGGER tide_ddl ON ddl_command_end EXECUTE FUNCTION tide_internal.note_ddl();
ALTER EVENT TRIGGER tide_ddl ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER tide_ddl IS 'tells pg_tide of objects made and changed';

CREATE FUNCTION tide_internal.note_drop() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'tide_sql_note_drop';
COMMENT ON FUNCTION tide_internal.note_drop() IS 'writes a logical message for each object a command dropped';
REVOKE ALL ON FUNCTION tide_internal.note_drop() FROM PUBLIC;
CREATE EVENT TRIGGER tide_drop ON sql_drop EXECUTE FUNCTION tide_internal.note_drop();
ALTER EVENT TRIGGER tide_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER tide_drop IS 'tells pg_tide of objects dropped';

-- a rewrite changes rows in ways the WAL does not show as changes
CREATE FUNCTION tide_internal.note_rewrite() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'tide_sql_note_rewrite';
COMMENT ON FUNCTION tide_internal.note_rewrite() IS 'tells the ingest of a table whose rows are rewritten';
REVOKE ALL ON FUNCTION tide_internal.note_rewrite() FROM PUBLIC;
CREATE EVENT TRIGGER tide_table_rewrite ON table_rewrite EXECUTE FUNCTION tide_internal.note_rewrite();
ALTER EVENT TRIGGER tide_table_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER tide_table_rewrite IS 'has pg_tide copy a table anew after ALTER TABLE rewrote it';
