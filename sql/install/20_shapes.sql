-- Shapes: named, parameterised subsets of the database.

CREATE FUNCTION tide.create_shape(name text, definition jsonb) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_create_shape';
COMMENT ON FUNCTION tide.create_shape(text, jsonb) IS 'defines a shape; the ingest builds it after commit';
REVOKE ALL ON FUNCTION tide.create_shape(text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.replace_shape(name text, definition jsonb) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_replace_shape';
COMMENT ON FUNCTION tide.replace_shape(text, jsonb) IS 'gives a shape a new definition; its buckets are built anew';
REVOKE ALL ON FUNCTION tide.replace_shape(text, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.drop_shape(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_drop_shape';
COMMENT ON FUNCTION tide.drop_shape(text) IS 'drops a shape; clients lose its buckets at their next pull';
REVOKE ALL ON FUNCTION tide.drop_shape(text) FROM PUBLIC;

CREATE FUNCTION tide.explain_shape(name text) RETURNS text
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_explain_shape';
COMMENT ON FUNCTION tide.explain_shape(text) IS 'shows what a shape holds and how its buckets are found';
REVOKE ALL ON FUNCTION tide.explain_shape(text) FROM PUBLIC;

-- readable for whoever an administrator grants SELECT to
CREATE VIEW tide.shapes WITH (security_barrier) AS
	SELECT s.name,
		   s.state,
		   n.tables,
		   b.buckets,
		   b.rows,
		   CASE s.state
				WHEN 'live' THEN 1.0
				WHEN 'building' THEN n.progress
		   END::float8 AS progress,
		   s.error,
		   s.definition
	  FROM tide_internal.shapes s
	 CROSS JOIN LATERAL (
			SELECT pg_catalog.array_agg(CASE WHEN c.oid IS NULL THEN '(dropped)'
										ELSE pg_catalog.format('%I.%I', ns.nspname, c.relname)
										END ORDER BY sn.node_id, src.source_id) AS tables,
				   -- the copies of the tables are the larger part, the shape's buckets the rest
				   0.5 * pg_catalog.avg((src.state = 'live')::int) AS progress
			  FROM (SELECT source_id, pg_catalog.min(node_id) AS node_id
					  FROM (SELECT source_id, node_id FROM tide_internal.shape_nodes
							 WHERE shape_id = s.shape_id
							UNION ALL
							SELECT source_id, NULL FROM tide_internal.shape_sources
							 WHERE shape_id = s.shape_id) ss
					 GROUP BY source_id) sn
			  JOIN tide_internal.sources src USING (source_id)
			  LEFT JOIN pg_catalog.pg_class c ON c.oid = src.relid
			  LEFT JOIN pg_catalog.pg_namespace ns ON ns.oid = c.relnamespace) n
	 CROSS JOIN LATERAL (
			SELECT pg_catalog.count(*) AS buckets,
				   coalesce(pg_catalog.sum(row_count), 0)::bigint AS rows
			  FROM tide_internal.buckets
			 WHERE shape_id = s.shape_id) b
	 WHERE s.state <> 'dropped';
COMMENT ON VIEW tide.shapes IS 'shapes with their state, size and definition';
REVOKE ALL ON tide.shapes FROM PUBLIC;

CREATE FUNCTION tide_internal.bucket_keys(shape text, params jsonb DEFAULT '{}', claims jsonb DEFAULT '{}')
	RETURNS SETOF text[]
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'tide_sql_bucket_keys';
COMMENT ON FUNCTION tide_internal.bucket_keys(text, jsonb, jsonb) IS 'keys of the buckets a request asks for and is entitled to';
REVOKE ALL ON FUNCTION tide_internal.bucket_keys(text, jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION tide_internal.bucket_key_text(value anyelement) RETURNS text
	LANGUAGE c STABLE STRICT
	AS 'MODULE_PATHNAME', 'tide_sql_bucket_key_text';
COMMENT ON FUNCTION tide_internal.bucket_key_text(anyelement) IS 'canonical text of a value in a bucket key';
REVOKE ALL ON FUNCTION tide_internal.bucket_key_text(anyelement) FROM PUBLIC;
