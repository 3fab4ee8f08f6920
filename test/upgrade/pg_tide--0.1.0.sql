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
-- Metadata tables. Who writes which is said at each; src/README.md has the map.

-- one row; written by tide.start/stop/reset and, for last_error, by the worker
CREATE TABLE tide_internal.state (
	singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	enabled       boolean NOT NULL DEFAULT false,
	slot_name     name,
	epoch         uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	last_error    text,
	last_error_at timestamptz,
	secret        uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid()	-- src/store/row_hash.h
);
COMMENT ON TABLE tide_internal.state IS 'switch, slot and history epoch of this database''s ingest';
INSERT INTO tide_internal.state DEFAULT VALUES;

-- written by the ingest when it cannot rule out that the database was put back in time
CREATE TABLE tide_internal.epochs (
	epoch         uuid PRIMARY KEY,
	last_op_id    bigint NOT NULL        -- cookies of that epoch count up to here
);
COMMENT ON TABLE tide_internal.epochs IS 'former epochs whose history the present one goes on with';

-- one row; written by the ingest only, in the transaction of the batch it describes
CREATE TABLE tide_internal.checkpoints (
	singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	op_id         bigint NOT NULL DEFAULT 0,
	lsn           pg_lsn NOT NULL DEFAULT '0/0',
	at            timestamptz NOT NULL DEFAULT 'epoch',
	"now"         timestamptz NOT NULL DEFAULT 'epoch',
	changes       bigint NOT NULL DEFAULT 0,
	transactions  bigint NOT NULL DEFAULT 0,
	batches       bigint NOT NULL DEFAULT 0,
	lagging       boolean NOT NULL DEFAULT false -- some bucket may lag: buckets.may_lag
) WITH (fillfactor = 10);
COMMENT ON TABLE tide_internal.checkpoints IS 'how far the change log is complete: op_id, commit LSN, commit time; what now() means in conditions';
INSERT INTO tide_internal.checkpoints DEFAULT VALUES;

-- a replicated table; inserted by create_shape, advanced and deleted by the ingest
CREATE TABLE tide_internal.sources (
	source_id     int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	relid         oid NOT NULL UNIQUE,
	state         text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'live', 'broken')),
	key_attnums   smallint[] NOT NULL,   -- what tells rows apart: src/catalog/table_key.h
	attnums       smallint[],            -- columns as of the copy; NULL while new
	column_names  name[],
	column_types  oid[],
	snapshot      text,                  -- xmin:xmax:xip,... of the copy
	snapshot_lsn  pg_lsn,                -- commits after it are not in the copy
	leaves        oid[],                 -- of a partitioned table: what holds its rows
	table_name    text,                  -- as SQL writes it, as of the copy; while new, as the shapes were compiled
	labels        text[]                 -- names within the columns' types: src/ingest/type_labels.h
);
COMMENT ON TABLE tide_internal.sources IS 'replicated tables; shadow is tide_shadow.t<source_id>, change log tide_shadow.log<source_id>';

-- inserted and dropped by the shape functions; state and op ids written by the ingest
CREATE TABLE tide_internal.shapes (
	shape_id      int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name          text NOT NULL,
	owner         oid NOT NULL,
	definition    jsonb NOT NULL,
	search_path   text NOT NULL,         -- of the session that defined it
	state         text NOT NULL DEFAULT 'building'
	              CHECK (state IN ('building', 'live', 'failed', 'dropped')),
	error         text,
	built_op_id   bigint,                -- last op_id before the build's own entries
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	redefined     boolean NOT NULL DEFAULT false,  -- its buckets are still those of the definition before
	reshown       boolean NOT NULL DEFAULT false,  -- so are the hashes of rows in them
	node_map      smallint[]             -- so are the numbers of nodes in them: by new number, the old one or -1
);
COMMENT ON TABLE tide_internal.shapes IS 'shape versions; at most one per name is not dropped';
-- the output plugin reads these under historic snapshots, which do not protect TOAST
ALTER TABLE tide_internal.shapes ALTER definition SET STORAGE MAIN, ALTER error SET STORAGE MAIN;
CREATE UNIQUE INDEX shapes_name_key ON tide_internal.shapes (name) WHERE state <> 'dropped';

-- what a definition compiles to; rebuilt from the definition whenever absent
CREATE TABLE tide_internal.shape_nodes (
	shape_id      int NOT NULL,
	node_id       smallint NOT NULL,     -- parents before children
	source_id     int NOT NULL,
	parent_id     smallint,              -- NULL for a root
	path          text NOT NULL,         -- '' for a root, else include names joined by '.'
	attnums       smallint[] NOT NULL,   -- columns shown, key columns included
	filter        text,                  -- nodeToString of a boolean expression over source attnums, varno 1
	keys          text,                  -- nodeToString of the list of key expressions
	key_args      jsonb NOT NULL,        -- per key expression: what a request must supply
	join_on       text,                  -- nodeToString of a boolean expression: varno 1 the parent's row, 2 the node's
	subfilter     text,                  -- nodeToString of a boolean expression with subqueries
	lookups       text,                  -- nodeToString of the list of the lookups' queries
	order_by      text,                  -- nodeToString of the list of sort expressions
	row_limit     bigint,                -- per parent row, or per bucket
	windows       text,                  -- nodeToString of the list of (expression, bound) pairs
	details       jsonb,                 -- what belongs to lookups and order_by
	PRIMARY KEY (shape_id, node_id)
);
ALTER TABLE tide_internal.shape_nodes ALTER filter SET STORAGE MAIN,
	ALTER keys SET STORAGE MAIN, ALTER key_args SET STORAGE MAIN, ALTER join_on SET STORAGE MAIN,
	ALTER subfilter SET STORAGE MAIN, ALTER lookups SET STORAGE MAIN, ALTER order_by SET STORAGE MAIN,
	ALTER windows SET STORAGE MAIN, ALTER details SET STORAGE MAIN;
COMMENT ON TABLE tide_internal.shape_nodes IS 'compiled nodes of a shape''s tree';

-- every source a shape needs, those of subqueries included; written with shape_nodes
CREATE TABLE tide_internal.shape_sources (
	shape_id      int NOT NULL,
	source_id     int NOT NULL,
	PRIMARY KEY (shape_id, source_id)
);
COMMENT ON TABLE tide_internal.shape_sources IS 'sources each shape depends on';

-- written by the ingest only
CREATE TABLE tide_internal.buckets (
	bucket_id     bigint PRIMARY KEY,    -- an op_id, so never used again
	shape_id      int NOT NULL,
	node_id       smallint NOT NULL,     -- of shape_nodes: the bucket holds rows of one node
	key           text[] NOT NULL,       -- canonical text of each key value
	key_hash      bigint NOT NULL,       -- of key: store/bucket_hash.h
	row_count     bigint NOT NULL DEFAULT 0,
	checksum      bigint NOT NULL DEFAULT 0,   -- sum of the rows' hashes, mod 2^32; see may_lag
	first_op_id   bigint NOT NULL,       -- op_id before the bucket's first entry
	last_op_id    bigint NOT NULL,       -- of the newest entry; see may_lag
	removed_count bigint NOT NULL DEFAULT 0,   -- entries 'l' in the log
	stale_count   bigint NOT NULL DEFAULT 0,   -- about how many superseded entries are in the log
	forgotten_op_id bigint NOT NULL DEFAULT 0, -- entries 'l' up to here may be missing
	may_lag       boolean NOT NULL DEFAULT false -- small: entries 'c' after last_op_id are not in it and checksum
) WITH (fillfactor = 60);
COMMENT ON TABLE tide_internal.buckets IS 'rows of one node of a shape, for one set of key values';
-- by hash, since a key may be longer than an index entry; the sole writer keeps keys unique
CREATE INDEX buckets_key ON tide_internal.buckets (shape_id, node_id, key_hash);

-- written by the ingest only: one row now and then, as old as tide.removed_retention at most
CREATE TABLE tide_internal.marks (
	op_id         bigint PRIMARY KEY,    -- of the checkpoint at that time
	at            timestamptz NOT NULL
);
COMMENT ON TABLE tide_internal.marks IS 'how old the change log''s op_ids are';

-- written by tide.push; expired by the worker
CREATE TABLE tide_internal.clients (
	client_id     uuid PRIMARY KEY,
	last_mutation_id bigint NOT NULL DEFAULT 0,
	role          name NOT NULL,         -- session user who first pushed
	subject       text,                  -- claims.sub of that push
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	last_push_at  timestamptz,
	last_tx       bigint NOT NULL DEFAULT 0,       -- group of the last mutation
	rejected_seen bigint NOT NULL DEFAULT 0,       -- the client knows of rejections up to here
	expired_at    timestamptz,           -- set by the worker: only this row is kept from then on
	is_trimmed    boolean NOT NULL DEFAULT false   -- its log is gone
) WITH (fillfactor = 60);
COMMENT ON TABLE tide_internal.clients IS 'clients that have pushed, with their last mutation id';
CREATE INDEX clients_untrimmed ON tide_internal.clients (client_id) WHERE expired_at IS NOT NULL AND NOT is_trimmed;

-- written by tide.push; trimmed by the worker
CREATE TABLE tide_internal.mutations (
	client_id     uuid NOT NULL,
	mutation_id   bigint NOT NULL,
	at            timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	role          name NOT NULL,
	op            text NOT NULL,
	relid         oid,
	table_name    text,
	key           jsonb,
	status        text NOT NULL,
	code          text,
	message       text,
	result        jsonb,                 -- as answered, for re-sent pushes
	PRIMARY KEY (client_id, mutation_id)
);
COMMENT ON TABLE tide_internal.mutations IS 'mutation log: what became of each client write';
CREATE INDEX mutations_at ON tide_internal.mutations USING brin (at) WITH (autosummarize = on);
CREATE INDEX mutations_rejected ON tide_internal.mutations (client_id, mutation_id) WHERE status = 'rejected';

