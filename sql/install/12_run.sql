-- Running the ingest, and waiting for it.

CREATE TYPE tide.checkpoint AS (op_id bigint, lsn pg_lsn, at timestamptz);
COMMENT ON TYPE tide.checkpoint IS 'point up to which the change log is complete; always a source transaction boundary';

CREATE FUNCTION tide.start() RETURNS text
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_start';
COMMENT ON FUNCTION tide.start() IS 'create the slot if missing and start this database''s ingest worker; returns the slot name';
REVOKE ALL ON FUNCTION tide.start() FROM PUBLIC;

CREATE FUNCTION tide.stop() RETURNS void
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_stop';
COMMENT ON FUNCTION tide.stop() IS 'stop the ingest worker and keep the slot';
REVOKE ALL ON FUNCTION tide.stop() FROM PUBLIC;

CREATE FUNCTION tide.reset() RETURNS void
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_reset';
COMMENT ON FUNCTION tide.reset() IS 'stop, drop the slot, the shadow tables and the change log; shapes are rebuilt at the next start';
REVOKE ALL ON FUNCTION tide.reset() FROM PUBLIC;

CREATE FUNCTION tide.ingest(max_changes bigint DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'tide_sql_ingest';
COMMENT ON FUNCTION tide.ingest(bigint) IS 'one synchronous round of ingest in this session; returns the source changes taken in';
REVOKE ALL ON FUNCTION tide.ingest(bigint) FROM PUBLIC;

CREATE FUNCTION tide.sync(timeout interval DEFAULT '30s') RETURNS tide.checkpoint
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_sync';
COMMENT ON FUNCTION tide.sync(interval) IS 'wait until everything committed before the call is in the change log';
REVOKE ALL ON FUNCTION tide.sync(interval) FROM PUBLIC;

CREATE FUNCTION tide.wait(after_op_id bigint, timeout interval DEFAULT '20s') RETURNS bigint
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_wait';
COMMENT ON FUNCTION tide.wait(bigint, interval) IS 'wait for a checkpoint beyond after_op_id; returns the current op_id';

CREATE FUNCTION tide_internal.worker_info(OUT pid int, OUT state text, OUT processed pg_lsn,
	OUT at_end timestamptz, OUT source_id int, OUT source_load float8, OUT shape_id int, OUT shape_load float8)
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_worker_info';
COMMENT ON FUNCTION tide_internal.worker_info() IS 'this database''s worker as shared memory shows it';
-- executable by PUBLIC, for whom tide.status is granted to: a view's functions run with its reader's rights.
-- By itself it is out of reach, as the schema is.

CREATE VIEW tide.status WITH (security_barrier) AS
	SELECT s.slot_name AS slot,
		coalesce(w.pid, r.active_pid) AS pid,
		CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'standby'
			 WHEN w.state IS NOT NULL AND w.pid IS NOT NULL THEN w.state
			 WHEN r.active_pid IS NOT NULL THEN 'running'
			 WHEN s.slot_name IS NOT NULL AND (r.slot_name IS NULL OR r.wal_status = 'lost') AND
				EXISTS (SELECT FROM tide_internal.sources WHERE sources.state <> 'new') THEN 'slot lost'
			 WHEN s.enabled THEN 'restarting' ELSE 'stopped' END AS state,
		c.op_id, c.lsn, nullif(c.at, 'epoch') AS at,
		CASE WHEN s.slot_name IS NOT NULL THEN p.wal_end - greatest(nullif(c.lsn, '0/0'), w.processed) END AS lag_bytes,
		CASE WHEN s.slot_name IS NULL THEN NULL WHEN p.wal_end <= greatest(c.lsn, w.processed) THEN interval '0'
			 ELSE pg_catalog.clock_timestamp() - greatest(nullif(c.at, 'epoch'), w.at_end) END AS lag,
		p.wal_end - r.restart_lsn AS wal_retained_bytes,
		c.changes, c.transactions, c.batches, s.last_error, s.last_error_at,
		(SELECT pg_catalog.format('%I.%I', n.nspname, t.relname)
		   FROM tide_internal.sources o
		   JOIN pg_catalog.pg_class t ON t.oid = o.relid
		   JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
		  WHERE o.source_id = w.source_id) AS worst_table,
		w.source_load AS worst_table_load,
		(SELECT h.name FROM tide_internal.shapes h WHERE h.shape_id = w.shape_id) AS worst_shape,
		w.shape_load AS worst_shape_load,
		-- by way of JSON, as older servers have no such columns
		CASE WHEN pg_catalog.pg_is_in_recovery()
			 THEN r.slot_name IS NOT NULL AND NOT r.temporary AND (f.slot ->> 'synced')::boolean IS TRUE AND
				coalesce((f.slot ->> 'conflicting')::boolean, false) IS FALSE AND f.slot ->> 'invalidation_reason' IS NULL
			 ELSE (f.slot ->> 'failover')::boolean IS TRUE END AS failover
	FROM tide_internal.state s
	CROSS JOIN tide_internal.checkpoints c
	CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
		THEN pg_catalog.pg_last_wal_replay_lsn()
		ELSE pg_catalog.pg_current_wal_flush_lsn() END AS wal_end) p
	CROSS JOIN tide_internal.worker_info() w
	LEFT JOIN pg_catalog.pg_replication_slots r ON r.slot_name = s.slot_name
	CROSS JOIN LATERAL (SELECT pg_catalog.to_jsonb(r) AS slot) f;
COMMENT ON VIEW tide.status IS 'the ingest of this database in one row: slot, worker, checkpoint, lag, totals, last error, what takes most time';
