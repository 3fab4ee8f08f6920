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