-- written by the ingest only, with the batch that contains the mutation's effects
CREATE TABLE tide_internal.acks (
	client_id     uuid PRIMARY KEY,
	last_mutation_id bigint NOT NULL
) WITH (fillfactor = 60);
COMMENT ON TABLE tide_internal.acks IS 'write checkpoint of each client as of the checkpoint';

-- written by tide.allow_writes
CREATE TABLE tide_internal.writable_tables (
	relid         oid PRIMARY KEY,
	conflict      text NOT NULL DEFAULT 'overwrite'
);
COMMENT ON TABLE tide_internal.writable_tables IS 'tables clients may push to, with their conflict policy';

-- written by tide.trust_role
CREATE TABLE tide_internal.trusted_roles (
	role          oid PRIMARY KEY
);
COMMENT ON TABLE tide_internal.trusted_roles IS 'roles whose sessions may send claims instead of a token';

-- written by tide.create_mutator
CREATE TABLE tide_internal.mutators (
	name          text PRIMARY KEY,
	function      oid NOT NULL
);
COMMENT ON TABLE tide_internal.mutators IS 'functions clients may call by name in a push';

-- written by tide.set_conflict_policy; a table's own policy is in writable_tables
CREATE TABLE tide_internal.conflict_policies (
	relid         oid NOT NULL,
	attnum        smallint NOT NULL,     -- 0: the function of the table's own policy
	policy        text NOT NULL,
	function      oid,                   -- of policy custom
	PRIMARY KEY (relid, attnum)
);
COMMENT ON TABLE tide_internal.conflict_policies IS 'conflict policies of single columns';

CREATE VIEW tide_internal.column_policies AS
SELECT w.relid, a.attnum, coalesce(p.policy, w.conflict) AS policy
FROM tide_internal.writable_tables w
JOIN pg_catalog.pg_attribute a ON a.attrelid = w.relid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN tide_internal.conflict_policies p ON p.relid = a.attrelid AND p.attnum = a.attnum;
COMMENT ON VIEW tide_internal.column_policies IS 'the conflict policy of each column of the writable tables';

-- written by tide.push
CREATE TABLE tide_internal.row_clocks (
	relid         oid NOT NULL,
	key_id        uuid NOT NULL,         -- hash of the key: store/clock_key.h
	attnum        smallint NOT NULL,     -- 0: when the row was deleted
	hash          bigint NOT NULL,       -- of the value that the clock belongs to
	hlc           text,                  -- of columns with policy hlc
	vclock        jsonb,                 -- of columns with policy vclock
	client_id     uuid,                  -- who wrote it; NULL: the server
	xid           xid NOT NULL,
	lsn           pg_lsn NOT NULL,       -- when the push had locked the row
	at            timestamptz NOT NULL,
	PRIMARY KEY (relid, key_id, attnum)
) WITH (fillfactor = 80);
COMMENT ON TABLE tide_internal.row_clocks IS 'clocks that pushes have given to columns and to deleted rows';
CREATE INDEX row_clocks_deleted ON tide_internal.row_clocks (at) WHERE attnum = 0;

-- written by the ingest only
CREATE TABLE tide_internal.server_clocks (
	relid         oid NOT NULL,
	key_id        uuid NOT NULL,
	attnum        smallint NOT NULL,     -- 0: when the row was deleted
	hash          bigint NOT NULL,
	xid           xid NOT NULL,
	lsn           pg_lsn NOT NULL,       -- of the commit
	at            timestamptz NOT NULL,  -- of the commit
	PRIMARY KEY (relid, key_id, attnum)
) WITH (fillfactor = 80);
COMMENT ON TABLE tide_internal.server_clocks IS 'when the values of columns with clocks were committed';
CREATE INDEX server_clocks_deleted ON tide_internal.server_clocks (at) WHERE attnum = 0;

