-- Client schema of pg_tide {{version}} for PostgreSQL 14 or later and PGlite; shapes: {{shapes}}.
-- Run it on an empty database, or on one that an earlier script has made: rows and writes stay. doc/clients.md of pg_tide explains it.
BEGIN;
SET LOCAL search_path = public;
SET LOCAL client_min_messages = warning;

-- what an earlier script has made is made anew, but for tables that keep something
CREATE TEMPORARY TABLE tide_was (
	id integer,
	name text,
	synced regclass
) ON COMMIT DROP;
DO $tide_body$
DECLARE
	t record;
BEGIN
	IF to_regclass('public.tide_table') IS NULL THEN
		RETURN;
	END IF;
	FOR t IN SELECT * FROM public.tide_table LOOP
		INSERT INTO pg_temp.tide_was VALUES (t.id, t.name, t.synced::regclass);
		EXECUTE format('DROP VIEW %s', t.view_name);
		EXECUTE format('DROP TABLE %s', t.local);
		EXECUTE format('ALTER TABLE %s RENAME TO %I', t.synced, 'tide_was_' || t.id);
	END LOOP;
	DROP VIEW public.tide_status, public.tide_call, public.tide_group;
	DROP TABLE public.tide_table;
	FOR t IN SELECT p.oid::regprocedure AS name FROM pg_proc AS p
		WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'tide\_%'
	LOOP
		EXECUTE format('DROP FUNCTION %s CASCADE', t.name);
	END LOOP;
	DROP TYPE public.tide_row, public.tide_change;
END
$tide_body$;

-- who this client is and how far it has come; one row
CREATE TABLE IF NOT EXISTS public.tide_client (
	singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
	client uuid NOT NULL DEFAULT gen_random_uuid(),
	cookie jsonb,
	checkpoint bigint NOT NULL DEFAULT 0,
	next_mutation_id bigint NOT NULL DEFAULT 1,
	last_mutation_id bigint NOT NULL DEFAULT 0,
	rejected_seen bigint NOT NULL DEFAULT 0,
	lsn text,
	clock bigint NOT NULL DEFAULT 0,
	page_limit integer,
	is_online boolean NOT NULL DEFAULT true,
	is_complete boolean NOT NULL DEFAULT false,
	received bigint NOT NULL DEFAULT 0,
	remaining bigint,
	last_sync timestamptz,
	last_error text
);
INSERT INTO public.tide_client DEFAULT VALUES ON CONFLICT DO NOTHING;

-- what the app wants to pull: it inserts and deletes rows here
CREATE TABLE IF NOT EXISTS public.tide_subscription (
	shape text NOT NULL,
	params jsonb NOT NULL DEFAULT '{}',
	PRIMARY KEY (shape, params)
);

