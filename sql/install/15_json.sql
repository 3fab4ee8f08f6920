-- The JSON writer of pull and stream, from SQL: for tests and to look at.

CREATE FUNCTION tide_internal.row_json(record) RETURNS json
	AS 'MODULE_PATHNAME', 'tide_sql_row_json'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide_internal.row_json(record) IS 'a row as pg_tide''s own JSON writer prints it: equals to_jsonb()';
REVOKE ALL ON FUNCTION tide_internal.row_json(record) FROM PUBLIC;