-- one row at most; written by the ingest only
CREATE TABLE tide_internal.server_clock_marks (
	singleton     boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	xid           xid8 NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE tide_internal.server_clock_marks IS 'all transactions before it have been looked at for server_clocks';

-- written by tide.push
CREATE TABLE tide_internal.set_elements (
	relid         oid NOT NULL,
	key_id        uuid NOT NULL,
	attnum        smallint NOT NULL,
	element_id    uuid NOT NULL,         -- hash of the element
	client_id     uuid NOT NULL,         -- who added it
	lsn           pg_lsn NOT NULL,       -- when
	PRIMARY KEY (relid, key_id, attnum, element_id, client_id)
);
COMMENT ON TABLE tide_internal.set_elements IS 'who added the elements of columns with policy set';
CREATE INDEX set_elements_client ON tide_internal.set_elements (client_id, lsn);
-- Running the ingest, and waiting for it.

CREATE TYPE @extschema@.checkpoint AS (op_id bigint, lsn pg_lsn, at timestamptz);
COMMENT ON TYPE @extschema@.checkpoint IS 'point up to which the change log is complete; always a source transaction boundary';

CREATE FUNCTION @extschema@.start() RETURNS text
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_start';
COMMENT ON FUNCTION @extschema@.start() IS 'create the slot if missing and start this database''s ingest worker; returns the slot name';
REVOKE ALL ON FUNCTION @extschema@.start() FROM PUBLIC;

CREATE FUNCTION @extschema@.stop() RETURNS void
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_stop';
COMMENT ON FUNCTION @extschema@.stop() IS 'stop the ingest worker and keep the slot';
REVOKE ALL ON FUNCTION @extschema@.stop() FROM PUBLIC;

CREATE FUNCTION @extschema@.reset() RETURNS void
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_reset';
COMMENT ON FUNCTION @extschema@.reset() IS 'stop, drop the slot, the shadow tables and the change log; shapes are rebuilt at the next start';
REVOKE ALL ON FUNCTION @extschema@.reset() FROM PUBLIC;

CREATE FUNCTION @extschema@.ingest(max_changes bigint DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'tide_sql_ingest';
COMMENT ON FUNCTION @extschema@.ingest(bigint) IS 'one synchronous round of ingest in this session; returns the source changes taken in';
REVOKE ALL ON FUNCTION @extschema@.ingest(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.sync(timeout interval DEFAULT '30s') RETURNS @extschema@.checkpoint
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_sync';
COMMENT ON FUNCTION @extschema@.sync(interval) IS 'wait until everything committed before the call is in the change log';
REVOKE ALL ON FUNCTION @extschema@.sync(interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.wait(after_op_id bigint, timeout interval DEFAULT '20s') RETURNS bigint
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_wait';
COMMENT ON FUNCTION @extschema@.wait(bigint, interval) IS 'wait for a checkpoint beyond after_op_id; returns the current op_id';

CREATE FUNCTION tide_internal.worker_info(OUT pid int, OUT state text, OUT processed pg_lsn,
	OUT at_end timestamptz, OUT source_id int, OUT source_load float8, OUT shape_id int, OUT shape_load float8)
	LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'tide_sql_worker_info';
COMMENT ON FUNCTION tide_internal.worker_info() IS 'this database''s worker as shared memory shows it';
-- executable by PUBLIC, for whom tide.status is granted to: a view's functions run with its reader's rights.
-- By itself it is out of reach, as the schema is.

CREATE VIEW @extschema@.status WITH (security_barrier) AS
	SELECT s.slot_name AS slot,
		coalesce(w.pid, r.active_pid) AS pid,
		CASE WHEN w.state IS NOT NULL AND w.pid IS NOT NULL THEN w.state
			 WHEN r.active_pid IS NOT NULL THEN 'running'
			 WHEN s.slot_name IS NOT NULL AND (r.slot_name IS NULL OR r.wal_status = 'lost') AND
				EXISTS (SELECT FROM tide_internal.sources WHERE sources.state <> 'new') THEN 'slot lost'
			 WHEN s.enabled THEN 'restarting' ELSE 'stopped' END AS state,
		c.op_id, c.lsn, nullif(c.at, 'epoch') AS at,
		p.wal_end - greatest(c.lsn, w.processed) AS lag_bytes,
		CASE WHEN p.wal_end <= greatest(c.lsn, w.processed) THEN interval '0'
			 ELSE pg_catalog.clock_timestamp() - greatest(c.at, w.at_end) END AS lag,
		p.wal_end - r.restart_lsn AS wal_retained_bytes,
		c.changes, c.transactions, c.batches, s.last_error, s.last_error_at,
		(SELECT pg_catalog.format('%I.%I', n.nspname, t.relname)
		   FROM tide_internal.sources o
		   JOIN pg_catalog.pg_class t ON t.oid = o.relid
		   JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
		  WHERE o.source_id = w.source_id) AS worst_table,
		w.source_load AS worst_table_load,
		(SELECT h.name FROM tide_internal.shapes h WHERE h.shape_id = w.shape_id) AS worst_shape,
		w.shape_load AS worst_shape_load
	FROM tide_internal.state s
	CROSS JOIN tide_internal.checkpoints c
	CROSS JOIN LATERAL (SELECT CASE WHEN pg_catalog.pg_is_in_recovery()
		THEN pg_catalog.pg_last_wal_replay_lsn()
		ELSE pg_catalog.pg_current_wal_flush_lsn() END AS wal_end) p
	CROSS JOIN tide_internal.worker_info() w
	LEFT JOIN pg_catalog.pg_replication_slots r ON r.slot_name = s.slot_name;
COMMENT ON VIEW @extschema@.status IS 'the ingest of this database in one row: slot, worker, checkpoint, lag, totals, last error, what takes most time';
-- The JSON writer of pull and stream, from SQL: for tests and to look at.

CREATE FUNCTION tide_internal.row_json(record) RETURNS json
	AS 'MODULE_PATHNAME', 'tide_sql_row_json'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide_internal.row_json(record) IS 'a row as pg_tide''s own JSON writer prints it: equals to_jsonb()';
REVOKE ALL ON FUNCTION tide_internal.row_json(record) FROM PUBLIC;
-- The output plugin reads shapes under a historic snapshot, which sees only
-- catalogs and tables marked so. Storage main keeps what it reads out of TOAST tables,
-- which the mark does not cover.
ALTER TABLE tide_internal.sources SET (user_catalog_table = true);
ALTER TABLE tide_internal.shapes SET (user_catalog_table = true);
ALTER TABLE tide_internal.shape_nodes SET (user_catalog_table = true);
ALTER TABLE tide_internal.shapes ALTER definition SET STORAGE main;
ALTER TABLE tide_internal.shape_nodes
	ALTER filter SET STORAGE main,
	ALTER keys SET STORAGE main,
	ALTER key_args SET STORAGE main;
-- Shapes: named, parameterised subsets of the database.

CREATE FUNCTION @extschema@.create_shape(name text, definition jsonb) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_create_shape';
COMMENT ON FUNCTION @extschema@.create_shape(text, jsonb) IS 'defines a shape; the ingest builds it after commit';
REVOKE ALL ON FUNCTION @extschema@.create_shape(text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.replace_shape(name text, definition jsonb) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_replace_shape';
COMMENT ON FUNCTION @extschema@.replace_shape(text, jsonb) IS 'gives a shape a new definition; its buckets are built anew';
REVOKE ALL ON FUNCTION @extschema@.replace_shape(text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.drop_shape(name text) RETURNS void
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_drop_shape';
COMMENT ON FUNCTION @extschema@.drop_shape(text) IS 'drops a shape; clients lose its buckets at their next pull';
REVOKE ALL ON FUNCTION @extschema@.drop_shape(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.explain_shape(name text) RETURNS text
	LANGUAGE c STABLE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'tide_sql_explain_shape';
COMMENT ON FUNCTION @extschema@.explain_shape(text) IS 'shows what a shape holds and how its buckets are found';
REVOKE ALL ON FUNCTION @extschema@.explain_shape(text) FROM PUBLIC;

-- readable for whoever an administrator grants SELECT to
CREATE VIEW @extschema@.shapes WITH (security_barrier) AS
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
COMMENT ON VIEW @extschema@.shapes IS 'shapes with their state, size and definition';
REVOKE ALL ON @extschema@.shapes FROM PUBLIC;

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
-- Clocks and CRDTs, usable on their own. Nothing here is executable by PUBLIC: see allow_crdt.

-- type hlc

CREATE TYPE @extschema@.hlc;

CREATE FUNCTION @extschema@.hlc_in(cstring) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_in(cstring) IS 'input function of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_in(cstring) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_out(@extschema@.hlc) RETURNS cstring
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_out(@extschema@.hlc) IS 'output function of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_out(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_recv(internal) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_recv(internal) IS 'binary input function of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_recv(internal) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_send(@extschema@.hlc) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_send(@extschema@.hlc) IS 'binary output function of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_send(@extschema@.hlc) FROM PUBLIC;

CREATE TYPE @extschema@.hlc (
	INPUT = @extschema@.hlc_in,
	OUTPUT = @extschema@.hlc_out,
	RECEIVE = @extschema@.hlc_recv,
	SEND = @extschema@.hlc_send,
	INTERNALLENGTH = 16,
	ALIGNMENT = double,
	STORAGE = plain
);
COMMENT ON TYPE @extschema@.hlc IS 'hybrid logical clock: physical ms, counter, node; sorts in an order that causes never come after effects';

CREATE FUNCTION @extschema@.hlc_lt(a @extschema@.hlc, b @extschema@.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_lt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_lt(@extschema@.hlc, @extschema@.hlc) IS
	'implementation of operator < of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_lt(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_le(a @extschema@.hlc, b @extschema@.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_le'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_le(@extschema@.hlc, @extschema@.hlc) IS
	'implementation of operator <= of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_le(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_eq(a @extschema@.hlc, b @extschema@.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_eq'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_eq(@extschema@.hlc, @extschema@.hlc) IS
	'implementation of operator = of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_eq(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_ne(a @extschema@.hlc, b @extschema@.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_ne'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_ne(@extschema@.hlc, @extschema@.hlc) IS
	'implementation of operator <> of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_ne(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_ge(a @extschema@.hlc, b @extschema@.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_ge'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_ge(@extschema@.hlc, @extschema@.hlc) IS
	'implementation of operator >= of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_ge(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_gt(a @extschema@.hlc, b @extschema@.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_gt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_gt(@extschema@.hlc, @extschema@.hlc) IS
	'implementation of operator > of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_gt(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE OPERATOR @extschema@.< (
	LEFTARG = @extschema@.hlc, RIGHTARG = @extschema@.hlc, FUNCTION = @extschema@.hlc_lt,
	COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR @extschema@.< (@extschema@.hlc, @extschema@.hlc) IS 'less than';

CREATE OPERATOR @extschema@.<= (
	LEFTARG = @extschema@.hlc, RIGHTARG = @extschema@.hlc, FUNCTION = @extschema@.hlc_le,
	COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR @extschema@.<= (@extschema@.hlc, @extschema@.hlc) IS 'less than or equal';

CREATE OPERATOR @extschema@.= (
	LEFTARG = @extschema@.hlc, RIGHTARG = @extschema@.hlc, FUNCTION = @extschema@.hlc_eq,
	COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR @extschema@.= (@extschema@.hlc, @extschema@.hlc) IS 'equal';

CREATE OPERATOR @extschema@.<> (
	LEFTARG = @extschema@.hlc, RIGHTARG = @extschema@.hlc, FUNCTION = @extschema@.hlc_ne,
	COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR @extschema@.<> (@extschema@.hlc, @extschema@.hlc) IS 'not equal';

CREATE OPERATOR @extschema@.>= (
	LEFTARG = @extschema@.hlc, RIGHTARG = @extschema@.hlc, FUNCTION = @extschema@.hlc_ge,
	COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR @extschema@.>= (@extschema@.hlc, @extschema@.hlc) IS 'greater than or equal';

CREATE OPERATOR @extschema@.> (
	LEFTARG = @extschema@.hlc, RIGHTARG = @extschema@.hlc, FUNCTION = @extschema@.hlc_gt,
	COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR @extschema@.> (@extschema@.hlc, @extschema@.hlc) IS 'greater than';

CREATE FUNCTION @extschema@.hlc_compare(a @extschema@.hlc, b @extschema@.hlc) RETURNS integer
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_compare'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_compare(@extschema@.hlc, @extschema@.hlc) IS
	'-1, 0 or 1: a before, equal to or after b';
REVOKE ALL ON FUNCTION @extschema@.hlc_compare(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_hash(a @extschema@.hlc) RETURNS integer
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_hash'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_hash(@extschema@.hlc) IS
	'hash function of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_hash(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_hash_extended(a @extschema@.hlc, seed bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_hash_extended'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_hash_extended(@extschema@.hlc, bigint) IS
	'extended hash function of type hlc';
REVOKE ALL ON FUNCTION @extschema@.hlc_hash_extended(@extschema@.hlc, bigint) FROM PUBLIC;

CREATE OPERATOR CLASS @extschema@.hlc_ops DEFAULT FOR TYPE @extschema@.hlc USING btree AS
	OPERATOR 1 @extschema@.<, OPERATOR 2 @extschema@.<=, OPERATOR 3 @extschema@.=,
	OPERATOR 4 @extschema@.>=, OPERATOR 5 @extschema@.>,
	FUNCTION 1 @extschema@.hlc_compare(@extschema@.hlc, @extschema@.hlc),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS @extschema@.hlc_ops USING btree IS 'order of type hlc: time, counter, node';
CREATE OPERATOR CLASS @extschema@.hlc_ops DEFAULT FOR TYPE @extschema@.hlc USING hash AS
	OPERATOR 1 @extschema@.=,
	FUNCTION 1 @extschema@.hlc_hash(@extschema@.hlc),
	FUNCTION 2 @extschema@.hlc_hash_extended(@extschema@.hlc, bigint);
COMMENT ON OPERATOR CLASS @extschema@.hlc_ops USING hash IS 'hashing of type hlc';

CREATE FUNCTION @extschema@.hlc_larger(a @extschema@.hlc, b @extschema@.hlc) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_larger'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_larger(@extschema@.hlc, @extschema@.hlc) IS
	'the later of two clocks';
REVOKE ALL ON FUNCTION @extschema@.hlc_larger(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE AGGREGATE @extschema@.max(@extschema@.hlc) (
	SFUNC = @extschema@.hlc_larger, STYPE = @extschema@.hlc, COMBINEFUNC = @extschema@.hlc_larger,
	SORTOP = OPERATOR(@extschema@.>), PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.max(@extschema@.hlc) IS 'the latest clock';
REVOKE ALL ON FUNCTION @extschema@.max(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_smaller(a @extschema@.hlc, b @extschema@.hlc) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_smaller'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_smaller(@extschema@.hlc, @extschema@.hlc) IS
	'the earlier of two clocks';
REVOKE ALL ON FUNCTION @extschema@.hlc_smaller(@extschema@.hlc, @extschema@.hlc) FROM PUBLIC;

CREATE AGGREGATE @extschema@.min(@extschema@.hlc) (
	SFUNC = @extschema@.hlc_smaller, STYPE = @extschema@.hlc, COMBINEFUNC = @extschema@.hlc_smaller,
	SORTOP = OPERATOR(@extschema@.<), PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.min(@extschema@.hlc) IS 'the earliest clock';
REVOKE ALL ON FUNCTION @extschema@.min(@extschema@.hlc) FROM PUBLIC;

-- functions of hlc

CREATE FUNCTION @extschema@.make_hlc(at timestamptz, counter integer, node uuid) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_make_hlc'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.make_hlc(timestamptz, integer, uuid) IS
	'a clock from its parts; the node is the last 8 bytes of the uuid';
REVOKE ALL ON FUNCTION @extschema@.make_hlc(timestamptz, integer, uuid) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_time(clock @extschema@.hlc) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_time'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_time(@extschema@.hlc) IS
	'physical time of a clock, in ms';
REVOKE ALL ON FUNCTION @extschema@.hlc_time(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_counter(clock @extschema@.hlc) RETURNS integer
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_counter'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_counter(@extschema@.hlc) IS
	'counter of a clock: events within its ms';
REVOKE ALL ON FUNCTION @extschema@.hlc_counter(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_node(clock @extschema@.hlc) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_node'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_node(@extschema@.hlc) IS
	'node of a clock: 16 hexadecimal digits';
REVOKE ALL ON FUNCTION @extschema@.hlc_node(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_client_node(client uuid) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_client_node'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_client_node(uuid) IS
	'the node in a client''s clocks: the last 16 hexadecimal digits of its uuid';
REVOKE ALL ON FUNCTION @extschema@.hlc_client_node(uuid) FROM PUBLIC;

CREATE CAST (@extschema@.hlc AS timestamptz) WITH FUNCTION @extschema@.hlc_time(@extschema@.hlc);
COMMENT ON CAST (@extschema@.hlc AS timestamptz) IS 'physical time of a clock';

CREATE FUNCTION @extschema@.hlc_now(node uuid DEFAULT NULL) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_now'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.hlc_now(uuid) IS
	'an event of this server (or of node): a clock after all that it has given out or observed';
REVOKE ALL ON FUNCTION @extschema@.hlc_now(uuid) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_observe(remote @extschema@.hlc) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_observe'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.hlc_observe(@extschema@.hlc) IS
	'takes another node''s clock into the server''s, unless it is ahead by more than tide.max_clock_drift';
REVOKE ALL ON FUNCTION @extschema@.hlc_observe(@extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_tick(local @extschema@.hlc, at timestamptz DEFAULT clock_timestamp()) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_tick'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_tick(@extschema@.hlc, timestamptz) IS
	'an event of a node: its next clock';
REVOKE ALL ON FUNCTION @extschema@.hlc_tick(@extschema@.hlc, timestamptz) FROM PUBLIC;

CREATE FUNCTION @extschema@.hlc_receive(local @extschema@.hlc, remote @extschema@.hlc, at timestamptz DEFAULT clock_timestamp()) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_receive'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.hlc_receive(@extschema@.hlc, @extschema@.hlc, timestamptz) IS
	'a node takes in another''s clock: its next clock; an error if remote is ahead by more than tide.max_clock_drift';
REVOKE ALL ON FUNCTION @extschema@.hlc_receive(@extschema@.hlc, @extschema@.hlc, timestamptz) FROM PUBLIC;

-- vector clocks: {"node": n, …}

CREATE FUNCTION @extschema@.vclock_compare(a jsonb, b jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_vclock_compare'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.vclock_compare(jsonb, jsonb) IS
	'before, after, equal or concurrent: how a stands to b';
REVOKE ALL ON FUNCTION @extschema@.vclock_compare(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.vclock_increment(clock jsonb, node text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_vclock_increment'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.vclock_increment(jsonb, text) IS
	'a vector clock with one more event of node';
REVOKE ALL ON FUNCTION @extschema@.vclock_increment(jsonb, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.vclock_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_vclock_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.vclock_merge(jsonb, jsonb) IS
	'merges two vector clocks; NULL counts as empty';
REVOKE ALL ON FUNCTION @extschema@.vclock_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE @extschema@.vclock_merge(jsonb) (
	SFUNC = @extschema@.vclock_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = @extschema@.vclock_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.vclock_merge(jsonb) IS 'merges vector clocks';
REVOKE ALL ON FUNCTION @extschema@.vclock_merge(jsonb) FROM PUBLIC;

-- LWW register: {"hlc": h, "value": v}

CREATE FUNCTION @extschema@.lww_register_set(state jsonb, value jsonb, clock @extschema@.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_set'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_register_set(jsonb, jsonb, @extschema@.hlc) IS
	'writes a register, if clock is after what it has';
REVOKE ALL ON FUNCTION @extschema@.lww_register_set(jsonb, jsonb, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_register_remove(state jsonb, clock @extschema@.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_remove'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_register_remove(jsonb, @extschema@.hlc) IS
	'removes a register''s value, if clock is after what it has';
REVOKE ALL ON FUNCTION @extschema@.lww_register_remove(jsonb, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_register_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_register_value(jsonb) IS
	'value of a register; NULL if there is none';
REVOKE ALL ON FUNCTION @extschema@.lww_register_value(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_register_clock(state jsonb) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_clock'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_register_clock(jsonb) IS
	'clock of a register''s last write; NULL if there was none';
REVOKE ALL ON FUNCTION @extschema@.lww_register_clock(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_register_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_register_merge(jsonb, jsonb) IS
	'merges two LWW registers; NULL counts as empty';
REVOKE ALL ON FUNCTION @extschema@.lww_register_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE @extschema@.lww_register_merge(jsonb) (
	SFUNC = @extschema@.lww_register_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = @extschema@.lww_register_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.lww_register_merge(jsonb) IS 'merges LWW registers';
REVOKE ALL ON FUNCTION @extschema@.lww_register_merge(jsonb) FROM PUBLIC;

-- LWW map: {key: register, …}

CREATE FUNCTION @extschema@.lww_map_set(state jsonb, key text, value jsonb, clock @extschema@.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_set'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_map_set(jsonb, text, jsonb, @extschema@.hlc) IS
	'writes a key of a map, if clock is after what it has';
REVOKE ALL ON FUNCTION @extschema@.lww_map_set(jsonb, text, jsonb, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_map_remove(state jsonb, key text, clock @extschema@.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_remove'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_map_remove(jsonb, text, @extschema@.hlc) IS
	'removes a key of a map, if clock is after what it has';
REVOKE ALL ON FUNCTION @extschema@.lww_map_remove(jsonb, text, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_map_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_map_value(jsonb) IS
	'keys and values of a map';
REVOKE ALL ON FUNCTION @extschema@.lww_map_value(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_map_clock(state jsonb) RETURNS @extschema@.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_clock'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_map_clock(jsonb) IS
	'latest clock in a map; NULL if there is none';
REVOKE ALL ON FUNCTION @extschema@.lww_map_clock(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_map_prune(state jsonb, clock @extschema@.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_prune'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_map_prune(jsonb, @extschema@.hlc) IS
	'forgets the removed keys of before clock, which every replica must have seen';
REVOKE ALL ON FUNCTION @extschema@.lww_map_prune(jsonb, @extschema@.hlc) FROM PUBLIC;

CREATE FUNCTION @extschema@.lww_map_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.lww_map_merge(jsonb, jsonb) IS
	'merges two LWW maps; NULL counts as empty';
REVOKE ALL ON FUNCTION @extschema@.lww_map_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE @extschema@.lww_map_merge(jsonb) (
	SFUNC = @extschema@.lww_map_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = @extschema@.lww_map_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.lww_map_merge(jsonb) IS 'merges LWW maps';
REVOKE ALL ON FUNCTION @extschema@.lww_map_merge(jsonb) FROM PUBLIC;

-- PN counter: {"added": {node: n}, "removed": {node: n}}

CREATE FUNCTION @extschema@.pn_counter_add(state jsonb, node text, by bigint DEFAULT 1) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_pn_counter_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.pn_counter_add(jsonb, text, bigint) IS
	'counts on (or back, if by is negative) at node';
REVOKE ALL ON FUNCTION @extschema@.pn_counter_add(jsonb, text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.pn_counter_value(state jsonb) RETURNS numeric
	AS 'MODULE_PATHNAME', 'tide_sql_pn_counter_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.pn_counter_value(jsonb) IS
	'value of a counter';
REVOKE ALL ON FUNCTION @extschema@.pn_counter_value(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.pn_counter_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_pn_counter_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.pn_counter_merge(jsonb, jsonb) IS
	'merges two PN counters; NULL counts as empty';
REVOKE ALL ON FUNCTION @extschema@.pn_counter_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE @extschema@.pn_counter_merge(jsonb) (
	SFUNC = @extschema@.pn_counter_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = @extschema@.pn_counter_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.pn_counter_merge(jsonb) IS 'merges PN counters';
REVOKE ALL ON FUNCTION @extschema@.pn_counter_merge(jsonb) FROM PUBLIC;

-- grow-only set: [element, …]

CREATE FUNCTION @extschema@.g_set_add(state jsonb, element jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_g_set_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.g_set_add(jsonb, jsonb) IS
	'adds an element to a grow-only set';
REVOKE ALL ON FUNCTION @extschema@.g_set_add(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.g_set_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_g_set_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.g_set_value(jsonb) IS
	'elements of a grow-only set, sorted';
REVOKE ALL ON FUNCTION @extschema@.g_set_value(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.g_set_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_g_set_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.g_set_merge(jsonb, jsonb) IS
	'merges two grow-only sets; NULL counts as empty';
REVOKE ALL ON FUNCTION @extschema@.g_set_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE @extschema@.g_set_merge(jsonb) (
	SFUNC = @extschema@.g_set_merge, STYPE = jsonb, INITCOND = '[]',
	COMBINEFUNC = @extschema@.g_set_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.g_set_merge(jsonb) IS 'merges grow-only sets';
REVOKE ALL ON FUNCTION @extschema@.g_set_merge(jsonb) FROM PUBLIC;

-- OR-set: {"clock": {node: n}, "elements": [{"value": v, "dots": {node: n}}, …]}

CREATE FUNCTION @extschema@.or_set_add(state jsonb, element jsonb, node text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.or_set_add(jsonb, jsonb, text) IS
	'adds an element to an OR-set at node';
REVOKE ALL ON FUNCTION @extschema@.or_set_add(jsonb, jsonb, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.or_set_remove(state jsonb, element jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_remove'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.or_set_remove(jsonb, jsonb) IS
	'removes an element from an OR-set: the adds that this state has seen';
REVOKE ALL ON FUNCTION @extschema@.or_set_remove(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.or_set_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.or_set_value(jsonb) IS
	'elements of an OR-set, sorted';
REVOKE ALL ON FUNCTION @extschema@.or_set_value(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.or_set_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.or_set_merge(jsonb, jsonb) IS
	'merges two OR-sets; NULL counts as empty';
REVOKE ALL ON FUNCTION @extschema@.or_set_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE @extschema@.or_set_merge(jsonb) (
	SFUNC = @extschema@.or_set_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = @extschema@.or_set_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.or_set_merge(jsonb) IS 'merges OR-sets';
REVOKE ALL ON FUNCTION @extschema@.or_set_merge(jsonb) FROM PUBLIC;

-- who may use all this

CREATE FUNCTION @extschema@.allow_crdt(role regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_allow_crdt'
	LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION @extschema@.allow_crdt(regrole) IS
	'lets a role use the functions and operators of clocks and CRDTs; - is everybody';
REVOKE ALL ON FUNCTION @extschema@.allow_crdt(regrole) FROM PUBLIC;

CREATE FUNCTION @extschema@.disallow_crdt(role regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_disallow_crdt'
	LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION @extschema@.disallow_crdt(regrole) IS
	'takes back what allow_crdt gave';
REVOKE ALL ON FUNCTION @extschema@.disallow_crdt(regrole) FROM PUBLIC;
CREATE FUNCTION @extschema@.pull(request jsonb) RETURNS json
LANGUAGE c STABLE STRICT PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'tide_sql_pull';
COMMENT ON FUNCTION @extschema@.pull(jsonb) IS 'what a client lacks of the shapes it asks for, a page at a time';
-- Push: clients' writes, the tables open to them, and the log of what became of them.

CREATE FUNCTION @extschema@.push(request jsonb) RETURNS json
	AS 'MODULE_PATHNAME', 'tide_sql_push'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.push(jsonb) IS
	'takes a client''s mutations, each exactly once, and says what became of them';

CREATE FUNCTION @extschema@.allow_writes("table" regclass, conflict text DEFAULT 'overwrite') RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_allow_writes'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.allow_writes(regclass, text) IS
	'opens a table to pushes; the caller''s own rights on it still apply';
REVOKE ALL ON FUNCTION @extschema@.allow_writes(regclass, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.disallow_writes("table" regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_disallow_writes'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.disallow_writes(regclass) IS
	'closes a table to pushes; mutations of it are rejected from then on';
REVOKE ALL ON FUNCTION @extschema@.disallow_writes(regclass) FROM PUBLIC;

CREATE VIEW @extschema@.clients WITH (security_barrier) AS
SELECT c.client_id, c.role, c.subject, c.last_mutation_id,
	coalesce(a.last_mutation_id, 0) AS acknowledged_mutation_id,
	c.created_at, c.last_push_at, c.rejected_seen, c.expired_at
FROM tide_internal.clients c
LEFT JOIN tide_internal.acks a USING (client_id);
COMMENT ON VIEW @extschema@.clients IS
	'clients that have pushed: whose they are, their last mutation, the last one a checkpoint contains, and whether they have expired';

CREATE VIEW @extschema@.mutation_log WITH (security_barrier) AS
SELECT m.client_id, m.mutation_id, m.at, m.role, c.subject, m.op,
	m.table_name AS "table", m.key, m.status, m.code, m.message
FROM tide_internal.mutations m
JOIN tide_internal.clients c USING (client_id);
COMMENT ON VIEW @extschema@.mutation_log IS
	'what became of each mutation: who, when, what, status, SQLSTATE and message';
-- Conflict policies of columns: what becomes of a write when others have written, too.

CREATE FUNCTION @extschema@.set_conflict_policy("table" regclass, "column" name, policy text,
	function regprocedure DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_set_conflict_policy'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.set_conflict_policy(regclass, name, text, regprocedure) IS
	'sets what becomes of writes to a column that others have written, too; policy null: as the table has it; column null: of the table';
REVOKE ALL ON FUNCTION @extschema@.set_conflict_policy(regclass, name, text, regprocedure) FROM PUBLIC;
-- Mutators: functions of the app that clients call by name in a push.

CREATE FUNCTION @extschema@.create_mutator(name text, function regprocedure) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_create_mutator'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.create_mutator(text, regprocedure) IS
	'lets clients call a function (args jsonb, claims jsonb) by name; it runs as the caller of tide.push';
REVOKE ALL ON FUNCTION @extschema@.create_mutator(text, regprocedure) FROM PUBLIC;

CREATE FUNCTION @extschema@.drop_mutator(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_drop_mutator'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION @extschema@.drop_mutator(text) IS
	'takes a mutator''s name back; the function stays';
REVOKE ALL ON FUNCTION @extschema@.drop_mutator(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.current_client() RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_current_client'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.current_client() IS
	'the client whose mutation is being applied, for mutators and triggers; NULL outside of a push';
REVOKE ALL ON FUNCTION @extschema@.current_client() FROM PUBLIC;

CREATE FUNCTION @extschema@.current_mutation() RETURNS bigint
	AS 'MODULE_PATHNAME', 'tide_sql_current_mutation'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION @extschema@.current_mutation() IS
	'id of the mutation being applied, for mutators and triggers; NULL outside of a push';
REVOKE ALL ON FUNCTION @extschema@.current_mutation() FROM PUBLIC;

CREATE VIEW @extschema@.mutators WITH (security_barrier) AS
SELECT m.name, p.oid::regprocedure AS function
FROM tide_internal.mutators m
LEFT JOIN pg_catalog.pg_proc p ON p.oid = m.function;
COMMENT ON VIEW @extschema@.mutators IS
	'functions clients may call by name; function is NULL if it was dropped';
-- Whose claims a request may carry. SQL functions with the extension owner's rights:
-- who may execute them is the only check they need.

CREATE FUNCTION @extschema@.trust_role(role regrole) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO tide_internal.trusted_roles (role) VALUES ($1) ON CONFLICT DO NOTHING;
END;
COMMENT ON FUNCTION @extschema@.trust_role(regrole) IS
	'lets sessions of a role send claims with their requests instead of a token';
REVOKE ALL ON FUNCTION @extschema@.trust_role(regrole) FROM PUBLIC;

CREATE FUNCTION @extschema@.untrust_role(role regrole) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM tide_internal.trusted_roles t
	WHERE t.role = $1::oid
	   OR NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = t.role);
END;
COMMENT ON FUNCTION @extschema@.untrust_role(regrole) IS
	'takes back what trust_role gave; effective at once in all sessions';
REVOKE ALL ON FUNCTION @extschema@.untrust_role(regrole) FROM PUBLIC;

-- keys of tokens; written by tide.add_jwt_key, read by pull and push directly (src/auth/jwt_key.c)
CREATE TABLE tide_internal.jwt_keys (
	kid           text PRIMARY KEY,
	algorithm     text NOT NULL CHECK (algorithm IN ('HS256', 'EdDSA', 'RS256', 'ES256')),
	key           bytea NOT NULL,        -- HS256: the secret; EdDSA: the point; else DER
	expires_at    timestamptz,
	public_key    jsonb,                 -- JWK; NULL: there is no public part
	thumbprint    text,                  -- RFC 7638
	added_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE tide_internal.jwt_keys IS 'keys that tokens are checked with, secrets among them';

CREATE VIEW @extschema@.jwt_keys WITH (security_barrier) AS
SELECT kid, algorithm, public_key, thumbprint, added_at, expires_at,
	coalesce(expires_at <= pg_catalog.clock_timestamp(), false) AS expired
FROM tide_internal.jwt_keys;
COMMENT ON VIEW @extschema@.jwt_keys IS 'keys that tokens are checked with, without the secrets';
REVOKE ALL ON @extschema@.jwt_keys FROM PUBLIC;

CREATE FUNCTION @extschema@.add_jwt_key(kid text, algorithm text, key bytea, expires_at timestamptz DEFAULT NULL)
	RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'tide_sql_add_jwt_key';
COMMENT ON FUNCTION @extschema@.add_jwt_key(text, text, bytea, timestamptz) IS
	'adds a key that tokens are checked with: HS256, EdDSA, RS256 or ES256; raw, PEM or JWK';
REVOKE ALL ON FUNCTION @extschema@.add_jwt_key(text, text, bytea, timestamptz) FROM PUBLIC;

CREATE FUNCTION @extschema@.drop_jwt_key(kid text) RETURNS void
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'tide_sql_drop_jwt_key';
COMMENT ON FUNCTION @extschema@.drop_jwt_key(text) IS
	'removes a key; its tokens are refused at once in all sessions';
REVOKE ALL ON FUNCTION @extschema@.drop_jwt_key(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.claim(name text) RETURNS text
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tide_sql_claim';
COMMENT ON FUNCTION @extschema@.claim(text) IS
	'a claim of the request that is being pushed, for policies and triggers; NULL outside of a push';
REVOKE ALL ON FUNCTION @extschema@.claim(text) FROM PUBLIC;

CREATE FUNCTION tide_internal.token_claims(token text, at timestamptz DEFAULT pg_catalog.clock_timestamp()) RETURNS jsonb
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'tide_sql_token_claims';
COMMENT ON FUNCTION tide_internal.token_claims(text, timestamptz) IS
	'claims of a token that is good at a moment; any other is refused';
REVOKE ALL ON FUNCTION tide_internal.token_claims(text, timestamptz) FROM PUBLIC;

CREATE FUNCTION tide_internal.verify_signature(algorithm text, key bytea, message bytea, signature bytea) RETURNS boolean
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'tide_sql_verify_signature';
COMMENT ON FUNCTION tide_internal.verify_signature(text, bytea, bytea, bytea) IS
	'whether a signature of a JWS fits';
REVOKE ALL ON FUNCTION tide_internal.verify_signature(text, bytea, bytea, bytea) FROM PUBLIC;
-- End-to-end encryption (doc/encryption.md): functions for clients that are PostgreSQL, the
-- tables by which clients exchange keys, and what the server checks without any key.

-- Functions whose result is secret are volatile, though they are not: what the planner evaluates it copies, and leaves
-- the copies behind.

-- ---------- data keys and envelopes ----------

CREATE FUNCTION @extschema@.generate_data_key() RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_generate_data_key'
	LANGUAGE c VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.generate_data_key() IS 'a new data key: its id (16 bytes, a uuid), then 32 secret bytes';
REVOKE ALL ON FUNCTION @extschema@.generate_data_key() FROM PUBLIC;

CREATE FUNCTION @extschema@.data_key_id(data_key bytea) RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_data_key_id'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.data_key_id(bytea) IS 'the id of a data key';
REVOKE ALL ON FUNCTION @extschema@.data_key_id(bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.encrypt(plaintext bytea, data_key bytea, "table" text, "column" text, key jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_encrypt'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.encrypt(bytea, bytea, text, text, jsonb) IS 'envelope of a value, bound to its table, column and row';
REVOKE ALL ON FUNCTION @extschema@.encrypt(bytea, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.decrypt(envelope bytea, data_key bytea, "table" text, "column" text, key jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_decrypt'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.decrypt(bytea, bytea, text, text, jsonb) IS 'value of an envelope; an error unless key, table, column and row are those it was made for';
REVOKE ALL ON FUNCTION @extschema@.decrypt(bytea, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.encrypt_text(plaintext text, data_key bytea, "table" text, "column" text, key jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_encrypt_text'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.encrypt_text(text, bytea, text, text, jsonb) IS 'envelope of a text, in base64url, for columns of text and jsonb';
REVOKE ALL ON FUNCTION @extschema@.encrypt_text(text, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.decrypt_text(envelope text, data_key bytea, "table" text, "column" text, key jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_decrypt_text'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.decrypt_text(text, bytea, text, text, jsonb) IS 'text of an envelope in base64url';
REVOKE ALL ON FUNCTION @extschema@.decrypt_text(text, bytea, text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.is_envelope(value bytea) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_envelope_bytea'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.is_envelope(bytea) IS 'whether a value has the form of an envelope';
REVOKE ALL ON FUNCTION @extschema@.is_envelope(bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.is_envelope(value text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_envelope_text'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.is_envelope(text) IS 'whether a text is an envelope in base64url';
REVOKE ALL ON FUNCTION @extschema@.is_envelope(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.is_envelope(value jsonb) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_envelope_jsonb'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.is_envelope(jsonb) IS 'whether a JSON value is a string with an envelope in base64url, or null';
REVOKE ALL ON FUNCTION @extschema@.is_envelope(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.envelope_key_id(envelope bytea) RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_envelope_key_id_bytea'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.envelope_key_id(bytea) IS 'id of the data key an envelope needs';
REVOKE ALL ON FUNCTION @extschema@.envelope_key_id(bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.envelope_key_id(envelope text) RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_envelope_key_id_text'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.envelope_key_id(text) IS 'id of the data key an envelope in base64url needs';
REVOKE ALL ON FUNCTION @extschema@.envelope_key_id(text) FROM PUBLIC;

-- ---------- device keys ----------

CREATE FUNCTION @extschema@.generate_device_secret() RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_generate_device_secret'
	LANGUAGE c VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.generate_device_secret() IS 'a new device secret: 32 bytes all keys of the device come from';
REVOKE ALL ON FUNCTION @extschema@.generate_device_secret() FROM PUBLIC;

CREATE FUNCTION @extschema@.device_keys(secret bytea, OUT box_key bytea, OUT sign_key bytea) RETURNS record
	AS 'MODULE_PATHNAME', 'tide_sql_device_keys'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.device_keys(bytea) IS 'public keys of a device secret: X25519 and Ed25519';
REVOKE ALL ON FUNCTION @extschema@.device_keys(bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.seal(message bytea, box_key bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_seal'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.seal(bytea, bytea) IS 'seals a message that only the device of box_key can open (crypto_box_seal)';
REVOKE ALL ON FUNCTION @extschema@.seal(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.unseal(sealed bytea, secret bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_unseal'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.unseal(bytea, bytea) IS 'opens what was sealed for the device of a secret';
REVOKE ALL ON FUNCTION @extschema@.unseal(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.sign(message bytea, secret bytea) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_sign'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.sign(bytea, bytea) IS 'Ed25519 signature by the device of a secret';
REVOKE ALL ON FUNCTION @extschema@.sign(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.verify(message bytea, signature bytea, sign_key bytea) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_verify_message'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.verify(bytea, bytea, bytea) IS 'whether a signature is of this message and key';
REVOKE ALL ON FUNCTION @extschema@.verify(bytea, bytea, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.make_backup(secret bytea, passphrase text, opslimit int DEFAULT 3, memlimit bigint DEFAULT 268435456) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_make_backup'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.make_backup(bytea, text, int, bigint) IS 'a device secret under a passphrase (Argon2id)';
REVOKE ALL ON FUNCTION @extschema@.make_backup(bytea, text, int, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.open_backup(backup bytea, passphrase text) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_open_backup'
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.open_backup(bytea, text) IS 'the device secret in a backup; an error if the passphrase is wrong';
REVOKE ALL ON FUNCTION @extschema@.open_backup(bytea, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.is_backup(value bytea) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_is_backup'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.is_backup(bytea) IS 'whether a value has the form of a backup';
REVOKE ALL ON FUNCTION @extschema@.is_backup(bytea) FROM PUBLIC;

-- ---------- what is signed ----------

CREATE FUNCTION @extschema@.canonical_json(value jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_canonical_json'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.canonical_json(jsonb) IS 'the one text of a JSON value that is signed, in UTF-8';
REVOKE ALL ON FUNCTION @extschema@.canonical_json(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.signed_message(kind text, content jsonb) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_signed_message'
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.signed_message(text, jsonb) IS 'what a signature of some kind is made of';
REVOKE ALL ON FUNCTION @extschema@.signed_message(text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.device_message(device_id uuid, subject text, box_key bytea, sign_key bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT @extschema@.signed_message('device', pg_catalog.jsonb_build_object(
		'device_id', device_id, 'subject', subject,
		'box_key', pg_catalog.encode(box_key, 'hex'), 'sign_key', pg_catalog.encode(sign_key, 'hex')));
END;
COMMENT ON FUNCTION @extschema@.device_message(uuid, text, bytea, bytea) IS 'what a device, and one that endorses it, signs';
REVOKE ALL ON FUNCTION @extschema@.device_message(uuid, text, bytea, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.grant_message(key_id uuid, scope text, generation int, device_id uuid, box_key bytea, sealed bytea, granted_by uuid) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT @extschema@.signed_message('grant', pg_catalog.jsonb_build_object(
		'key_id', key_id, 'scope', scope, 'generation', generation, 'device_id', device_id,
		'box_key', pg_catalog.encode(box_key, 'hex'), 'sealed', pg_catalog.encode(sealed, 'hex'),
		'granted_by', granted_by));
END;
COMMENT ON FUNCTION @extschema@.grant_message(uuid, text, int, uuid, bytea, bytea, uuid) IS 'what the device that grants a key signs';
REVOKE ALL ON FUNCTION @extschema@.grant_message(uuid, text, int, uuid, bytea, bytea, uuid) FROM PUBLIC;

CREATE FUNCTION @extschema@.mutation_message(client uuid, mutation jsonb) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT @extschema@.signed_message('mutation', pg_catalog.jsonb_build_object(
		'client', client, 'mutation', mutation - 'signature'));
END;
COMMENT ON FUNCTION @extschema@.mutation_message(uuid, jsonb) IS 'what the device that writes a mutation signs';
REVOKE ALL ON FUNCTION @extschema@.mutation_message(uuid, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.sign_mutation(client uuid, mutation jsonb, device_id uuid, secret bytea) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT mutation || pg_catalog.jsonb_build_object('signature', pg_catalog.jsonb_build_object(
		'device', device_id,
		'value', pg_catalog.encode(@extschema@.sign(@extschema@.mutation_message(client, mutation), secret), 'hex')));
END;
COMMENT ON FUNCTION @extschema@.sign_mutation(uuid, jsonb, uuid, bytea) IS 'a mutation with its signature, as tide.push takes it';
REVOKE ALL ON FUNCTION @extschema@.sign_mutation(uuid, jsonb, uuid, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.verify_mutation(client uuid, mutation jsonb, sign_key bytea) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT
BEGIN ATOMIC
	SELECT coalesce(mutation -> 'signature' ->> 'value' ~ '^[0-9a-f]{128}$'
		AND @extschema@.verify(@extschema@.mutation_message(client, mutation),
			pg_catalog.decode(CASE WHEN mutation -> 'signature' ->> 'value' ~ '^[0-9a-f]{128}$'
				THEN mutation -> 'signature' ->> 'value' ELSE '' END, 'hex'), sign_key), false);
END;
COMMENT ON FUNCTION @extschema@.verify_mutation(uuid, jsonb, bytea) IS 'whether a mutation bears a signature of this key';
REVOKE ALL ON FUNCTION @extschema@.verify_mutation(uuid, jsonb, bytea) FROM PUBLIC;

-- ---------- the tables by which clients exchange keys ----------

CREATE TABLE @extschema@.devices (
	device_id     uuid PRIMARY KEY,
	subject       text NOT NULL,         -- claims.sub of its user
	name          text,
	box_key       bytea NOT NULL,        -- X25519
	sign_key      bytea NOT NULL,        -- Ed25519
	signature     bytea NOT NULL,        -- its own, of device_message()
	endorsed_by   uuid,                  -- another device of the user
	endorsement   bytea,                 -- signature of that one, of device_message()
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
	revoked_at    timestamptz
);
COMMENT ON TABLE @extschema@.devices IS 'devices of users with their public keys';
ALTER TABLE @extschema@.devices ENABLE ROW LEVEL SECURITY;
CREATE INDEX devices_subject ON @extschema@.devices (subject);

CREATE TABLE @extschema@.key_grants (
	key_id        uuid NOT NULL,
	device_id     uuid NOT NULL,         -- for whom
	scope         text NOT NULL,         -- what the key is for, the app's own word
	generation    int NOT NULL,          -- of the scope's keys: 1, 2, 3 ...; the last is for new data
	sealed        bytea NOT NULL,        -- the data key, sealed for the device's box_key
	granted_by    uuid NOT NULL,         -- device that holds the key
	granted_key   bytea NOT NULL,        -- its sign_key
	signature     bytea NOT NULL,        -- its, of grant_message()
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (key_id, device_id)
);
COMMENT ON TABLE @extschema@.key_grants IS 'data keys, each sealed for one device';
ALTER TABLE @extschema@.key_grants ENABLE ROW LEVEL SECURITY;
CREATE INDEX key_grants_scope ON @extschema@.key_grants (scope, generation);
CREATE INDEX key_grants_device ON @extschema@.key_grants (device_id);

CREATE TABLE @extschema@.key_backups (
	device_id     uuid PRIMARY KEY,
	backup        bytea NOT NULL,        -- of make_backup()
	created_at    timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE @extschema@.key_backups IS 'secrets of devices, each under a passphrase the server never sees';
ALTER TABLE @extschema@.key_backups ENABLE ROW LEVEL SECURITY;

-- written by tide.push for tables of tide.require_signatures()
CREATE TABLE @extschema@.signed_mutations (
	client_id     uuid NOT NULL,
	mutation_id   bigint NOT NULL,
	"table"       text NOT NULL,
	key           jsonb NOT NULL,
	device_id     uuid NOT NULL,
	mutation      jsonb NOT NULL,        -- as pushed, with its signature
	at            timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	PRIMARY KEY (client_id, mutation_id)
);
COMMENT ON TABLE @extschema@.signed_mutations IS 'accepted mutations with their signatures, for clients to check; a shape can be made of it';
ALTER TABLE @extschema@.signed_mutations ENABLE ROW LEVEL SECURITY;
CREATE INDEX signed_mutations_row ON @extschema@.signed_mutations ("table", key);

CREATE TABLE tide_internal.signed_tables (
	relid         oid PRIMARY KEY
);
COMMENT ON TABLE tide_internal.signed_tables IS 'tables whose mutations must be signed';

-- written with shape_nodes, and kept as long as the shape is there, compiled or not
CREATE TABLE tide_internal.encrypted_columns (
	shape_id      int NOT NULL,
	relid         oid NOT NULL,
	attnum        smallint NOT NULL,
	PRIMARY KEY (shape_id, relid, attnum)
);
COMMENT ON TABLE tide_internal.encrypted_columns IS 'columns that a shape declares to hold envelopes only';

SELECT pg_catalog.pg_extension_config_dump('@extschema@.devices', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.key_grants', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.key_backups', '');
SELECT pg_catalog.pg_extension_config_dump('@extschema@.signed_mutations', '');

-- ---------- who may write what ----------

CREATE POLICY own ON @extschema@.devices
	USING (subject = nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');
CREATE POLICY own ON @extschema@.key_backups
	USING (device_id IN (SELECT d.device_id FROM @extschema@.devices d));
CREATE POLICY own ON @extschema@.key_grants
	USING (granted_by IN (SELECT d.device_id FROM @extschema@.devices d)
		OR device_id IN (SELECT d.device_id FROM @extschema@.devices d))
	WITH CHECK (granted_by IN (SELECT d.device_id FROM @extschema@.devices d));

-- Whoever writes without claims is an administrator, whom row-level security lets through, or restores a
-- dump: then rows come in any order, and what is revoked by now was not when keys were granted.

CREATE FUNCTION tide_internal.check_device() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_client boolean := nullif(current_setting('request.jwt.claims', true), '') IS NOT NULL;
	message bytea := @extschema@.device_message(NEW.device_id, NEW.subject, NEW.box_key, NEW.sign_key);
BEGIN
	IF TG_OP = 'UPDATE' AND (NEW.device_id, NEW.subject, NEW.box_key, NEW.sign_key, NEW.signature)
			IS DISTINCT FROM (OLD.device_id, OLD.subject, OLD.box_key, OLD.sign_key, OLD.signature) THEN
		RAISE EXCEPTION 'keys of a device never change' USING ERRCODE = 'check_violation';
	END IF;
	IF TG_OP = 'UPDATE' AND OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
		RAISE EXCEPTION 'a revoked device stays revoked' USING ERRCODE = 'check_violation';
	END IF;
	IF octet_length(NEW.box_key) <> 32 OR NOT coalesce(@extschema@.verify(message, NEW.signature, NEW.sign_key), false) THEN
		RAISE EXCEPTION 'signature of the device is not valid' USING ERRCODE = 'check_violation';
	END IF;
	IF is_client AND (NEW.endorsed_by IS NOT NULL OR NEW.endorsement IS NOT NULL)
		AND (TG_OP = 'INSERT' OR (NEW.endorsed_by, NEW.endorsement) IS DISTINCT FROM (OLD.endorsed_by, OLD.endorsement))
		AND NOT EXISTS (SELECT FROM @extschema@.devices e
			WHERE e.device_id = NEW.endorsed_by AND e.device_id <> NEW.device_id AND e.subject = NEW.subject
			AND e.revoked_at IS NULL AND @extschema@.verify(message, NEW.endorsement, e.sign_key)) THEN
		RAISE EXCEPTION 'endorsement of the device is not valid' USING ERRCODE = 'check_violation';
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION tide_internal.check_device() IS 'keys of a device are its own and stay; revocation is for good';
REVOKE ALL ON FUNCTION tide_internal.check_device() FROM PUBLIC;
CREATE TRIGGER check_device BEFORE INSERT OR UPDATE ON @extschema@.devices
	FOR EACH ROW EXECUTE FUNCTION tide_internal.check_device();

CREATE FUNCTION tide_internal.check_key_grant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_client boolean := nullif(current_setting('request.jwt.claims', true), '') IS NOT NULL;
	grantor @extschema@.devices;
	receiver @extschema@.devices;
	last_generation int;
BEGIN
	IF TG_OP = 'UPDATE' THEN
		IF NEW IS DISTINCT FROM OLD THEN
			RAISE EXCEPTION 'a key grant never changes' USING ERRCODE = 'check_violation';
		END IF;
		RETURN NEW;
	END IF;

	-- grants of one scope come one after the other; a device cannot be revoked meanwhile
	PERFORM pg_advisory_xact_lock(hashtextextended('tide.key_grants ' || NEW.scope, 0));
	SELECT * INTO grantor FROM @extschema@.devices d WHERE d.device_id = NEW.granted_by FOR SHARE;
	SELECT * INTO receiver FROM @extschema@.devices d WHERE d.device_id = NEW.device_id FOR SHARE;
	IF grantor.device_id IS NULL OR receiver.device_id IS NULL
		OR (is_client AND (grantor.revoked_at IS NOT NULL OR receiver.revoked_at IS NOT NULL)) THEN
		RAISE EXCEPTION 'device of a key grant is not registered, or is revoked' USING ERRCODE = 'check_violation';
	END IF;
	IF octet_length(NEW.sealed) <> 96 OR NEW.granted_key <> grantor.sign_key
		OR NOT coalesce(@extschema@.verify(@extschema@.grant_message(NEW.key_id, NEW.scope, NEW.generation,
			NEW.device_id, receiver.box_key, NEW.sealed, NEW.granted_by), NEW.signature, grantor.sign_key), false) THEN
		RAISE EXCEPTION 'signature of the key grant is not valid' USING ERRCODE = 'check_violation';
	END IF;

	IF EXISTS (SELECT FROM @extschema@.key_grants g
		WHERE (g.key_id = NEW.key_id OR (g.scope = NEW.scope AND g.generation = NEW.generation))
		AND (g.key_id, g.scope, g.generation) <> (NEW.key_id, NEW.scope, NEW.generation)) THEN
		RAISE EXCEPTION 'generation % of this scope has another key', NEW.generation USING ERRCODE = 'unique_violation';
	END IF;
	-- whoever holds the key passes it on
	IF NOT is_client OR EXISTS (SELECT FROM @extschema@.key_grants g
		WHERE g.key_id = NEW.key_id AND g.device_id = NEW.granted_by) THEN
		RETURN NEW;
	END IF;
	-- a new key is granted to its maker first: the first of the scope, or the one after the last he holds
	SELECT coalesce(max(g.generation), 0) INTO last_generation FROM @extschema@.key_grants g WHERE g.scope = NEW.scope;
	IF NEW.device_id <> NEW.granted_by OR NEW.generation <> last_generation + 1
		OR (last_generation > 0 AND NOT EXISTS (SELECT FROM @extschema@.key_grants g
			WHERE g.scope = NEW.scope AND g.generation = last_generation AND g.device_id = NEW.granted_by)) THEN
		RAISE EXCEPTION 'device does not hold the key it grants' USING ERRCODE = 'check_violation',
			HINT = 'The maker of a new key grants it to itself first, as the generation after the last, whose key it holds.';
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION tide_internal.check_key_grant() IS 'key grants are signed by a device that holds the key, for one that is not revoked, and never change';
REVOKE ALL ON FUNCTION tide_internal.check_key_grant() FROM PUBLIC;
CREATE TRIGGER check_key_grant BEFORE INSERT OR UPDATE ON @extschema@.key_grants
	FOR EACH ROW EXECUTE FUNCTION tide_internal.check_key_grant();

CREATE FUNCTION tide_internal.check_key_backup() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT @extschema@.is_backup(NEW.backup) THEN
		RAISE EXCEPTION 'not a backup, or limits out of bounds' USING ERRCODE = 'check_violation';
	END IF;
	RETURN NEW;
END;
$$;
COMMENT ON FUNCTION tide_internal.check_key_backup() IS 'backups have the form of backups';
REVOKE ALL ON FUNCTION tide_internal.check_key_backup() FROM PUBLIC;
CREATE TRIGGER check_key_backup BEFORE INSERT OR UPDATE ON @extschema@.key_backups
	FOR EACH ROW EXECUTE FUNCTION tide_internal.check_key_backup();

-- ---------- for administrators ----------

CREATE FUNCTION @extschema@.enable_encryption(role regrole) RETURNS void
LANGUAGE plpgsql STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	EXECUTE format('GRANT SELECT, INSERT ON @extschema@.devices, @extschema@.key_grants, @extschema@.key_backups TO %s', role);
	EXECUTE format('GRANT UPDATE (name, endorsed_by, endorsement, revoked_at) ON @extschema@.devices TO %s', role);
	EXECUTE format('GRANT UPDATE, DELETE ON @extschema@.key_backups TO %s', role);
	PERFORM @extschema@.allow_writes('@extschema@.devices'), @extschema@.allow_writes('@extschema@.key_grants'),
		@extschema@.allow_writes('@extschema@.key_backups');
	IF NOT EXISTS (SELECT FROM @extschema@.shapes s WHERE s.name = 'tide_keys') THEN
		PERFORM @extschema@.create_shape('tide_keys', '{"table": "@extschema@.devices", "where": "subject = claims.sub",
			"include": {"grants": {"table": "@extschema@.key_grants", "on": "grants.device_id = parent.device_id AND parent.revoked_at IS NULL"},
				"backup": {"table": "@extschema@.key_backups", "on": "backup.device_id = parent.device_id"}}}');
	END IF;
END;
$$;
COMMENT ON FUNCTION @extschema@.enable_encryption(regrole) IS
	'lets a role''s clients register devices and exchange keys: rights, tide.allow_writes and shape tide_keys';
REVOKE ALL ON FUNCTION @extschema@.enable_encryption(regrole) FROM PUBLIC;

CREATE FUNCTION @extschema@.require_signatures("table" regclass, required boolean DEFAULT true) RETURNS void
LANGUAGE sql STRICT SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	DELETE FROM tide_internal.signed_tables t
	WHERE t.relid = $1::oid OR NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.relid);
	INSERT INTO tide_internal.signed_tables (relid) SELECT $1 WHERE $2;
END;
COMMENT ON FUNCTION @extschema@.require_signatures(regclass, boolean) IS
	'has pushes to a table refused unless a registered device of the user has signed them';
REVOKE ALL ON FUNCTION @extschema@.require_signatures(regclass, boolean) FROM PUBLIC;

CREATE VIEW @extschema@.keys_to_rotate WITH (security_barrier) AS
SELECT g.scope, g.generation, g.device_id, d.subject, d.revoked_at
FROM @extschema@.key_grants g
JOIN @extschema@.devices d USING (device_id)
WHERE d.revoked_at IS NOT NULL
	AND g.generation = (SELECT pg_catalog.max(n.generation) FROM @extschema@.key_grants n WHERE n.scope = g.scope);
COMMENT ON VIEW @extschema@.keys_to_rotate IS 'scopes whose newest key a revoked device holds';

CREATE VIEW @extschema@.encrypted_columns WITH (security_barrier) AS
SELECT s.name AS shape, pg_catalog.format('%I.%I', n.nspname, c.relname) AS "table", a.attname::text AS "column",
	pg_catalog.format_type(a.atttypid, NULL) AS type
FROM tide_internal.encrypted_columns e
JOIN tide_internal.shapes s ON s.shape_id = e.shape_id AND s.state <> 'dropped'
JOIN pg_catalog.pg_class c ON c.oid = e.relid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = e.relid AND a.attnum = e.attnum AND NOT a.attisdropped;
COMMENT ON VIEW @extschema@.encrypted_columns IS 'columns that shapes declare to hold envelopes only';

-- ---------- for clients that are PostgreSQL ----------

CREATE FUNCTION @extschema@.make_device(device_id uuid, subject text, secret bytea, name text DEFAULT NULL) RETURNS @extschema@.devices
LANGUAGE sql VOLATILE
BEGIN ATOMIC
	SELECT device_id, subject, name, k.box_key, k.sign_key,
		@extschema@.sign(@extschema@.device_message(device_id, subject, k.box_key, k.sign_key), secret),
		NULL::uuid, NULL::bytea, pg_catalog.now(), NULL::timestamptz
	FROM @extschema@.device_keys(secret) k;
END;
COMMENT ON FUNCTION @extschema@.make_device(uuid, text, bytea, text) IS 'the row of tide.devices for a device secret';
REVOKE ALL ON FUNCTION @extschema@.make_device(uuid, text, bytea, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.make_grant(data_key bytea, scope text, generation int, device_id uuid, box_key bytea, granted_by uuid, secret bytea)
RETURNS @extschema@.key_grants
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT @extschema@.data_key_id(data_key), device_id, scope, generation, s.sealed, granted_by,
		(@extschema@.device_keys(secret)).sign_key,
		@extschema@.sign(@extschema@.grant_message(@extschema@.data_key_id(data_key), scope, generation, device_id, box_key,
			s.sealed, granted_by), secret), pg_catalog.now()
	FROM (SELECT @extschema@.seal(data_key, box_key) AS sealed OFFSET 0) s;
END;
COMMENT ON FUNCTION @extschema@.make_grant(bytea, text, int, uuid, bytea, uuid, bytea) IS
	'the row of tide.key_grants that gives a data key to a device; secret is that of the device granted_by';
REVOKE ALL ON FUNCTION @extschema@.make_grant(bytea, text, int, uuid, bytea, uuid, bytea) FROM PUBLIC;

CREATE FUNCTION @extschema@.open_grant(key_grant @extschema@.key_grants, secret bytea, sign_key bytea) RETURNS bytea
LANGUAGE sql VOLATILE STRICT
BEGIN ATOMIC
	SELECT k.data_key
	FROM (SELECT @extschema@.unseal((key_grant).sealed, secret) AS data_key) k
	WHERE @extschema@.verify(@extschema@.grant_message((key_grant).key_id, (key_grant).scope, (key_grant).generation,
			(key_grant).device_id, (@extschema@.device_keys(secret)).box_key, (key_grant).sealed,
			(key_grant).granted_by), (key_grant).signature, sign_key)
		AND @extschema@.data_key_id(k.data_key) = (key_grant).key_id;
END;
COMMENT ON FUNCTION @extschema@.open_grant(@extschema@.key_grants, bytea, bytea) IS
	'the data key of a grant for this device, NULL unless the device of sign_key has signed it';
REVOKE ALL ON FUNCTION @extschema@.open_grant(@extschema@.key_grants, bytea, bytea) FROM PUBLIC;
-- Client schemas.

CREATE FUNCTION @extschema@.client_schema(shapes text[], dialect text)
RETURNS text
AS 'MODULE_PATHNAME', 'tide_sql_client_schema'
LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION @extschema@.client_schema(text[], text) IS 'script that makes a client database for these shapes; dialect postgres or sqlite';
REVOKE ALL ON FUNCTION @extschema@.client_schema(text[], text) FROM PUBLIC;
CREATE FUNCTION @extschema@.verify(shape text, params jsonb DEFAULT '{}', claims jsonb DEFAULT '{}')
RETURNS TABLE ("table" text, key jsonb, problem text, expected jsonb, found jsonb)
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'tide_sql_verify';
COMMENT ON FUNCTION @extschema@.verify(text, jsonb, jsonb) IS 'differences between the change log and the shape''s own query over the live table: none when all is well';
REVOKE ALL ON FUNCTION @extschema@.verify(text, jsonb, jsonb) FROM PUBLIC;

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
-- What replicating tables takes.

-- readable for whoever an administrator grants SELECT to; counts as the statistics system has them
CREATE VIEW @extschema@.tables WITH (security_barrier) AS
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
COMMENT ON VIEW @extschema@.tables IS 'replicated tables: size of shadow table and change log, what was written to them';
REVOKE ALL ON @extschema@.tables FROM PUBLIC;
-- Event triggers: DDL told in the WAL, see doc/schema-changes.md.

CREATE FUNCTION tide_internal.note_ddl() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'tide_sql_note_ddl';
COMMENT ON FUNCTION tide_internal.note_ddl() IS 'writes a logical message for each object a command made or changed';
REVOKE ALL ON FUNCTION tide_internal.note_ddl() FROM PUBLIC;
CREATE EVENT TRIGGER tide_ddl ON ddl_command_end EXECUTE FUNCTION tide_internal.note_ddl();
COMMENT ON EVENT TRIGGER tide_ddl IS 'tells pg_tide of objects made and changed';

CREATE FUNCTION tide_internal.note_drop() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'tide_sql_note_drop';
COMMENT ON FUNCTION tide_internal.note_drop() IS 'writes a logical message for each object a command dropped';
REVOKE ALL ON FUNCTION tide_internal.note_drop() FROM PUBLIC;
CREATE EVENT TRIGGER tide_drop ON sql_drop EXECUTE FUNCTION tide_internal.note_drop();
COMMENT ON EVENT TRIGGER tide_drop IS 'tells pg_tide of objects dropped';

-- a rewrite changes rows in ways the WAL does not show as changes
CREATE FUNCTION tide_internal.note_rewrite() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'tide_sql_note_rewrite';
COMMENT ON FUNCTION tide_internal.note_rewrite() IS 'tells the ingest of a table whose rows are rewritten';
REVOKE ALL ON FUNCTION tide_internal.note_rewrite() FROM PUBLIC;
CREATE EVENT TRIGGER tide_table_rewrite ON table_rewrite EXECUTE FUNCTION tide_internal.note_rewrite();
COMMENT ON EVENT TRIGGER tide_table_rewrite IS 'has pg_tide copy a table anew after ALTER TABLE rewrote it';