-- local writes the server has not confirmed by a checkpoint yet; state is pending,
-- acked (the server has taken it) or cancelled (depends on a rejected one)
CREATE TABLE IF NOT EXISTS public.tide_outbox (
	id bigint PRIMARY KEY,
	op text NOT NULL,
	table_name text NOT NULL,
	key jsonb NOT NULL,
	changed jsonb,
	base jsonb,
	tx bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
	hlc text,
	seen text,
	state text NOT NULL DEFAULT 'pending',
	at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS tide_outbox_row ON public.tide_outbox (table_name, key, id);

-- local writes the server refused, already undone: the app deletes rows, or sets retry
CREATE TABLE IF NOT EXISTS public.tide_rejected (
	id bigint PRIMARY KEY,
	op text NOT NULL,
	table_name text NOT NULL,
	key jsonb NOT NULL,
	changed jsonb,
	base jsonb,
	tx bigint,
	code text,
	message text,
	at timestamptz NOT NULL DEFAULT now(),
	retry boolean NOT NULL DEFAULT false
);

-- what mutators returned to calls, by the call's id; the last 1,000
CREATE TABLE IF NOT EXISTS public.tide_result (
	id bigint PRIMARY KEY,
	name text NOT NULL,
	result jsonb,
	at timestamptz NOT NULL DEFAULT now()
);

-- internal: the tables' names in the protocol, the buckets held, and which bucket holds which row
CREATE TABLE public.tide_table (
	id integer PRIMARY KEY,
	name text NOT NULL UNIQUE,
	view_name text NOT NULL,
	synced text NOT NULL,
	local text NOT NULL
);
-- (a row that came with a first sync names its only bucket itself, in tide_bucket and tide_hash of
-- the synced table; when there is more to say, it moves to tide_member. A row_count below 0 is to be counted)
CREATE TABLE IF NOT EXISTS public.tide_bucket (
	bucket bigint PRIMARY KEY,
	shape text,
	path text,
	params jsonb,
	row_count bigint NOT NULL DEFAULT 0,
	checksum bigint NOT NULL DEFAULT 0,
	resync boolean NOT NULL DEFAULT false
);
CREATE TABLE IF NOT EXISTS public.tide_member (
	tbl integer NOT NULL,
	key jsonb NOT NULL,
	bucket bigint NOT NULL,
	op_id bigint NOT NULL,
	hash bigint NOT NULL,
	PRIMARY KEY (tbl, key, bucket)
);

-- internal: a row, and a change of a page
CREATE TYPE public.tide_row AS (
	tbl integer,
	key jsonb
);
CREATE TYPE public.tide_change AS (
	bucket bigint,
	tbl integer,
	key jsonb,
	op text,
	op_id bigint,
	hash bigint
);

-- internal: a hybrid clock's milliseconds and counter, as one number
CREATE FUNCTION public.tide_clock(at timestamptz)
RETURNS bigint LANGUAGE sql IMMUTABLE
AS $tide_body$
	SELECT floor(extract(epoch FROM tide_clock.at) * 1000)::bigint << 16;
$tide_body$;

-- internal: appends a local write to the outbox
CREATE FUNCTION public.tide_record(op text, table_name text, key jsonb, changed jsonb, base jsonb)
RETURNS void LANGUAGE sql
AS $tide_body$
	WITH c AS (
		UPDATE public.tide_client SET next_mutation_id = next_mutation_id + 1,
			clock = greatest(clock + 1, public.tide_clock(clock_timestamp()))
		RETURNING next_mutation_id - 1 AS id, overlay(lpad(to_hex(clock), 16, '0') PLACING '-' FROM 13 FOR 0) || '-' || right(replace(client::text, '-', ''), 16) AS hlc, lsn)
	INSERT INTO public.tide_outbox (id, op, table_name, key, changed, base, hlc, seen)
	SELECT c.id, tide_record.op, tide_record.table_name, tide_record.key, tide_record.changed, tide_record.base, c.hlc, c.lsn
	FROM c;
$tide_body$;

-- calls of the server's mutators: insert name and args; the rows are those not confirmed yet
CREATE VIEW public.tide_call AS
SELECT o.table_name AS name, o.changed AS args, o.id, o.state FROM public.tide_outbox AS o WHERE o.op = 'call';
CREATE FUNCTION public.tide_add_call() RETURNS trigger LANGUAGE plpgsql
AS $tide_body$
BEGIN
	IF NEW.name IS NULL OR jsonb_typeof(coalesce(NEW.args, '{}')) <> 'object' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a call has a name, and an object of args';
	END IF;
	PERFORM public.tide_record('call', NEW.name, '{}', coalesce(NEW.args, '{}'), NULL);
	NEW.id := (SELECT c.next_mutation_id - 1 FROM public.tide_client AS c);
	RETURN NEW;
END
$tide_body$;
CREATE TRIGGER tide_add_call INSTEAD OF INSERT ON public.tide_call
FOR EACH ROW EXECUTE FUNCTION public.tide_add_call();

{{each tables}}
-- {{table_text}}: what the server says, what local writes make of it, and the view the app uses
{{if schema}}
CREATE SCHEMA IF NOT EXISTS {{schema}};
{{end}}
CREATE TABLE {{synced}} (
	tide_bucket bigint,
	tide_hash bigint,
{{each columns|,
}}	{{c}} {{type}}{{end}},
	PRIMARY KEY ({{each keys|, }}{{c}}{{end}})
);
CREATE TABLE {{local}} (
{{each columns|,
}}	{{c}} {{type}}{{end}},
	tide_deleted boolean NOT NULL,
	PRIMARY KEY ({{each keys|, }}{{c}}{{end}})
);
INSERT INTO public.tide_table (id, name, view_name, synced, local)
VALUES ({{id}}, {{name}}, {{str}}{{table}}{{end}}, {{str}}{{synced}}{{end}}, {{str}}{{local}}{{end}});
CREATE VIEW {{table}} AS
SELECT {{each columns|, }}s.{{c}}{{end}}
FROM {{synced}} AS s
WHERE NOT EXISTS (SELECT 1 FROM {{local}} AS l WHERE {{each keys| AND }}l.{{c}} = s.{{c}}{{end}})
UNION ALL
SELECT {{each columns|, }}l.{{c}}{{end}}
FROM {{local}} AS l
WHERE NOT l.tide_deleted;

CREATE FUNCTION public.tide_write_{{id}}() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY'
SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	key jsonb;
	row_new jsonb;
	row_old jsonb;
	changed jsonb;
	base jsonb;
BEGIN
	IF TG_OP = 'INSERT' THEN
{{if uuidkey}}
{{each keys}}
		NEW.{{c}} := coalesce(NEW.{{c}}, gen_random_uuid());
{{end}}
{{end}}
		IF {{each keys| OR }}NEW.{{c}} IS NULL{{end}} THEN
			RAISE not_null_violation USING MESSAGE = {{str}}null value in the key of "{{table_text}}"{{end}};
		END IF;
		IF EXISTS (SELECT 1 FROM {{table}} AS v WHERE {{each keys| AND }}v.{{c}} = NEW.{{c}}{{end}}) THEN
			RAISE unique_violation USING MESSAGE = {{str}}duplicate key value in "{{table_text}}"{{end}};
		END IF;
		tide.key := jsonb_build_object({{each keys|, }}{{lit}}, NEW.{{c}}{{end}});
		SELECT coalesce(jsonb_object_agg(n.key, n.value), '{}') INTO tide.changed
		FROM jsonb_each(to_jsonb(NEW)) AS n
		WHERE n.key <> ALL (ARRAY[{{each readonly|, }}{{lit}}{{end}}]) AND n.value <> 'null';
		PERFORM public.tide_record('insert', {{name}}, tide.key, tide.changed, NULL);
	ELSIF TG_OP = 'UPDATE' THEN
		tide.key := jsonb_build_object({{each keys|, }}{{lit}}, OLD.{{c}}{{end}});
		IF tide.key <> jsonb_build_object({{each keys|, }}{{lit}}, NEW.{{c}}{{end}}) THEN
			RAISE feature_not_supported USING MESSAGE = {{str}}key of "{{table_text}}" cannot be changed{{end}},
				HINT = 'Delete the row and insert it anew.';
		END IF;
{{each columns}}
{{if isreadonly}}
		NEW.{{c}} := OLD.{{c}};
{{end}}
{{end}}
		tide.row_new := to_jsonb(NEW);
		tide.row_old := to_jsonb(OLD);
		SELECT jsonb_object_agg(n.key, n.value), jsonb_object_agg(n.key, tide.row_old -> n.key)
		INTO tide.changed, tide.base
		FROM jsonb_each(tide.row_new) AS n
		WHERE n.value <> tide.row_old -> n.key;
		IF tide.changed IS NULL THEN
			RETURN NEW;
		END IF;
		PERFORM public.tide_record('update', {{name}}, tide.key, tide.changed, tide.base);
	ELSE
		tide.key := jsonb_build_object({{each keys|, }}{{lit}}, OLD.{{c}}{{end}});
		-- a column that not all shapes show may be null for want of a row that shows it
		tide.row_old := to_jsonb(OLD);
		SELECT coalesce(jsonb_object_agg(n.key, n.value), '{}') INTO tide.base
		FROM jsonb_each(tide.row_old) AS n
		WHERE n.key <> ALL (ARRAY[{{each readonly|, }}{{lit}}{{end}}])
		AND (n.value <> 'null' OR n.key <> ALL (ARRAY[{{each partial|, }}{{lit}}{{end}}]::text[]));
		PERFORM public.tide_record('delete', {{name}}, tide.key, NULL, tide.base);
		INSERT INTO {{local}} ({{each keys|, }}{{c}}{{end}}, tide_deleted)
		VALUES ({{each keys|, }}OLD.{{c}}{{end}}, true)
		ON CONFLICT ({{each keys|, }}{{c}}{{end}}) DO UPDATE SET tide_deleted = true;
		RETURN OLD;
	END IF;
	INSERT INTO {{local}} ({{each columns|, }}{{c}}{{end}}, tide_deleted)
	VALUES ({{each columns|, }}NEW.{{c}}{{end}}, false)
	ON CONFLICT ({{each keys|, }}{{c}}{{end}}) DO UPDATE SET {{each values}}{{c}} = EXCLUDED.{{c}}, {{end}}tide_deleted = false;
	RETURN NEW;
END
$tide_body$;
CREATE TRIGGER tide_write INSTEAD OF INSERT OR UPDATE OR DELETE ON {{table}}
FOR EACH ROW EXECUTE FUNCTION public.tide_write_{{id}}();

{{end}}
-- internal: recomputes local rows from server rows and outbox
CREATE FUNCTION public.tide_rebase(touched public.tide_row[])
RETURNS void LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
BEGIN
{{each tables}}
	IF EXISTS (SELECT 1 FROM unnest(tide_rebase.touched) AS t WHERE t.tbl = {{id}}) THEN
		DELETE FROM {{local}} AS l
		USING unnest(tide_rebase.touched) AS t, jsonb_populate_record(NULL::{{synced}}, t.key) AS k
		WHERE t.tbl = {{id}} AND {{each keys| AND }}l.{{c}} = k.{{c}}{{end}};
		INSERT INTO {{local}} ({{each columns|, }}{{c}}{{end}}, tide_deleted)
		SELECT {{each columns|, }}v.{{c}}{{end}}, coalesce(e.op = 'delete', false)
		FROM (SELECT DISTINCT t.key FROM unnest(tide_rebase.touched) AS t WHERE t.tbl = {{id}}) AS t
		CROSS JOIN LATERAL jsonb_populate_record(NULL::{{synced}}, t.key) AS k
		-- the last insert or delete starts the row anew, later updates go on top
		CROSS JOIN LATERAL (
			SELECT max(o.id) FILTER (WHERE o.op <> 'update') AS id
			FROM public.tide_outbox AS o
			WHERE o.table_name = {{name}} AND o.key = t.key AND o.state <> 'cancelled'
			HAVING count(*) > 0) AS i
		LEFT JOIN public.tide_outbox AS e ON e.id = i.id
		LEFT JOIN {{synced}} AS s ON i.id IS NULL AND {{each keys| AND }}s.{{c}} = k.{{c}}{{end}}
		CROSS JOIN LATERAL (
			SELECT coalesce(jsonb_object_agg(c.key, c.value ORDER BY o.id), '{}') AS changed
			FROM public.tide_outbox AS o, jsonb_each(o.changed) AS c
			WHERE o.table_name = {{name}} AND o.key = t.key AND o.state <> 'cancelled'
			AND o.id >= coalesce(i.id, 0)) AS u
		CROSS JOIN LATERAL jsonb_populate_record(s.*, u.changed || t.key) AS v
		WHERE (i.id IS NOT NULL OR s.{{firstkey}} IS NOT NULL){{each keys}} AND v.{{c}} IS NOT NULL{{end}};
	END IF;
{{end}}
END
$tide_body$;

-- internal: notes what became of mutations; results is an array of {id, status, code, message}.
-- Returns the rows concerned
CREATE FUNCTION public.tide_settle(last_id bigint, results jsonb)
RETURNS public.tide_row[] LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	refused bigint[];
	touched public.tide_row[];
BEGIN
	SELECT array_agg((r ->> 'id')::bigint) INTO tide.refused
	FROM jsonb_array_elements(tide_settle.results) AS r
	WHERE coalesce(r ->> 'status', 'rejected') = 'rejected';
	IF tide.refused IS NOT NULL THEN
		SELECT array_agg(DISTINCT ROW(t.id, o.key)::public.tide_row) INTO tide.touched
		FROM public.tide_outbox AS o JOIN public.tide_table AS t ON t.name = o.table_name
		WHERE o.id = ANY (tide.refused);
		INSERT INTO public.tide_rejected (id, op, table_name, key, changed, base, tx, code, message)
		SELECT o.id, o.op, o.table_name, o.key, o.changed, o.base, o.tx, r ->> 'code', r ->> 'message'
		FROM jsonb_array_elements(tide_settle.results) AS r
		JOIN public.tide_outbox AS o ON o.id = (r ->> 'id')::bigint
		WHERE o.id = ANY (tide.refused) AND o.state <> 'cancelled'
		ORDER BY o.id
		ON CONFLICT (id) DO NOTHING;
		-- what was written on top of a refused insert, up to the next insert, or of a refused
		-- delete, with all of its transaction, and what was written on top of that
		WITH RECURSIVE fall AS (
			SELECT o.id, o.id AS root, true AS undone
			FROM public.tide_outbox AS o WHERE o.id = ANY (tide.refused)
			UNION
			SELECT d.id, f.root, d.op <> 'delete' OR d.tx = o.tx
			FROM fall AS f JOIN public.tide_outbox AS o ON o.id = f.id
			JOIN public.tide_outbox AS d ON d.state = 'pending' AND d.id > tide_settle.last_id AND d.id <> o.id AND d.id <> ALL (tide.refused)
				AND (d.tx = o.tx OR d.table_name = o.table_name AND d.key = o.key AND d.id > o.id
					AND (o.op = 'delete' AND f.undone OR o.op = 'insert' AND NOT EXISTS (SELECT 1 FROM public.tide_outbox AS i
						WHERE i.table_name = o.table_name AND i.key = o.key AND i.op = 'insert' AND i.id > o.id AND i.id <= d.id)))),
		dependent AS (
			SELECT f.id, min(f.root) AS root FROM fall AS f WHERE f.id <> ALL (tide.refused) GROUP BY f.id),
		cancelled AS (
			UPDATE public.tide_outbox AS x SET state = 'cancelled' FROM dependent AS d WHERE x.id = d.id
			RETURNING x.*, d.root),
		rejected AS (
			INSERT INTO public.tide_rejected (id, op, table_name, key, changed, base, tx, code, message)
			SELECT c.id, c.op, c.table_name, c.key, c.changed, c.base, c.tx, r ->> 'code',
				'depends on mutation ' || c.root || ', which was rejected'
			FROM cancelled AS c JOIN jsonb_array_elements(tide_settle.results) AS r ON (r ->> 'id')::bigint = c.root
			ORDER BY c.id
			ON CONFLICT (id) DO NOTHING)
		SELECT array_cat(tide.touched, array_agg(ROW(t.id, c.key)::public.tide_row)) INTO tide.touched
		FROM cancelled AS c JOIN public.tide_table AS t ON t.name = c.table_name;
		-- a clock that was ahead begins anew with the time
		UPDATE public.tide_client SET clock = 0
		WHERE EXISTS (SELECT 1 FROM jsonb_array_elements(tide_settle.results) AS r JOIN public.tide_outbox AS o ON o.id = (r ->> 'id')::bigint
			WHERE r ->> 'code' = '22008');
		DELETE FROM public.tide_outbox WHERE id = ANY (tide.refused);
	END IF;
	IF EXISTS (SELECT 1 FROM public.tide_outbox WHERE op = 'call') THEN
		INSERT INTO public.tide_result (id, name, result)
		SELECT o.id, o.table_name, nullif(r -> 'result', 'null')
		FROM jsonb_array_elements(tide_settle.results) AS r JOIN public.tide_outbox AS o ON o.id = (r ->> 'id')::bigint
		WHERE o.op = 'call' AND r ->> 'status' = 'applied'
		ON CONFLICT (id) DO NOTHING;
		DELETE FROM public.tide_result WHERE id <= (SELECT x.id FROM public.tide_result AS x ORDER BY x.id DESC OFFSET 1000 LIMIT 1);
	END IF;
	DELETE FROM public.tide_outbox WHERE state = 'cancelled' AND id <= tide_settle.last_id;
	UPDATE public.tide_outbox SET state = 'acked' WHERE state = 'pending' AND id <= tide_settle.last_id;
	UPDATE public.tide_client SET last_mutation_id = greatest(last_mutation_id, tide_settle.last_id);
	RETURN coalesce(tide.touched, '{}');
END
$tide_body$;

-- UPDATE tide_rejected SET retry = true: the write is made once more, over what is there now.
-- An update of a column with policy counter, set or custom keeps its base: the difference is what
-- the app has done
CREATE FUNCTION public.tide_retry() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY'
SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	row_now jsonb;
BEGIN
{{each tables}}
	IF NEW.table_name = {{name}} AND NEW.op <> 'call' THEN
		SELECT to_jsonb(v.*) INTO tide.row_now
		FROM {{table}} AS v, jsonb_populate_record(NULL::{{synced}}, NEW.key) AS k
		WHERE {{each keys| AND }}v.{{c}} = k.{{c}}{{end}};
{{if differences}}
		IF NEW.op = 'update' THEN
			tide.row_now := tide.row_now || (SELECT coalesce(jsonb_object_agg(b.key, b.value), '{}') FROM jsonb_each(NEW.base) AS b
				WHERE b.key = ANY (ARRAY[{{each differences|, }}{{lit}}{{end}}]));
		END IF;
{{end}}
	END IF;
{{end}}
	DELETE FROM public.tide_rejected WHERE id = NEW.id;
	PERFORM public.tide_record(NEW.op, NEW.table_name, NEW.key, NEW.changed,
		-- of a row that is not here the values known last
		CASE WHEN tide.row_now IS NULL THEN NEW.base ELSE (SELECT jsonb_object_agg(b.key, tide.row_now -> b.key)
			FROM jsonb_object_keys(CASE NEW.op WHEN 'update' THEN NEW.changed WHEN 'delete' THEN NEW.base ELSE '{}' END) AS b (key)) END);
	PERFORM public.tide_rebase(ARRAY(SELECT ROW(t.id, NEW.key)::public.tide_row FROM public.tide_table AS t WHERE t.name = NEW.table_name));
	RETURN NULL;
END
$tide_body$;
CREATE TRIGGER tide_retry AFTER UPDATE OF retry ON public.tide_rejected
FOR EACH ROW WHEN (NEW.retry) EXECUTE FUNCTION public.tide_retry();

-- internal: the server knows this client no more, but for its last mutation. What it has not
-- taken is pending under a new client id, numbered from 1; what it has is numbered up to 0
CREATE FUNCTION public.tide_renew(response jsonb)
RETURNS void LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	last_id bigint := (tide_renew.response ->> 'last_mutation_id')::bigint;
	apart CONSTANT bigint := 4611686018427387904;
BEGIN
	IF tide_renew.response -> 'expired' IS DISTINCT FROM 'true' OR NOT EXISTS (SELECT 1 FROM public.tide_client
			WHERE client = (tide_renew.response ->> 'client')::uuid) THEN
		RETURN;
	END IF;
	PERFORM public.tide_settle(tide.last_id, '[]');
	-- by way of ids that nobody has: no two may be the same in between
	UPDATE public.tide_outbox SET id = id - tide.last_id - tide.apart;
	UPDATE public.tide_outbox SET id = id + tide.apart;
	UPDATE public.tide_rejected SET id = id - tide.last_id - tide.apart;
	UPDATE public.tide_rejected SET id = id + tide.apart;
	UPDATE public.tide_result SET id = id - tide.last_id - tide.apart;
	UPDATE public.tide_result SET id = id + tide.apart;
	UPDATE public.tide_client SET client = gen_random_uuid(), next_mutation_id = next_mutation_id - tide.last_id,
		last_mutation_id = 0, rejected_seen = 0;
END
$tide_body$;

-- internal: the writes that come next, for a push and for the largest group to be whole; first and last id,
-- and size, of their local transaction, and the size of all up to there. One of more than 10,000 writes is several, as
-- the server takes no larger ones
CREATE VIEW public.tide_group AS
SELECT p.id, min(p.id) OVER w AS first, max(p.id) OVER w AS last, count(*) OVER w AS members, max(p.length) OVER w AS total
FROM (SELECT o.id, CASE o.state WHEN 'cancelled' THEN -o.id ELSE o.tx END AS part,
		(row_number() OVER (PARTITION BY o.tx, o.state ORDER BY o.id) - 1) / 10000 AS nth,
		sum(CASE WHEN o.n <= 1000 THEN (SELECT length(concat(x.key, x.changed, x.base))
			FROM public.tide_outbox AS x WHERE x.id = o.id) END) OVER (ORDER BY o.id) AS length
	FROM (SELECT id, tx, state, row_number() OVER (ORDER BY id) AS n
		FROM public.tide_outbox WHERE state <> 'acked' ORDER BY id LIMIT 11000) AS o) AS p
WINDOW w AS (PARTITION BY p.part, p.nth);

-- what the app hands to tide.pull and tide.push; NULL when there is nothing to push
CREATE FUNCTION public.tide_pull_request()
RETURNS text LANGUAGE sql STABLE
AS $tide_body$
	SELECT (jsonb_build_object('client', c.client,
			'shapes', coalesce((SELECT jsonb_object_agg(s.shape, s.params)
				FROM (SELECT shape, jsonb_agg(params ORDER BY params) AS params
					FROM public.tide_subscription GROUP BY shape) AS s), '{}'),
			'cookie', c.cookie)
		|| CASE WHEN c.page_limit IS NULL THEN '{}' ELSE jsonb_build_object('limit', c.page_limit) END
		|| coalesce((SELECT jsonb_build_object('resync', jsonb_agg(b.bucket))
			FROM public.tide_bucket AS b WHERE b.resync HAVING count(*) > 0), '{}'))::text
	FROM public.tide_client AS c;
$tide_body$;
CREATE FUNCTION public.tide_push_request()
RETURNS text LANGUAGE sql STABLE
AS $tide_body$
	WITH tide_next AS MATERIALIZED (SELECT * FROM public.tide_group)
	SELECT (jsonb_build_object('client', (SELECT client FROM public.tide_client),
			'mutations', jsonb_agg(m.mutation ORDER BY m.id))
		|| coalesce((SELECT jsonb_build_object('rejected_seen', c.rejected_seen)
			FROM public.tide_client AS c WHERE c.rejected_seen > 0), '{}'))::text
	FROM (SELECT o.id, CASE
			WHEN o.state = 'cancelled' THEN
				jsonb_build_object('id', o.id, 'op', 'update', 'table', o.table_name, 'key', o.key, 'values', '{}'::jsonb)
			WHEN o.op = 'call' THEN jsonb_build_object('id', o.id, 'call', o.table_name, 'args', o.changed)
			ELSE jsonb_strip_nulls(jsonb_build_object('id', o.id, 'op', o.op, 'table', o.table_name, 'hlc', o.hlc, 'seen', o.seen))
				|| jsonb_build_object('key', o.key, 'vclock', jsonb_build_object((SELECT client FROM public.tide_client), o.id))
				|| CASE WHEN o.op = 'delete' THEN '{}' ELSE jsonb_build_object('values', o.changed) END
				|| CASE WHEN o.op = 'insert' THEN '{}' ELSE jsonb_build_object('base', o.base) END
			END || CASE WHEN g.members > 1 THEN jsonb_build_object('tx', g.first) ELSE '{}' END AS mutation
		FROM tide_next AS g JOIN public.tide_outbox AS o ON o.id = g.id
		WHERE g.last = (SELECT min(x.last) FROM tide_next AS x) OR g.last <= (SELECT min(x.id) + 999 FROM tide_next AS x) AND g.total <= 2000000
	) AS m
	HAVING count(*) > 0;
$tide_body$;

-- how sync stands: offline, error, new, syncing or synced; the app may set is_online and last_error
CREATE VIEW public.tide_status AS
SELECT CASE WHEN NOT c.is_online THEN 'offline'
		WHEN c.last_error IS NOT NULL THEN 'error'
		WHEN c.cookie IS NULL THEN 'new'
		WHEN NOT c.is_complete OR EXISTS (SELECT 1 FROM public.tide_bucket WHERE resync) THEN 'syncing'
		ELSE 'synced' END AS state,
	(SELECT count(*) FROM public.tide_outbox) AS pending,
	(SELECT count(*) FROM public.tide_rejected) AS rejected,
	c.remaining, c.received, c.received + c.remaining AS expected, c.is_online, c.last_sync, c.last_error
FROM public.tide_client AS c;
CREATE FUNCTION public.tide_set_status() RETURNS trigger LANGUAGE plpgsql
AS $tide_body$
BEGIN
	IF TG_RELNAME = 'tide_status' THEN
		UPDATE public.tide_client SET last_error = NEW.last_error, is_online = NEW.is_online;
	ELSE
		UPDATE public.tide_client SET is_complete = false;
	END IF;
	RETURN NEW;
END
$tide_body$;
CREATE TRIGGER tide_set_status INSTEAD OF UPDATE ON public.tide_status
FOR EACH ROW EXECUTE FUNCTION public.tide_set_status();
CREATE TRIGGER tide_set_status AFTER INSERT ON public.tide_subscription
FOR EACH ROW EXECUTE FUNCTION public.tide_set_status();

-- internal: the changes of an answer of tide.pull, last one of a row and bucket only. Those of a table that
-- the script does not know are under number 0, that the bucket adds up
CREATE FUNCTION public.tide_read_changes(response jsonb)
RETURNS public.tide_change[] LANGUAGE sql STABLE
AS $tide_body$
	SELECT coalesce(array_agg(ROW(c.bucket, c.tbl, c.key, c.op, c.op_id, c.hash)::public.tide_change), '{}')
	FROM (SELECT DISTINCT ON (1, 2, 3)
			c.bucket, coalesce(t.id, 0) AS tbl, CASE WHEN t.id IS NULL THEN jsonb_build_array(c."table", c.key) ELSE c.key END AS key,
			c.op, c.op_id, coalesce(c.hash, 0) AS hash
		FROM ROWS FROM (jsonb_to_recordset(response -> 'changes')
			AS (bucket bigint, "table" text, key jsonb, op text, op_id bigint, hash bigint))
			WITH ORDINALITY AS c (bucket, "table", key, op, op_id, hash, n)
		LEFT JOIN public.tide_table AS t ON t.name = c."table"
		ORDER BY 1, 2, 3, c.n DESC) AS c;
$tide_body$;

-- internal: puts the rows of a page straight into the tables; false if not all of the page are
-- new rows of buckets that it lists, and nothing is done
CREATE FUNCTION public.tide_load(response jsonb)
RETURNS boolean LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	buckets bigint[] := ARRAY(SELECT b.bucket FROM jsonb_to_recordset(response -> 'buckets') AS b (bucket bigint) WHERE b.bucket IS NOT NULL);
	tables text[] := ARRAY(SELECT t.name FROM public.tide_table AS t);
	missing bigint := jsonb_array_length(tide_load.response -> 'changes');
	n bigint;
BEGIN
	IF cardinality(tide.tables) > 1 THEN
		tide.tables := ARRAY(SELECT DISTINCT c ->> 'table' FROM jsonb_array_elements(tide_load.response -> 'changes') AS c);
	END IF;
{{each tables}}
	IF {{name}} = ANY (tide.tables) THEN
		INSERT INTO {{synced}} (tide_bucket, tide_hash, {{each columns|, }}{{c}}{{end}})
		SELECT c.bucket, coalesce(c.hash, 0), {{each columns|, }}(c."row").{{c}}{{end}}
		FROM jsonb_to_recordset(jsonb_path_query_array(tide_load.response,
				'$.changes[*] ? (@.table == $name && @.op == "put")', jsonb_build_object('name', {{name}})))
			AS c (bucket bigint, hash bigint, "row" {{synced}})
		WHERE c.bucket = ANY (tide.buckets);
		GET DIAGNOSTICS n = ROW_COUNT;
		tide.missing := tide.missing - tide.n;
	END IF;
{{end}}
	IF tide.missing > 0 THEN
		RAISE unique_violation;
	END IF;
	RETURN true;
EXCEPTION WHEN unique_violation THEN
	RETURN false;
END
$tide_body$;

-- internal: moves what rows of a page say of their bucket to tide_member
CREATE FUNCTION public.tide_unload(page public.tide_change[])
RETURNS void LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
BEGIN
{{each tables}}
	INSERT INTO public.tide_member (tbl, key, bucket, op_id, hash)
	SELECT {{id}}, p.key, s.tide_bucket, 0, s.tide_hash
	FROM (SELECT DISTINCT p.key FROM unnest(tide_unload.page) AS p WHERE p.tbl = {{id}}) AS p
	CROSS JOIN LATERAL jsonb_populate_record(NULL::{{synced}}, p.key) AS k
	JOIN {{synced}} AS s ON {{each keys| AND }}s.{{c}} = k.{{c}}{{end}}
	WHERE s.tide_bucket IS NOT NULL;
	IF FOUND THEN
		UPDATE {{synced}} AS s SET tide_bucket = NULL, tide_hash = NULL
		FROM unnest(tide_unload.page) AS p, jsonb_populate_record(NULL::{{synced}}, p.key) AS k
		WHERE p.tbl = {{id}} AND {{each keys| AND }}s.{{c}} = k.{{c}}{{end}} AND s.tide_bucket IS NOT NULL;
	END IF;
{{end}}
END
$tide_body$;

-- internal: counts what buckets have
CREATE FUNCTION public.tide_count()
RETURNS void LANGUAGE sql
AS $tide_body$
	UPDATE public.tide_bucket AS b SET row_count = coalesce(d.n, 0), checksum = coalesce(d.h, 0)
	FROM public.tide_bucket AS x
	LEFT JOIN (SELECT m.bucket, sum(m.n)::bigint AS n, sum(m.h)::bigint & 4294967295 AS h
		FROM (SELECT bucket, count(*) AS n, sum(hash) AS h FROM public.tide_member GROUP BY bucket
{{each tables}}
			UNION ALL SELECT tide_bucket, count(*), sum(tide_hash) FROM {{synced}} WHERE tide_bucket IS NOT NULL GROUP BY tide_bucket
{{end}}
		) AS m
		GROUP BY m.bucket) AS d ON d.bucket = x.bucket
	WHERE x.bucket = b.bucket;
$tide_body$;

-- internal: brings buckets and memberships up to date; returns the rows that left a bucket
CREATE FUNCTION public.tide_apply_buckets(response jsonb, page public.tide_change[], dropped bigint[], loaded boolean)
RETURNS public.tide_row[] LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	gone public.tide_row[];
	fresh bigint;
BEGIN
	SELECT array_agg(DISTINCT ROW(p.tbl, p.key)::public.tide_row) INTO tide.gone
	FROM unnest(tide_apply_buckets.page) AS p WHERE p.op = 'remove';
	IF cardinality(tide_apply_buckets.dropped) > 0 THEN
		WITH d AS (
			DELETE FROM public.tide_member WHERE bucket = ANY (tide_apply_buckets.dropped) RETURNING tbl, key)
		SELECT array_cat(tide.gone, array_agg(DISTINCT ROW(d.tbl, d.key)::public.tide_row)) INTO tide.gone FROM d;
		DELETE FROM public.tide_bucket WHERE bucket = ANY (tide_apply_buckets.dropped);
	END IF;
	PERFORM public.tide_unload(tide_apply_buckets.page);

	INSERT INTO public.tide_bucket (bucket)
	SELECT DISTINCT p.bucket FROM unnest(tide_apply_buckets.page) AS p
	ON CONFLICT (bucket) DO NOTHING;
	INSERT INTO public.tide_bucket (bucket, shape, path, params)
	SELECT DISTINCT ON (b.bucket) b.bucket, b.shape, coalesce(b.path, ''), b.params
	FROM jsonb_to_recordset(tide_apply_buckets.response -> 'buckets') AS b (bucket bigint, shape text, path text, params jsonb)
	WHERE b.bucket IS NOT NULL
	ON CONFLICT (bucket) DO UPDATE SET shape = EXCLUDED.shape, path = EXCLUDED.path, params = EXCLUDED.params
	WHERE (tide_bucket.shape, tide_bucket.path, tide_bucket.params) IS DISTINCT FROM (EXCLUDED.shape, EXCLUDED.path, EXCLUDED.params);
	IF tide_apply_buckets.loaded THEN
		UPDATE public.tide_bucket SET row_count = -1 WHERE row_count >= 0;
	END IF;
	IF tide.gone IS NOT NULL THEN
		WITH m AS (
			DELETE FROM public.tide_member AS m USING unnest(tide_apply_buckets.page) AS p
			WHERE p.op = 'remove' AND m.tbl = p.tbl AND m.key = p.key AND m.bucket = p.bucket
			RETURNING m.bucket, m.hash),
		d AS (SELECT m.bucket, count(*) AS n, sum(m.hash)::bigint AS h FROM m GROUP BY m.bucket)
		UPDATE public.tide_bucket AS b SET row_count = row_count - d.n, checksum = (checksum - d.h) & 4294967295
		FROM d WHERE d.bucket = b.bucket AND b.row_count >= 0;
	END IF;
	-- rows new to their bucket, in a first sync all of them; then what is left of the page
	WITH m AS (
		INSERT INTO public.tide_member (tbl, key, bucket, op_id, hash)
		SELECT p.tbl, p.key, p.bucket, p.op_id, p.hash FROM unnest(tide_apply_buckets.page) AS p WHERE p.op = 'put'
		ON CONFLICT (tbl, key, bucket) DO NOTHING
		RETURNING bucket, hash),
	d AS (SELECT m.bucket, count(*) AS n, sum(m.hash)::bigint AS h FROM m GROUP BY m.bucket),
	u AS (
		UPDATE public.tide_bucket AS b SET row_count = row_count + d.n, checksum = (checksum + d.h) & 4294967295
		FROM d WHERE d.bucket = b.bucket AND b.row_count >= 0)
	SELECT coalesce(sum(d.n), 0) INTO tide.fresh FROM d;
	IF tide.fresh < cardinality(tide_apply_buckets.page) THEN
		UPDATE public.tide_bucket AS b SET checksum = (checksum + d.h) & 4294967295
		FROM (SELECT p.bucket, sum(p.hash - m.hash)::bigint AS h
			FROM unnest(tide_apply_buckets.page) AS p
			JOIN public.tide_member AS m ON m.tbl = p.tbl AND m.key = p.key AND m.bucket = p.bucket
			WHERE p.op = 'put'
			GROUP BY p.bucket) AS d
		WHERE d.bucket = b.bucket AND d.h <> 0;
		UPDATE public.tide_member AS m SET op_id = p.op_id, hash = p.hash
		FROM unnest(tide_apply_buckets.page) AS p
		WHERE p.op = 'put' AND m.tbl = p.tbl AND m.key = p.key AND m.bucket = p.bucket
		AND (m.op_id, m.hash) <> (p.op_id, p.hash);
	END IF;
	IF tide_apply_buckets.response -> 'complete' = 'true' AND EXISTS (SELECT 1 FROM public.tide_bucket WHERE row_count < 0) THEN
		PERFORM public.tide_count();
	END IF;
	UPDATE public.tide_bucket AS b SET resync = NOT b.resync
	FROM jsonb_to_recordset(tide_apply_buckets.response -> 'buckets') AS r (bucket bigint, count bigint, checksum bigint)
	WHERE r.bucket = b.bucket AND r.count IS NOT NULL AND tide_apply_buckets.response -> 'complete' = 'true'
	AND b.resync <> ((b.row_count, b.checksum) IS DISTINCT FROM (r.count, r.checksum));
	RETURN coalesce(tide.gone, '{}');
END
$tide_body$;

-- internal: between pages a row with a write that the server has taken stays, or it would go and perhaps come
-- back: bucket 0 holds it. Returns the rows that are gone, with a complete answer those that were held among them
CREATE FUNCTION public.tide_hold(gone public.tide_row[], complete boolean, settled public.tide_row[])
RETURNS public.tide_row[] LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	held public.tide_row[];
BEGIN
	IF tide_hold.complete THEN
		WITH m AS (
			DELETE FROM public.tide_member AS m USING (
				SELECT s.tbl, s.key FROM unnest(tide_hold.settled) AS s
				UNION
				SELECT t.id, o.key FROM public.tide_outbox AS o JOIN public.tide_table AS t ON t.name = o.table_name
				WHERE o.state = 'acked') AS r
			WHERE m.tbl = r.tbl AND m.key = r.key AND m.bucket = 0
			RETURNING m.tbl, m.key)
		SELECT array_agg(ROW(m.tbl, m.key)::public.tide_row) INTO tide.held FROM m;
		RETURN tide_hold.gone || tide.held;
	END IF;
	tide.held := ARRAY(SELECT DISTINCT ROW(g.tbl, g.key)::public.tide_row
		FROM unnest(tide_hold.gone) AS g JOIN public.tide_table AS t ON t.id = g.tbl
		JOIN public.tide_outbox AS o ON o.table_name = t.name AND o.key = g.key AND o.state = 'acked');
	INSERT INTO public.tide_member (tbl, key, bucket, op_id, hash)
	SELECT h.tbl, h.key, 0, 0, 0 FROM unnest(tide.held) AS h
	ON CONFLICT (tbl, key, bucket) DO NOTHING;
	RETURN ARRAY(SELECT ROW(g.tbl, g.key)::public.tide_row FROM unnest(tide_hold.gone) AS g
		WHERE (g.tbl, g.key) NOT IN (SELECT h.tbl, h.key FROM unnest(tide.held) AS h));
END
$tide_body$;

-- internal: brings the server rows up to date
CREATE FUNCTION public.tide_apply_rows(response jsonb, page public.tide_change[], gone public.tide_row[])
RETURNS void LANGUAGE plpgsql
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	tables integer[];
BEGIN
	SELECT array_agg(DISTINCT t.tbl) INTO tide.tables
	FROM (SELECT p.tbl FROM unnest(tide_apply_rows.page) AS p
		UNION ALL
		SELECT g.tbl FROM unnest(tide_apply_rows.gone) AS g) AS t;
{{each tables}}
	IF {{id}} = ANY (tide.tables) THEN
{{each sets}}
		INSERT INTO {{synced}} ({{each setcolumns|, }}{{c}}{{end}})
		SELECT DISTINCT ON ({{each keys|, }}r.{{c}}{{end}}) {{each setcolumns|, }}r.{{c}}{{end}}
		FROM jsonb_array_elements(tide_apply_rows.response -> 'changes') AS p,
			jsonb_populate_record(NULL::{{synced}}, p.value -> 'row') AS r
		WHERE p.value ->> 'table' = {{name}} AND p.value ->> 'op' = 'put'{{each setextra}} AND p.value -> 'row' ? {{lit}}{{end}}
		ORDER BY {{each keys|, }}r.{{c}}{{end}}, (p.value ->> 'op_id')::bigint DESC
		ON CONFLICT ({{each keys|, }}{{c}}{{end}}) DO {{if setvalues}}UPDATE SET {{each setvalues|, }}{{c}} = EXCLUDED.{{c}}{{end}}{{end}}{{if nosetvalues}}NOTHING{{end}};
{{end}}
		IF cardinality(tide_apply_rows.gone) > 0 THEN
			DELETE FROM {{synced}} AS s
			USING unnest(tide_apply_rows.gone) AS g, jsonb_populate_record(NULL::{{synced}}, g.key) AS k
			WHERE g.tbl = {{id}} AND s.tide_bucket IS NULL AND {{each keys| AND }}s.{{c}} = k.{{c}}{{end}}
			AND NOT EXISTS (SELECT 1 FROM public.tide_member AS m WHERE m.tbl = {{id}} AND m.key = g.key);
{{each partial}}
			UPDATE {{synced}} AS s SET {{c}} = NULL
			FROM unnest(tide_apply_rows.gone) AS g, jsonb_populate_record(NULL::{{synced}}, g.key) AS k
			WHERE g.tbl = {{id}} AND s.tide_bucket IS NULL AND s.{{c}} IS NOT NULL AND {{each keys| AND }}s.{{c}} = k.{{c}}{{end}}
			AND NOT EXISTS (SELECT 1 FROM public.tide_member AS m JOIN public.tide_bucket AS b ON b.bucket = m.bucket
				WHERE m.tbl = {{id}} AND m.key = g.key AND (b.shape IS NULL OR (b.shape, b.path) IN (VALUES {{each holders|, }}{{holder}}{{end}})));
{{end}}
		END IF;
	END IF;
{{end}}
END
$tide_body$;

-- where the app puts the answers of tide.pull and tide.push; returns the state of sync
CREATE FUNCTION public.tide_apply(response jsonb)
RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, MDY'
SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex'
AS $tide_body$
#variable_conflict use_column
<<tide>>
DECLARE
	complete boolean := coalesce(response -> 'complete' = 'true', false);
	last_id bigint := coalesce((response ->> 'last_mutation_id')::bigint, 0);
	op_id bigint := (response -> 'checkpoint' ->> 'op_id')::bigint;
	dropped bigint[];
	page public.tide_change[];
	gone public.tide_row[];
	touched public.tide_row[];
	newest bigint;
	epoch text;
	pulls bigint;
	own boolean;
	loaded boolean;
	synced text;
BEGIN
	SELECT checkpoint, cookie ->> 'epoch', coalesce((cookie ->> 'n')::bigint, 0) INTO tide.newest, tide.epoch, tide.pulls
	FROM public.tide_client FOR UPDATE;
	IF jsonb_typeof(response -> 'results') = 'array' THEN
		IF response -> 'expired' = 'true' THEN
			PERFORM public.tide_renew(response);
		ELSE
			PERFORM public.tide_rebase(public.tide_settle(tide.last_id, response -> 'results'));
		END IF;
		UPDATE public.tide_client SET last_error = NULL, is_online = true;
	ELSIF jsonb_typeof(response -> 'changes') = 'array' THEN
		SELECT coalesce(array_agg(d::bigint), '{}') INTO tide.dropped
		FROM jsonb_array_elements_text(response -> 'drop') AS d;
		-- an answer to a cookie of before the last one applied is old news; servers of before this version do not number cookies, there
		-- it is one of an earlier checkpoint, but of a server set back in time
		IF (CASE WHEN response -> 'cookie' ->> 'n' IS NOT NULL THEN (response -> 'cookie' ->> 'n')::bigint > tide.pulls
			ELSE tide.op_id >= tide.newest OR cardinality(tide.dropped) > 0 AND response -> 'cookie' ->> 'epoch' IS DISTINCT FROM tide.epoch
				OR NOT EXISTS (SELECT 1 FROM public.tide_bucket) END) THEN
			PERFORM public.tide_renew(response);
			-- mutations, if they are those of the client as it is now
			tide.own := EXISTS (SELECT 1 FROM public.tide_client
				WHERE client = coalesce((response -> 'cookie' ->> 'client')::uuid, client));
			IF tide.own THEN
				tide.touched := public.tide_settle(tide.last_id, coalesce(response -> 'rejected', '[]'));
				UPDATE public.tide_client SET rejected_seen = greatest(rejected_seen, tide.last_id);
			END IF;
			IF tide.own AND tide.complete THEN
				WITH o AS (DELETE FROM public.tide_outbox WHERE id <= tide.last_id RETURNING table_name, key)
				SELECT array_cat(tide.touched, array_agg(ROW(t.id, o.key)::public.tide_row)) INTO tide.touched
				FROM o JOIN public.tide_table AS t ON t.name = o.table_name;
			END IF;
			IF cardinality(tide.dropped) > 0 THEN
				FOR tide.synced IN SELECT t.synced FROM public.tide_table AS t LOOP
					EXECUTE format('DELETE FROM %s WHERE tide_bucket = ANY ($1)', tide.synced) USING tide.dropped;
				END LOOP;
			END IF;
			-- a first sync, in its usual form
			tide.loaded := (NOT tide.complete OR NOT (SELECT is_complete FROM public.tide_client))
				AND public.tide_load(response);
			tide.page := CASE WHEN tide.loaded THEN '{}' ELSE public.tide_read_changes(response) END;
			tide.gone := public.tide_hold(public.tide_apply_buckets(response, tide.page, tide.dropped, tide.loaded),
				tide.complete, tide.touched);
			PERFORM public.tide_apply_rows(response, tide.page, tide.gone);
			-- local writes on top
			SELECT array_cat(tide.touched, array_agg(ROW(t.id, o.key)::public.tide_row)) INTO tide.touched
			FROM public.tide_outbox AS o JOIN public.tide_table AS t ON t.name = o.table_name
			WHERE tide.loaded OR cardinality(tide.dropped) > 0
			OR (t.id, o.key) IN (SELECT p.tbl, p.key FROM unnest(tide.page) AS p);
			PERFORM public.tide_rebase(tide.touched);
			UPDATE public.tide_client SET cookie = response -> 'cookie', checkpoint = tide.op_id,
				is_complete = tide.complete, remaining = (response ->> 'remaining')::bigint,
				received = CASE WHEN is_complete THEN 0 ELSE received END + jsonb_array_length(response -> 'changes'),
				lsn = response -> 'checkpoint' ->> 'lsn',
				clock = greatest(clock, public.tide_clock((response -> 'checkpoint' ->> 'at')::timestamptz)),
				last_sync = CASE WHEN tide.complete THEN clock_timestamp() ELSE last_sync END,
				last_error = NULL, is_online = true;
		END IF;
	ELSE
		RAISE invalid_parameter_value USING MESSAGE = 'not an answer of tide.pull or tide.push';
	END IF;
	RETURN (SELECT state FROM public.tide_status);
END
$tide_body$;

-- what was there before, under the tables' new ids; what it lacks is asked for again
DO $tide_body$
DECLARE
	t record;
	unsent record;
	same text;
	lacks boolean;
	unfit jsonb := '[]';
BEGIN
	DELETE FROM public.tide_member AS m
	WHERE NOT EXISTS (SELECT 1 FROM pg_temp.tide_was AS w JOIN public.tide_table AS x ON x.name = w.name WHERE w.id = m.tbl);
	UPDATE public.tide_member AS m SET tbl = -x.id
	FROM pg_temp.tide_was AS w JOIN public.tide_table AS x ON x.name = w.name
	WHERE w.id = m.tbl AND w.id <> x.id;
	UPDATE public.tide_member SET tbl = -tbl WHERE tbl < 0;
	FOR t IN SELECT x.synced::regclass AS new, w.synced AS old
		FROM public.tide_table AS x LEFT JOIN pg_temp.tide_was AS w ON w.name = x.name
	LOOP
		SELECT string_agg(quote_ident(n.attname), ', ') FILTER (WHERE o.attname IS NOT NULL),
			bool_or((o.attname IS NULL OR (o.attnum = ANY (oi.indkey)) <> (n.attnum = ANY (ni.indkey))) AND n.attname NOT IN ('tide_bucket', 'tide_hash'))
		INTO same, lacks
		FROM pg_attribute AS n
		JOIN pg_index AS ni ON ni.indrelid = n.attrelid AND ni.indisprimary
		LEFT JOIN pg_index AS oi ON oi.indrelid = t.old AND oi.indisprimary
		LEFT JOIN pg_attribute AS o ON o.attrelid = t.old AND o.attname = n.attname AND NOT o.attisdropped
			AND (o.atttypid, o.atttypmod) = (n.atttypid, n.atttypmod)
		WHERE n.attrelid = t.new AND n.attnum > 0;
		IF lacks THEN
			UPDATE public.tide_bucket SET resync = true;
		END IF;
		-- a row whose key is another one comes anew
		IF t.old IS NOT NULL AND NOT EXISTS (SELECT 1
				FROM pg_index AS i JOIN pg_attribute AS n ON n.attrelid = t.new AND n.attnum = ANY (i.indkey)
				WHERE i.indrelid = t.new AND i.indisprimary
				AND NOT EXISTS (SELECT 1
					FROM pg_index AS p JOIN pg_attribute AS o ON o.attrelid = t.old AND o.attnum = ANY (p.indkey)
					WHERE p.indrelid = t.old AND p.indisprimary AND o.attname = n.attname AND o.atttypid = n.atttypid)) THEN
			EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s ON CONFLICT DO NOTHING', t.new, same, same, t.old);
		END IF;
	END LOOP;
	FOR t IN SELECT w.synced FROM pg_temp.tide_was AS w LOOP
		EXECUTE format('DROP TABLE %s', t.synced);
	END LOOP;
	DELETE FROM public.tide_subscription WHERE shape <> ALL (ARRAY[{{shape_list}}]);
	-- writes that the tables as they are now cannot take are refused, with what rests on them; the server gets their ids
	FOR t IN SELECT x.name, x.synced FROM public.tide_table AS x LOOP
		BEGIN
			EXECUTE format('SELECT count(jsonb_populate_record(NULL::%s, coalesce(o.changed, ''{}'') || o.key)) FROM public.tide_outbox AS o
				WHERE o.table_name = $1 AND o.state <> ''cancelled''', t.synced) USING t.name;
		EXCEPTION WHEN data_exception THEN
			FOR unsent IN SELECT * FROM public.tide_outbox AS o WHERE o.table_name = t.name AND o.state <> 'cancelled' LOOP
				BEGIN
					EXECUTE format('SELECT jsonb_populate_record(NULL::%s, $1)', t.synced) USING coalesce(unsent.changed, '{}') || unsent.key;
				EXCEPTION WHEN data_exception THEN
					unfit := unfit || jsonb_build_object('id', unsent.id, 'status', 'rejected', 'code', SQLSTATE, 'message', SQLERRM, 'name', t.name);
				END;
			END LOOP;
		END;
	END LOOP;
	PERFORM public.tide_settle(0, unfit);
	INSERT INTO public.tide_outbox (id, op, table_name, key, changed, state)
	SELECT u.id, 'update', u.name, '{}', '{}', 'cancelled'
	FROM jsonb_to_recordset(unfit) AS u (id bigint, name text), public.tide_client AS c
	WHERE u.id > c.last_mutation_id;
	PERFORM public.tide_rebase(ARRAY(SELECT ROW(x.id, o.key)::public.tide_row
		FROM public.tide_outbox AS o JOIN public.tide_table AS x ON x.name = o.table_name));
END
$tide_body$;

COMMIT;
