-- hybrid logical clocks: forms, parts, order, steps, and what is refused
\set VERBOSITY terse
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SELECT tide.make_hlc('2026-11-21 10:00:00.123', 3, '6f9c1d2e-0000-4000-8000-000000000001') AS clock \gset
SELECT :'clock', pg_typeof(:'clock'::tide.hlc), tide.hlc_time(:'clock'), tide.hlc_counter(:'clock'), tide.hlc_node(:'clock'),
	tide.hlc_client_node('6f9c1d2e-0000-4000-8000-000000000001'), :'clock'::tide.hlc::timestamptz AS cast;
SELECT tide.hlc_send(:'clock'), pg_column_size(:'clock'::tide.hlc), to_jsonb(:'clock'::tide.hlc), :'clock'::tide.hlc::text;
SELECT tide.hlc_time('ffffffffffff-ffff-ffffffffffffffff'), tide.hlc_time('000000000000-0000-0000000000000000');
SELECT typname, typlen, typbyval, typalign, typstorage FROM pg_type WHERE oid = 'tide.hlc'::regtype;

-- texts that are no clocks
SELECT ''::tide.hlc;
SELECT '01a1fd8c697b-0003-800000000000000'::tide.hlc;
SELECT '01a1fd8c697b-0003-80000000000000011'::tide.hlc;
SELECT ' 01a1fd8c697b-0003-8000000000000001'::tide.hlc;
SELECT '01A1FD8C697B-0003-8000000000000001'::tide.hlc;
SELECT '01a1fd8c697b_0003-8000000000000001'::tide.hlc;
SELECT '01a1fd8c697b-0003_8000000000000001'::tide.hlc;
SELECT '01a1fd8c697g-0003-8000000000000001'::tide.hlc;
SELECT '-1a1fd8c697b-0003-8000000000000001'::tide.hlc;
SELECT '01a1fd8c697b-0x03-8000000000000001'::tide.hlc;
SELECT '01a1fd8c697b-0003-80000000000000z1'::tide.hlc;
\set VERBOSITY default
SELECT 'now'::tide.hlc;
\set VERBOSITY terse

-- parts that make no clock
SELECT tide.make_hlc('2026-11-21', -1, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('2026-11-21', 65536, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('2026-11-21', 65535, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('1969-12-31 23:59:59.999', 0, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('1970-01-01', 0, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('10889-08-02 05:31:50.655', 0, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('10889-08-02 05:31:50.656', 0, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('infinity', 0, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('-infinity', 0, '6f9c1d2e-0000-4000-8000-000000000001');
SELECT tide.make_hlc('294276-12-31', 0, '6f9c1d2e-0000-4000-8000-000000000001');

-- order: time, counter, node; in tables, indexes, joins
SET search_path = public, tide;
CREATE TABLE clocks (h hlc PRIMARY KEY, n int);
INSERT INTO clocks VALUES ('000000000002-0000-0000000000000000', 4), ('000000000001-0001-0000000000000001', 2),
	('000000000001-0001-ffffffffffffffff', 3), ('000000000001-0000-ffffffffffffffff', 1), ('ffffffffffff-0000-0000000000000000', 5);
INSERT INTO clocks VALUES ('000000000002-0000-0000000000000000', 6);
SELECT n, h FROM clocks ORDER BY h;
SELECT array_agg(n ORDER BY h) FROM clocks WHERE h > '000000000001-0001-0000000000000001' AND h <= '000000000002-0000-0000000000000000';
SELECT max(h), min(h), max(h) FILTER (WHERE false) FROM clocks;
SELECT a.n, hlc_compare(a.h, b.h), a.h < b.h AS lt, a.h <= b.h AS le, a.h = b.h AS eq, a.h <> b.h AS ne, a.h >= b.h AS ge, a.h > b.h AS gt
  FROM clocks a, clocks b WHERE b.n = 3 ORDER BY a.h;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT n FROM clocks WHERE h = '000000000001-0001-0000000000000001';
SET enable_mergejoin = off;
SET enable_nestloop = off;
SET enable_indexscan = off;
SELECT count(*) FROM clocks a JOIN clocks b USING (h);
RESET ALL;
DROP TABLE clocks;
SET TimeZone = 'UTC';

-- steps at a given time: 1 s is 3e8 ms in hexadecimal
SELECT tide.hlc_tick('000000000100-0005-00000000000000aa', '1970-01-01 00:00:01') AS time_went_on,
	tide.hlc_tick('000000000400-0005-00000000000000aa', '1970-01-01 00:00:01') AS counts,
	tide.hlc_tick('000000000400-ffff-00000000000000aa', '1970-01-01 00:00:01') AS carries;
SELECT tide.hlc_receive('000000000100-0005-00000000000000aa', '000000000200-0007-00000000000000bb', '1970-01-01 00:00:01') AS time_went_on,
	tide.hlc_receive('000000000500-0005-00000000000000aa', '000000000400-0007-00000000000000bb', '1970-01-01 00:00:01') AS after_own,
	tide.hlc_receive('000000000400-0005-00000000000000aa', '000000000500-0007-00000000000000bb', '1970-01-01 00:00:01') AS after_other,
	tide.hlc_receive('000000000500-0005-00000000000000aa', '000000000500-0007-00000000000000bb', '1970-01-01 00:00:01') AS after_both;
SELECT tide.hlc_tick('ffffffffffff-ffff-00000000000000aa', '1970-01-01 00:00:01');
-- a clock that is ahead: 60 s are allowed, not a ms more
SELECT tide.hlc_receive('000000000000-0000-00000000000000aa', '00000000ee48-ffff-00000000000000bb', '1970-01-01 00:00:01');
SELECT tide.hlc_receive('000000000000-0000-00000000000000aa', '00000000ee49-0000-00000000000000bb', '1970-01-01 00:00:01');
SELECT tide.hlc_receive('000000000000-0000-00000000000000aa', 'ffffffffffff-ffff-ffffffffffffffff', '1970-01-01 00:00:01');
SET tide.max_clock_drift = '1 h';
SELECT tide.hlc_receive('000000000000-0000-00000000000000aa', '00000000ee49-0000-00000000000000bb', '1970-01-01 00:00:01');
SET tide.max_clock_drift = 0;
SELECT tide.hlc_receive('000000000000-0000-00000000000000aa', '0000000003e8-0000-00000000000000bb', '1970-01-01 00:00:01');
SELECT tide.hlc_receive('000000000000-0000-00000000000000aa', '0000000003e9-0000-00000000000000bb', '1970-01-01 00:00:01');
-- the server's message is of its major
\set VERBOSITY sqlstate
SET tide.max_clock_drift = -1;
\set VERBOSITY default
RESET tide.max_clock_drift;

-- the server's
SELECT tide.hlc_node(tide.hlc_now()) = lpad(to_hex(system_identifier), 16, '0') AS system, tide.hlc_node(tide.hlc_now('6f9c1d2e-0000-4000-8000-000000000001')) AS given,
	abs(extract(epoch FROM tide.hlc_time(tide.hlc_now()) - clock_timestamp())) < 100 AS near FROM pg_control_system();
\set VERBOSITY sqlstate
SELECT tide.hlc_observe('ffffffffffff-0000-0000000000000001');
