-- Push: clients' writes, the tables open to them, and the log of what became of them.

CREATE FUNCTION tide.push(request jsonb) RETURNS json
	AS 'MODULE_PATHNAME', 'tide_sql_push'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION tide.push(jsonb) IS
	'takes a client''s mutations, each exactly once, and says what became of them';

CREATE FUNCTION tide.allow_writes("table" regclass, conflict text DEFAULT 'overwrite') RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_allow_writes'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION tide.allow_writes(regclass, text) IS
	'opens a table to pushes; the caller''s own rights on it still apply';
REVOKE ALL ON FUNCTION tide.allow_writes(regclass, text) FROM PUBLIC;

CREATE FUNCTION tide.disallow_writes("table" regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_disallow_writes'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION tide.disallow_writes(regclass) IS
	'closes a table to pushes; mutations of it are rejected from then on';
REVOKE ALL ON FUNCTION tide.disallow_writes(regclass) FROM PUBLIC;

CREATE VIEW tide.clients WITH (security_barrier) AS
SELECT c.client_id, c.role, c.subject, c.last_mutation_id,
	coalesce(a.last_mutation_id, 0) AS acknowledged_mutation_id,
	c.created_at, c.last_push_at, c.rejected_seen, c.expired_at
FROM tide_internal.clients c
LEFT JOIN tide_internal.acks a USING (client_id);
COMMENT ON VIEW tide.clients IS
	'clients that have pushed: whose they are, their last mutation, the last one a checkpoint contains, and whether they have expired';

CREATE VIEW tide.mutation_log WITH (security_barrier) AS
SELECT m.client_id, m.mutation_id, m.at, m.role, c.subject, m.op,
	m.table_name AS "table", m.key, m.status, m.code, m.message, m.mutator
FROM tide_internal.mutations m
JOIN tide_internal.clients c USING (client_id);
COMMENT ON VIEW tide.mutation_log IS
	'what became of each mutation: who, when, what, status, SQLSTATE and message';
