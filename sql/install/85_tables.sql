-- What replicating tables takes.

-- readable for whoever an administrator grants SELECT to; counts as the statistics system has them
CREATE VIEW tide.tables WITH (security_barrier) AS
	SELECT coalesce(pg_catalog.format('%I.%I', n.nspname, t.relname), '(dropped)') AS "table",
		o.state,
		(SELECT pg_catalog.count(DISTINCT sn.shape_id) FROM tide_internal.shape_nodes sn
		   JOIN tide_internal.shapes h USING (shape_id)
		  WHERE sn.source_id = o.source_id AND h.state <> 'dropped') AS shapes,
		pg_catalog.pg_stat_get_live_tuples(s.shadow) AS rows,
		pg_catalog.pg_total_relation_size(s.shadow) AS shadow_bytes,
		pg_catalog.pg_stat_get_live_tuples(s.log) AS entries,
		pg_catalog.pg_stat_get_dead_tuples(s.log) AS dead_entries,
		pg_catalog.pg_total_relation_size(s.log) AS log_bytes,
		pg_catalog.pg_stat_get_tuples_inserted(s.shadow) + pg_catalog.pg_stat_get_tuples_updated(s.shadow)
			+ pg_catalog.pg_stat_get_tuples_deleted(s.shadow) AS rows_written,
		pg_catalog.pg_stat_get_tuples_inserted(s.log) AS entries_written,
		pg_catalog.pg_stat_get_tuples_deleted(s.log) AS entries_removed
	FROM tide_internal.sources o
	-- not to_regclass(), which asks for rights on the schema
	LEFT JOIN pg_catalog.pg_namespace sn ON sn.nspname = 'tide_shadow'
	CROSS JOIN LATERAL (SELECT
		(SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = sn.oid AND c.relname = 't' || o.source_id) AS shadow,
		(SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = sn.oid AND c.relname = 'log' || o.source_id) AS log) s
	LEFT JOIN pg_catalog.pg_class t ON t.oid = o.relid
	LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace;
COMMENT ON VIEW tide.tables IS 'replicated tables: size of shadow table and change log, what was written to them';
REVOKE ALL ON tide.tables FROM PUBLIC;
