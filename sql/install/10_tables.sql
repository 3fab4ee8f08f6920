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
	mutator       text,                  -- of a call: its name as sent
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
	function      oid NOT NULL,
	signature     text NOT NULL          -- its name and types: what it is found by on another server
);
COMMENT ON TABLE tide_internal.mutators IS 'functions clients may call by name in a push';

-- written by tide.set_conflict_policy; a table's own policy is in writable_tables
CREATE TABLE tide_internal.conflict_policies (
	relid         oid NOT NULL,
	attnum        smallint NOT NULL,     -- 0: the function of the table's own policy
	policy        text NOT NULL,
	function      oid,                   -- of policy custom
	signature     text,                  -- its name and types: what it is found by on another server
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
