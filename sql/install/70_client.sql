-- Client schemas.

CREATE FUNCTION @extschema@.client_schema(shapes text[], dialect text)
RETURNS text
AS 'MODULE_PATHNAME', 'tide_sql_client_schema'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION @extschema@.client_schema(text[], text) IS 'script that makes a client database for these shapes; dialect postgres or sqlite';
REVOKE ALL ON FUNCTION @extschema@.client_schema(text[], text) FROM PUBLIC;
