CREATE FUNCTION tide.verify(shape text, params jsonb DEFAULT '{}', claims jsonb DEFAULT '{}')
RETURNS TABLE ("table" text, key jsonb, problem text, expected jsonb, found jsonb)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tide_sql_verify';
COMMENT ON FUNCTION tide.verify(text, jsonb, jsonb) IS 'differences between the change log and the shape''s own query over the live table: none when all is well';
REVOKE ALL ON FUNCTION tide.verify(text, jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION tide_internal.verify_all(OUT "table" text, OUT key jsonb, OUT problem text, OUT expected jsonb, OUT found jsonb)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tide_sql_verify_all';
COMMENT ON FUNCTION tide_internal.verify_all() IS 'tide.verify for all live shapes, all their buckets and the rows that lack one';
REVOKE ALL ON FUNCTION tide_internal.verify_all() FROM PUBLIC;

CREATE FUNCTION tide_internal.verify_query(shape text) RETURNS text
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tide_sql_verify_query';
COMMENT ON FUNCTION tide_internal.verify_query(text) IS 'SQL by which tide.verify reads the live table; NULL if the shape is not there or not copied yet';
REVOKE ALL ON FUNCTION tide_internal.verify_query(text) FROM PUBLIC;

CREATE FUNCTION tide_internal.bucket_rows(bucket_id bigint)
RETURNS TABLE (source_id int, key jsonb, "row" jsonb, op_id bigint, hash bigint)
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tide_sql_bucket_rows';
COMMENT ON FUNCTION tide_internal.bucket_rows(bigint) IS 'rows of a bucket as the change log has them';
REVOKE ALL ON FUNCTION tide_internal.bucket_rows(bigint) FROM PUBLIC;
