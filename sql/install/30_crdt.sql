-- Clocks and CRDTs, usable on their own. Nothing here is executable by PUBLIC: see allow_crdt.

-- type hlc

CREATE TYPE tide.hlc;

CREATE FUNCTION tide.hlc_in(cstring) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_in(cstring) IS 'input function of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_in(cstring) FROM PUBLIC;

CREATE FUNCTION tide.hlc_out(tide.hlc) RETURNS cstring
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_out(tide.hlc) IS 'output function of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_out(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_recv(internal) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_recv(internal) IS 'binary input function of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_recv(internal) FROM PUBLIC;

CREATE FUNCTION tide.hlc_send(tide.hlc) RETURNS bytea
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_send(tide.hlc) IS 'binary output function of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_send(tide.hlc) FROM PUBLIC;

CREATE TYPE tide.hlc (
	INPUT = tide.hlc_in,
	OUTPUT = tide.hlc_out,
	RECEIVE = tide.hlc_recv,
	SEND = tide.hlc_send,
	INTERNALLENGTH = 16,
	ALIGNMENT = double,
	STORAGE = plain
);
COMMENT ON TYPE tide.hlc IS 'hybrid logical clock: physical ms, counter, node; sorts in an order that causes never come after effects';

CREATE FUNCTION tide.hlc_lt(a tide.hlc, b tide.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_lt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_lt(tide.hlc, tide.hlc) IS
	'implementation of operator < of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_lt(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_le(a tide.hlc, b tide.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_le'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_le(tide.hlc, tide.hlc) IS
	'implementation of operator <= of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_le(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_eq(a tide.hlc, b tide.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_eq'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_eq(tide.hlc, tide.hlc) IS
	'implementation of operator = of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_eq(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_ne(a tide.hlc, b tide.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_ne'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_ne(tide.hlc, tide.hlc) IS
	'implementation of operator <> of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_ne(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_ge(a tide.hlc, b tide.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_ge'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_ge(tide.hlc, tide.hlc) IS
	'implementation of operator >= of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_ge(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_gt(a tide.hlc, b tide.hlc) RETURNS boolean
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_gt'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_gt(tide.hlc, tide.hlc) IS
	'implementation of operator > of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_gt(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE OPERATOR tide.< (
	LEFTARG = tide.hlc, RIGHTARG = tide.hlc, FUNCTION = tide.hlc_lt,
	COMMUTATOR = OPERATOR(tide.>), NEGATOR = OPERATOR(tide.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR tide.< (tide.hlc, tide.hlc) IS 'less than';

CREATE OPERATOR tide.<= (
	LEFTARG = tide.hlc, RIGHTARG = tide.hlc, FUNCTION = tide.hlc_le,
	COMMUTATOR = OPERATOR(tide.>=), NEGATOR = OPERATOR(tide.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR tide.<= (tide.hlc, tide.hlc) IS 'less than or equal';

CREATE OPERATOR tide.= (
	LEFTARG = tide.hlc, RIGHTARG = tide.hlc, FUNCTION = tide.hlc_eq,
	COMMUTATOR = OPERATOR(tide.=), NEGATOR = OPERATOR(tide.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR tide.= (tide.hlc, tide.hlc) IS 'equal';

CREATE OPERATOR tide.<> (
	LEFTARG = tide.hlc, RIGHTARG = tide.hlc, FUNCTION = tide.hlc_ne,
	COMMUTATOR = OPERATOR(tide.<>), NEGATOR = OPERATOR(tide.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR tide.<> (tide.hlc, tide.hlc) IS 'not equal';

CREATE OPERATOR tide.>= (
	LEFTARG = tide.hlc, RIGHTARG = tide.hlc, FUNCTION = tide.hlc_ge,
	COMMUTATOR = OPERATOR(tide.<=), NEGATOR = OPERATOR(tide.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR tide.>= (tide.hlc, tide.hlc) IS 'greater than or equal';

CREATE OPERATOR tide.> (
	LEFTARG = tide.hlc, RIGHTARG = tide.hlc, FUNCTION = tide.hlc_gt,
	COMMUTATOR = OPERATOR(tide.<), NEGATOR = OPERATOR(tide.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR tide.> (tide.hlc, tide.hlc) IS 'greater than';

CREATE FUNCTION tide.hlc_compare(a tide.hlc, b tide.hlc) RETURNS integer
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_compare'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_compare(tide.hlc, tide.hlc) IS
	'-1, 0 or 1: a before, equal to or after b';
REVOKE ALL ON FUNCTION tide.hlc_compare(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_hash(a tide.hlc) RETURNS integer
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_hash'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_hash(tide.hlc) IS
	'hash function of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_hash(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_hash_extended(a tide.hlc, seed bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_hash_extended'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_hash_extended(tide.hlc, bigint) IS
	'extended hash function of type hlc';
REVOKE ALL ON FUNCTION tide.hlc_hash_extended(tide.hlc, bigint) FROM PUBLIC;

CREATE OPERATOR CLASS tide.hlc_ops DEFAULT FOR TYPE tide.hlc USING btree AS
	OPERATOR 1 tide.<, OPERATOR 2 tide.<=, OPERATOR 3 tide.=,
	OPERATOR 4 tide.>=, OPERATOR 5 tide.>,
	FUNCTION 1 tide.hlc_compare(tide.hlc, tide.hlc),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS tide.hlc_ops USING btree IS 'order of type hlc: time, counter, node';
CREATE OPERATOR CLASS tide.hlc_ops DEFAULT FOR TYPE tide.hlc USING hash AS
	OPERATOR 1 tide.=,
	FUNCTION 1 tide.hlc_hash(tide.hlc),
	FUNCTION 2 tide.hlc_hash_extended(tide.hlc, bigint);
COMMENT ON OPERATOR CLASS tide.hlc_ops USING hash IS 'hashing of type hlc';

CREATE FUNCTION tide.hlc_larger(a tide.hlc, b tide.hlc) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_larger'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_larger(tide.hlc, tide.hlc) IS
	'the later of two clocks';
REVOKE ALL ON FUNCTION tide.hlc_larger(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE AGGREGATE tide.max(tide.hlc) (
	SFUNC = tide.hlc_larger, STYPE = tide.hlc, COMBINEFUNC = tide.hlc_larger,
	SORTOP = OPERATOR(tide.>), PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.max(tide.hlc) IS 'the latest clock';
REVOKE ALL ON FUNCTION tide.max(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_smaller(a tide.hlc, b tide.hlc) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_smaller'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_smaller(tide.hlc, tide.hlc) IS
	'the earlier of two clocks';
REVOKE ALL ON FUNCTION tide.hlc_smaller(tide.hlc, tide.hlc) FROM PUBLIC;

CREATE AGGREGATE tide.min(tide.hlc) (
	SFUNC = tide.hlc_smaller, STYPE = tide.hlc, COMBINEFUNC = tide.hlc_smaller,
	SORTOP = OPERATOR(tide.<), PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.min(tide.hlc) IS 'the earliest clock';
REVOKE ALL ON FUNCTION tide.min(tide.hlc) FROM PUBLIC;

-- functions of hlc

CREATE FUNCTION tide.make_hlc(at timestamptz, counter integer, node uuid) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_make_hlc'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.make_hlc(timestamptz, integer, uuid) IS
	'a clock from its parts; the node is the last 8 bytes of the uuid';
REVOKE ALL ON FUNCTION tide.make_hlc(timestamptz, integer, uuid) FROM PUBLIC;

CREATE FUNCTION tide.hlc_time(clock tide.hlc) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_time'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_time(tide.hlc) IS
	'physical time of a clock, in ms';
REVOKE ALL ON FUNCTION tide.hlc_time(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_counter(clock tide.hlc) RETURNS integer
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_counter'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_counter(tide.hlc) IS
	'counter of a clock: events within its ms';
REVOKE ALL ON FUNCTION tide.hlc_counter(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_node(clock tide.hlc) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_node'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_node(tide.hlc) IS
	'node of a clock: 16 hexadecimal digits';
REVOKE ALL ON FUNCTION tide.hlc_node(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_client_node(client uuid) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_client_node'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_client_node(uuid) IS
	'the node in a client''s clocks: the last 16 hexadecimal digits of its uuid';
REVOKE ALL ON FUNCTION tide.hlc_client_node(uuid) FROM PUBLIC;

CREATE CAST (tide.hlc AS timestamptz) WITH FUNCTION tide.hlc_time(tide.hlc);
COMMENT ON CAST (tide.hlc AS timestamptz) IS 'physical time of a clock';

CREATE FUNCTION tide.hlc_now(node uuid DEFAULT NULL) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_now'
	LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tide.hlc_now(uuid) IS
	'an event of this server (or of node): a clock after all that it has given out or observed';
REVOKE ALL ON FUNCTION tide.hlc_now(uuid) FROM PUBLIC;

CREATE FUNCTION tide.hlc_observe(remote tide.hlc) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_observe'
	LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION tide.hlc_observe(tide.hlc) IS
	'takes another node''s clock into the server''s, unless it is ahead by more than tide.max_clock_drift';
REVOKE ALL ON FUNCTION tide.hlc_observe(tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.hlc_tick(local tide.hlc, at timestamptz DEFAULT clock_timestamp()) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_tick'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_tick(tide.hlc, timestamptz) IS
	'an event of a node: its next clock';
REVOKE ALL ON FUNCTION tide.hlc_tick(tide.hlc, timestamptz) FROM PUBLIC;

CREATE FUNCTION tide.hlc_receive(local tide.hlc, remote tide.hlc, at timestamptz DEFAULT clock_timestamp()) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_hlc_receive'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.hlc_receive(tide.hlc, tide.hlc, timestamptz) IS
	'a node takes in another''s clock: its next clock; an error if remote is ahead by more than tide.max_clock_drift';
REVOKE ALL ON FUNCTION tide.hlc_receive(tide.hlc, tide.hlc, timestamptz) FROM PUBLIC;

-- vector clocks: {"node": n, …}

CREATE FUNCTION tide.vclock_compare(a jsonb, b jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'tide_sql_vclock_compare'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.vclock_compare(jsonb, jsonb) IS
	'before, after, equal or concurrent: how a stands to b';
REVOKE ALL ON FUNCTION tide.vclock_compare(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.vclock_increment(clock jsonb, node text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_vclock_increment'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.vclock_increment(jsonb, text) IS
	'a vector clock with one more event of node';
REVOKE ALL ON FUNCTION tide.vclock_increment(jsonb, text) FROM PUBLIC;

CREATE FUNCTION tide.vclock_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_vclock_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.vclock_merge(jsonb, jsonb) IS
	'merges two vector clocks; NULL counts as empty';
REVOKE ALL ON FUNCTION tide.vclock_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE tide.vclock_merge(jsonb) (
	SFUNC = tide.vclock_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = tide.vclock_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.vclock_merge(jsonb) IS 'merges vector clocks';
REVOKE ALL ON FUNCTION tide.vclock_merge(jsonb) FROM PUBLIC;

-- LWW register: {"hlc": h, "value": v}

CREATE FUNCTION tide.lww_register_set(state jsonb, value jsonb, clock tide.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_set'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_register_set(jsonb, jsonb, tide.hlc) IS
	'writes a register, if clock is after what it has';
REVOKE ALL ON FUNCTION tide.lww_register_set(jsonb, jsonb, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.lww_register_remove(state jsonb, clock tide.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_remove'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_register_remove(jsonb, tide.hlc) IS
	'removes a register''s value, if clock is after what it has';
REVOKE ALL ON FUNCTION tide.lww_register_remove(jsonb, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.lww_register_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_register_value(jsonb) IS
	'value of a register; NULL if there is none';
REVOKE ALL ON FUNCTION tide.lww_register_value(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.lww_register_clock(state jsonb) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_clock'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_register_clock(jsonb) IS
	'clock of a register''s last write; NULL if there was none';
REVOKE ALL ON FUNCTION tide.lww_register_clock(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.lww_register_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_register_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_register_merge(jsonb, jsonb) IS
	'merges two LWW registers; NULL counts as empty';
REVOKE ALL ON FUNCTION tide.lww_register_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE tide.lww_register_merge(jsonb) (
	SFUNC = tide.lww_register_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = tide.lww_register_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.lww_register_merge(jsonb) IS 'merges LWW registers';
REVOKE ALL ON FUNCTION tide.lww_register_merge(jsonb) FROM PUBLIC;

-- LWW map: {key: register, …}

CREATE FUNCTION tide.lww_map_set(state jsonb, key text, value jsonb, clock tide.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_set'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_map_set(jsonb, text, jsonb, tide.hlc) IS
	'writes a key of a map, if clock is after what it has';
REVOKE ALL ON FUNCTION tide.lww_map_set(jsonb, text, jsonb, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.lww_map_remove(state jsonb, key text, clock tide.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_remove'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_map_remove(jsonb, text, tide.hlc) IS
	'removes a key of a map, if clock is after what it has';
REVOKE ALL ON FUNCTION tide.lww_map_remove(jsonb, text, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.lww_map_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_map_value(jsonb) IS
	'keys and values of a map';
REVOKE ALL ON FUNCTION tide.lww_map_value(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.lww_map_clock(state jsonb) RETURNS tide.hlc
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_clock'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_map_clock(jsonb) IS
	'latest clock in a map; NULL if there is none';
REVOKE ALL ON FUNCTION tide.lww_map_clock(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.lww_map_prune(state jsonb, clock tide.hlc) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_prune'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_map_prune(jsonb, tide.hlc) IS
	'forgets the removed keys of before clock, which every replica must have seen';
REVOKE ALL ON FUNCTION tide.lww_map_prune(jsonb, tide.hlc) FROM PUBLIC;

CREATE FUNCTION tide.lww_map_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_lww_map_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.lww_map_merge(jsonb, jsonb) IS
	'merges two LWW maps; NULL counts as empty';
REVOKE ALL ON FUNCTION tide.lww_map_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE tide.lww_map_merge(jsonb) (
	SFUNC = tide.lww_map_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = tide.lww_map_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.lww_map_merge(jsonb) IS 'merges LWW maps';
REVOKE ALL ON FUNCTION tide.lww_map_merge(jsonb) FROM PUBLIC;

-- PN counter: {"added": {node: n}, "removed": {node: n}}

CREATE FUNCTION tide.pn_counter_add(state jsonb, node text, by bigint DEFAULT 1) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_pn_counter_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.pn_counter_add(jsonb, text, bigint) IS
	'counts on (or back, if by is negative) at node';
REVOKE ALL ON FUNCTION tide.pn_counter_add(jsonb, text, bigint) FROM PUBLIC;

CREATE FUNCTION tide.pn_counter_value(state jsonb) RETURNS numeric
	AS 'MODULE_PATHNAME', 'tide_sql_pn_counter_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.pn_counter_value(jsonb) IS
	'value of a counter';
REVOKE ALL ON FUNCTION tide.pn_counter_value(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.pn_counter_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_pn_counter_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.pn_counter_merge(jsonb, jsonb) IS
	'merges two PN counters; NULL counts as empty';
REVOKE ALL ON FUNCTION tide.pn_counter_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE tide.pn_counter_merge(jsonb) (
	SFUNC = tide.pn_counter_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = tide.pn_counter_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.pn_counter_merge(jsonb) IS 'merges PN counters';
REVOKE ALL ON FUNCTION tide.pn_counter_merge(jsonb) FROM PUBLIC;

-- grow-only set: [element, …]

CREATE FUNCTION tide.g_set_add(state jsonb, element jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_g_set_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.g_set_add(jsonb, jsonb) IS
	'adds an element to a grow-only set';
REVOKE ALL ON FUNCTION tide.g_set_add(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.g_set_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_g_set_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.g_set_value(jsonb) IS
	'elements of a grow-only set, sorted';
REVOKE ALL ON FUNCTION tide.g_set_value(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.g_set_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_g_set_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.g_set_merge(jsonb, jsonb) IS
	'merges two grow-only sets; NULL counts as empty';
REVOKE ALL ON FUNCTION tide.g_set_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE tide.g_set_merge(jsonb) (
	SFUNC = tide.g_set_merge, STYPE = jsonb, INITCOND = '[]',
	COMBINEFUNC = tide.g_set_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.g_set_merge(jsonb) IS 'merges grow-only sets';
REVOKE ALL ON FUNCTION tide.g_set_merge(jsonb) FROM PUBLIC;

-- OR-set: {"clock": {node: n}, "elements": [{"value": v, "dots": {node: n}}, …]}

CREATE FUNCTION tide.or_set_add(state jsonb, element jsonb, node text) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.or_set_add(jsonb, jsonb, text) IS
	'adds an element to an OR-set at node';
REVOKE ALL ON FUNCTION tide.or_set_add(jsonb, jsonb, text) FROM PUBLIC;

CREATE FUNCTION tide.or_set_remove(state jsonb, element jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_remove'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.or_set_remove(jsonb, jsonb) IS
	'removes an element from an OR-set: the adds that this state has seen';
REVOKE ALL ON FUNCTION tide.or_set_remove(jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION tide.or_set_value(state jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_value'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION tide.or_set_value(jsonb) IS
	'elements of an OR-set, sorted';
REVOKE ALL ON FUNCTION tide.or_set_value(jsonb) FROM PUBLIC;

CREATE FUNCTION tide.or_set_merge(a jsonb, b jsonb) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'tide_sql_or_set_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION tide.or_set_merge(jsonb, jsonb) IS
	'merges two OR-sets; NULL counts as empty';
REVOKE ALL ON FUNCTION tide.or_set_merge(jsonb, jsonb) FROM PUBLIC;

CREATE AGGREGATE tide.or_set_merge(jsonb) (
	SFUNC = tide.or_set_merge, STYPE = jsonb, INITCOND = '{}',
	COMBINEFUNC = tide.or_set_merge, PARALLEL = SAFE
);
COMMENT ON AGGREGATE tide.or_set_merge(jsonb) IS 'merges OR-sets';
REVOKE ALL ON FUNCTION tide.or_set_merge(jsonb) FROM PUBLIC;

-- who may use all this

CREATE FUNCTION tide.allow_crdt(role regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_allow_crdt'
	LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION tide.allow_crdt(regrole) IS
	'lets a role use the functions and operators of clocks and CRDTs; - is everybody';
REVOKE ALL ON FUNCTION tide.allow_crdt(regrole) FROM PUBLIC;

CREATE FUNCTION tide.disallow_crdt(role regrole) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_disallow_crdt'
	LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION tide.disallow_crdt(regrole) IS
	'takes back what allow_crdt gave';
REVOKE ALL ON FUNCTION tide.disallow_crdt(regrole) FROM PUBLIC;
