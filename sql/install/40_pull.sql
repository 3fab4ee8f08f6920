CREATE FUNCTION tide.pull(request jsonb) RETURNS json
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tide_sql_pull';
COMMENT ON FUNCTION tide.pull(jsonb) IS 'what a client lacks of the shapes it asks for, a page at a time';
