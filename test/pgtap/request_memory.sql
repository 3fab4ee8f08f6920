-- What a request takes of memory is in proportion to its size: 1e131071 is a short number, and has 131072 digits.
BEGIN;
SELECT plan(6);

CREATE SCHEMA request_memory;
-- the most this backend had, in MB; Linux only
CREATE FUNCTION request_memory.most() RETURNS int LANGUAGE sql AS $$
	SELECT substring(pg_read_file('/proc/self/status') FROM 'VmHWM:\s*(\d+) kB')::int / 1024
$$;
CREATE FUNCTION request_memory.more(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	before int := request_memory.most();
BEGIN
	EXECUTE query;
	RETURN request_memory.most() - before;
END
$$;
CREATE TABLE request_memory.t (id int PRIMARY KEY, tag text);
SELECT tide.create_shape('request_memory', '{"table": "request_memory.t", "where": "tag = ANY (params.tags)"}');

-- texts, as it is tide.pull() that is not to print the numbers
CREATE FUNCTION request_memory.list(element text, n int) RETURNS text LANGUAGE sql AS $$ SELECT '[' || repeat(element || ',', n - 1) || element || ']' $$;
CREATE FUNCTION request_memory.pull(at text, first text, shapes text DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT tide.pull(%L)', format('{"shapes": %s, "cookie": {"v": 1, "at": %s, "first": %s, "mutations": [0, 0]}}', shapes, at, first))
$$;

SELECT lives_ok(request_memory.pull('[]', '[]'), 'code and caches are there');
-- in this order: it is the most that counts
SELECT cmp_ok(request_memory.more(request_memory.pull('[[1, ' || request_memory.list('0e-16383', 3000) || ']]', '[]')), '<', 16, 'zeros with 16383 decimals');
SELECT cmp_ok(request_memory.more(request_memory.pull('[]', request_memory.list('[1e131071]', 3000))), '<', 64, 'first syncs of a cookie');
SELECT cmp_ok(request_memory.more(request_memory.pull('[[1, ' || request_memory.list('1e131071', 6000) || ']]', '[]')), '<', 64, 'its bucket ids');
SELECT throws_ok(request_memory.pull('[]', '[]', '{"request_memory": {"tags": ' || request_memory.list('1e131071', 3000) || '}}'), '22023',
	'parameter "tags" of shape "request_memory" must be a number of at most 1000 characters', 'numbers of a parameter have an end');
SELECT cmp_ok(request_memory.most() - (SELECT setting::int / 128 FROM pg_settings WHERE name = 'shared_buffers'), '<', 300, 'and all of it did not fill the memory');

SELECT * FROM finish();
ROLLBACK;
