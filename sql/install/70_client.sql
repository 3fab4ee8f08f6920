-- Client schemas.

CREATE FUNCTION tide.client_schema(shapes text[], dialect text)
RETURNS text
AS 'MODULE_PATHNAME', 'tide_sql_client_schema'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION tide.client_schema(text[], text) IS 'script that makes a client database for these shapes; dialect postgres or sqlite';
REVOKE ALL ON FUNCTION tide.client_schema(text[], text) FROM PUBLIC;
