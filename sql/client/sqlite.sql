-- Client schema of pg_tide {{version}} for SQLite 3.38 or later; shapes: {{shapes}}.
-- Run it on an empty database, or on one that an earlier script has made: rows and writes stay. doc/clients.md of pg_tide explains it.
BEGIN IMMEDIATE;

-- what an earlier script has made is made anew, but for tables that keep something
DROP VIEW IF EXISTS tide_call;
DROP VIEW IF EXISTS tide_rebase;
DROP VIEW IF EXISTS tide_settle;
DROP VIEW IF EXISTS tide_renew;
DROP VIEW IF EXISTS tide_group;
DROP VIEW IF EXISTS tide_pull_request;
DROP VIEW IF EXISTS tide_push_request;
DROP VIEW IF EXISTS tide_status;
DROP VIEW IF EXISTS tide_inbox;
DROP VIEW IF EXISTS tide_answer;
DROP TRIGGER IF EXISTS tide_subscription_insert;
DROP TRIGGER IF EXISTS tide_transaction_insert;
DROP TRIGGER IF EXISTS tide_outbox_insert;
DROP TRIGGER IF EXISTS tide_outbox_check;
DROP TRIGGER IF EXISTS tide_outbox_number;
DROP TRIGGER IF EXISTS tide_rejected_call;
{{each tables}}
DROP TRIGGER IF EXISTS {{ident}}tide_write_{{table_text}}_retry{{end}};
-- its name in earlier scripts
DROP TRIGGER IF EXISTS {{ident}}tide_{{table_text}}_retry{{end}};
{{end}}
DROP TABLE IF EXISTS tide_page;
DROP TABLE IF EXISTS tide_gone;
DROP TABLE IF EXISTS tide_load;
DROP TABLE IF EXISTS tide_touched;

-- who this client is and how far it has come; one row
CREATE TABLE IF NOT EXISTS tide_client (
	singleton INTEGER PRIMARY KEY CHECK (singleton = 1),
	client TEXT NOT NULL,
	cookie TEXT,
	checkpoint INTEGER NOT NULL DEFAULT 0,
	last_mutation_id INTEGER NOT NULL DEFAULT 0,
	rejected_seen INTEGER NOT NULL DEFAULT 0,
	lsn TEXT,
	clock INTEGER NOT NULL DEFAULT 0,
	page_limit INTEGER,
	is_online INTEGER NOT NULL DEFAULT 1,
	is_complete INTEGER NOT NULL DEFAULT 0,
	received INTEGER NOT NULL DEFAULT 0,
	remaining INTEGER,
	last_sync TEXT,
	last_error TEXT
);
INSERT OR IGNORE INTO tide_client (singleton, client)
VALUES (1, lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
	|| '-' || substr('89AB', (random() & 3) + 1, 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))));

-- what the app wants to pull: it inserts and deletes rows here
CREATE TABLE IF NOT EXISTS tide_subscription (
	shape TEXT NOT NULL,
	params TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(params)),
	PRIMARY KEY (shape, params)
);
CREATE TRIGGER tide_subscription_insert AFTER INSERT ON tide_subscription
BEGIN
	UPDATE tide_client SET is_complete = 0;
END;

-- local writes the server has not confirmed by a checkpoint yet; state is pending,
-- acked (the server has taken it) or cancelled (depends on a rejected one)
CREATE TABLE IF NOT EXISTS tide_outbox (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	op TEXT NOT NULL,
	table_name TEXT NOT NULL,
	key TEXT NOT NULL,
	changed TEXT,
	base TEXT,
	tx INTEGER,
	hlc TEXT,
	seen TEXT,
	state TEXT NOT NULL DEFAULT 'pending',
	at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX IF NOT EXISTS tide_outbox_row ON tide_outbox (table_name, key, id);
CREATE INDEX IF NOT EXISTS tide_outbox_tx ON tide_outbox (tx) WHERE tx IS NOT NULL;

-- the local transaction that writes belong to, to be pushed as one: after BEGIN
-- INSERT INTO tide_transaction DEFAULT VALUES, before COMMIT DELETE FROM tide_transaction
CREATE TABLE IF NOT EXISTS tide_transaction (
	id INTEGER PRIMARY KEY AUTOINCREMENT
);
CREATE TRIGGER tide_transaction_insert BEFORE INSERT ON tide_transaction
BEGIN
	DELETE FROM tide_transaction;
END;

-- what tide.push cannot read would keep all that follows from being sent: text with a zero byte, half of a
-- surrogate pair, and in JSON numbers that numeric does not have. Its backslashes are those of escapes, once pairs are gone
CREATE TRIGGER tide_outbox_check BEFORE INSERT ON tide_outbox
WHEN instr(NEW.key || coalesce(NEW.changed, ''), '\u') OR instr(NEW.table_name, char(0))
BEGIN
	SELECT RAISE(ABORT, 'text cannot have a zero byte or half of a surrogate pair')
	FROM (SELECT '......' || replace(NEW.key || coalesce(NEW.changed, ''), '\\', '') AS j) AS x
	WHERE instr(NEW.table_name, char(0)) OR instr(x.j, '\u0000')
	OR x.j GLOB '*\u[dD][89abAB]??[^\]*' OR x.j GLOB '*\u[dD][89abAB]??\[^u]*'
	OR x.j GLOB '*\u[dD][89abAB]??\u[^dD]*' OR x.j GLOB '*\u[dD][89abAB]??\u[dD][^c-fC-F]*'
	OR x.j GLOB '*[^\]?????\u[dD][c-fC-F]*' OR x.j GLOB '*\[^u]????\u[dD][c-fC-F]*'
	OR x.j GLOB '*\u[^dD]???\u[dD][c-fC-F]*' OR x.j GLOB '*\u[dD][^89abAB]??\u[dD][c-fC-F]*';
END;
CREATE TRIGGER tide_outbox_number BEFORE INSERT ON tide_outbox
WHEN NEW.changed GLOB '*[0-9][eE][-+0-9][0-9][0-9][0-9]*'
BEGIN
	SELECT RAISE(ABORT, 'number out of range')
	FROM (SELECT lower(NEW.changed -> t.fullkey) AS n FROM json_tree(NEW.changed) AS t WHERE t.type IN ('integer', 'real')) AS x
	WHERE instr(x.n, 'e') AND abs(CAST(substr(x.n, instr(x.n, 'e') + 1) AS INTEGER)) > 9999;
END;

-- internal: transaction and hybrid clock of a write: 48 bits of ms, 16 of a counter, the client
CREATE TRIGGER tide_outbox_insert AFTER INSERT ON tide_outbox
BEGIN
	UPDATE tide_client SET clock = max(clock + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) << 16);
	UPDATE tide_outbox SET tx = (SELECT max(t.id) FROM tide_transaction AS t),
		hlc = (SELECT printf('%012x-%04x-', c.clock >> 16, c.clock & 65535) || substr(replace(c.client, '-', ''), 17) FROM tide_client AS c),
		seen = (SELECT c.lsn FROM tide_client AS c)
	WHERE id = NEW.id;
END;

-- calls of the server's mutators: insert name and args; the rows are those not confirmed yet
CREATE VIEW tide_call AS
SELECT o.table_name AS name, o.changed AS args, o.id, o.state FROM tide_outbox AS o WHERE o.op = 'call';
CREATE TRIGGER tide_call_insert INSTEAD OF INSERT ON tide_call
BEGIN
	SELECT RAISE(ABORT, 'a call has a name, and an object of args')
	WHERE NEW.name IS NULL OR CASE WHEN json_valid(coalesce(NEW.args, '{}')) THEN json_type(coalesce(NEW.args, '{}')) <> 'object' ELSE 1 END;
	INSERT INTO tide_outbox (op, table_name, key, changed) VALUES ('call', NEW.name, '{}', coalesce(json(NEW.args), '{}'));
END;

-- local writes the server refused, already undone: the app deletes rows, or sets retry
CREATE TABLE IF NOT EXISTS tide_rejected (
	id INTEGER PRIMARY KEY,
	op TEXT NOT NULL,
	table_name TEXT NOT NULL,
	key TEXT NOT NULL,
	changed TEXT,
	base TEXT,
	tx INTEGER,
	code TEXT,
	message TEXT,
	at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
	retry INTEGER NOT NULL DEFAULT 0
);
CREATE TRIGGER tide_rejected_call AFTER UPDATE OF retry ON tide_rejected
WHEN NEW.retry AND NEW.op = 'call'
BEGIN
	DELETE FROM tide_rejected WHERE id = NEW.id;
	INSERT INTO tide_outbox (op, table_name, key, changed) VALUES (NEW.op, NEW.table_name, NEW.key, NEW.changed);
END;

-- what mutators returned to calls, by the call's id; the last 1,000
CREATE TABLE IF NOT EXISTS tide_result (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	result TEXT,
	at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

-- internal: the tables' names in the protocol, the buckets held, and which bucket holds which row
CREATE TABLE IF NOT EXISTS tide_table (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	view_name TEXT NOT NULL,
	synced TEXT NOT NULL,
	local TEXT NOT NULL
);
-- (a row that came with a first sync names its only bucket itself, in tide_bucket and tide_hash of
-- the synced table; when there is more to say, it moves to tide_member. A row_count below 0 is to be counted)
CREATE TABLE IF NOT EXISTS tide_bucket (
	bucket INTEGER PRIMARY KEY,
	shape TEXT,
	path TEXT,
	params TEXT,
	row_count INTEGER NOT NULL DEFAULT 0,
	checksum INTEGER NOT NULL DEFAULT 0,
	resync INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS tide_member (
	tbl INTEGER NOT NULL,
	key TEXT NOT NULL,
	bucket INTEGER NOT NULL,
	op_id INTEGER NOT NULL,
	hash INTEGER NOT NULL,
	PRIMARY KEY (tbl, key, bucket)
) WITHOUT ROWID;

-- internal: filled and emptied while a response is applied
CREATE TABLE tide_page (
	bucket INTEGER NOT NULL,
	tbl INTEGER NOT NULL,
	key TEXT NOT NULL,
	op TEXT NOT NULL,
	op_id INTEGER NOT NULL,
	hash INTEGER NOT NULL,
	row TEXT,
	PRIMARY KEY (bucket, tbl, key)
) WITHOUT ROWID;
CREATE TABLE tide_load (
	name TEXT PRIMARY KEY,
	row_count INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE tide_gone (
	tbl INTEGER NOT NULL,
	key TEXT NOT NULL,
	PRIMARY KEY (tbl, key)
) WITHOUT ROWID;
CREATE TABLE tide_touched (
	table_name TEXT NOT NULL,
	key TEXT NOT NULL,
	PRIMARY KEY (table_name, key)
) WITHOUT ROWID;

-- whether an inserted row is there already: what an insert without OR says, OR IGNORE and OR
-- REPLACE make of it is what SQLite makes of this table's row, as triggers' statements do as
-- the statement that fires them; outcome is 0 no, 1 yes and ignored, 2 yes and replaced
CREATE TABLE IF NOT EXISTS tide_conflict (
	"key" INTEGER PRIMARY KEY,
	outcome INTEGER NOT NULL
);
INSERT OR IGNORE INTO tide_conflict ("key", outcome) VALUES (1, 0);

-- SQL cannot drop tables whose names it does not know: statements that do, for the app to run
CREATE TABLE IF NOT EXISTS tide_obsolete (
	statement TEXT PRIMARY KEY
);
DROP TABLE IF EXISTS temp.tide_was;
DROP TABLE IF EXISTS temp.tide_lack;
CREATE TEMPORARY TABLE tide_was AS SELECT * FROM main.tide_table;
CREATE TEMPORARY TABLE tide_lack (table_name TEXT);
DELETE FROM tide_table;

{{each tables}}
-- {{table_text}}: what the server says, what local writes make of it, and the view the app uses
DROP VIEW IF EXISTS {{table}};
DROP TABLE IF EXISTS {{local}};
CREATE TABLE IF NOT EXISTS {{synced}} (
	tide_bucket INTEGER,
	tide_hash INTEGER,
{{each columns|,
}}	{{c}} {{type}}{{collate}}{{end}},
	PRIMARY KEY ({{each keys|, }}{{c}}{{end}})
);
INSERT INTO temp.tide_lack
SELECT {{name}}
WHERE NOT EXISTS (SELECT 1 FROM temp.tide_was WHERE name = {{name}})
OR EXISTS (SELECT * FROM (VALUES
{{each columns|,
}}	({{lit}}, '{{type}}', {{if iskey}}1{{end}}{{if isvalue}}0{{end}}){{end}})
	EXCEPT SELECT name, type, pk > 0 FROM pragma_table_info({{synced_name}}));
-- a column that the table did not have is found in the row of nulls outside; a rowid may be a column of the table's own
DROP TABLE IF EXISTS temp.tide_old;
CREATE TEMPORARY TABLE tide_old AS SELECT row_number() OVER () AS tide_rowid, tide_s.* FROM {{synced}} AS tide_s;
CREATE UNIQUE INDEX temp.tide_old_row ON tide_old (tide_rowid);
DROP TABLE {{synced}};
CREATE TABLE {{synced}} (
	tide_bucket INTEGER,
	tide_hash INTEGER,
{{each columns|,
}}	{{c}} {{type}}{{collate}}{{end}},
	PRIMARY KEY ({{each keys|, }}{{c}}{{end}})
);
CREATE TABLE {{local}} (
{{each columns|,
}}	{{c}} {{type}}{{collate}}{{end}},
	tide_deleted INTEGER NOT NULL,
	PRIMARY KEY ({{each keys|, }}{{c}}{{end}})
);
INSERT OR IGNORE INTO {{synced}} (tide_bucket, tide_hash, {{each columns|, }}{{c}}{{end}})
SELECT * FROM (SELECT (SELECT tide_bucket FROM temp.tide_old AS tide_o WHERE tide_o.tide_rowid = tide_x.tide_rowid),
		(SELECT tide_hash FROM temp.tide_old AS tide_o WHERE tide_o.tide_rowid = tide_x.tide_rowid),
		{{each columns|, }}(SELECT {{c}} FROM temp.tide_old AS tide_o WHERE tide_o.tide_rowid = tide_x.tide_rowid) AS {{c}}{{end}}
	FROM (SELECT NULL AS tide_bucket, NULL AS tide_hash, {{each columns|, }}NULL AS {{c}}{{end}}) AS tide_nulls
	CROSS JOIN (SELECT tide_rowid FROM temp.tide_old) AS tide_x)
WHERE {{each keys| AND }}{{c}} IS NOT NULL{{end}};
DROP TABLE temp.tide_old;
INSERT INTO tide_table (id, name, view_name, synced, local)
VALUES ({{id}}, {{name}}, {{str}}{{table}}{{end}}, {{str}}{{synced}}{{end}}, {{str}}{{local}}{{end}});
CREATE VIEW {{table}} AS
SELECT {{each columns|, }}s.{{c}}{{end}}
FROM {{synced}} AS s
WHERE NOT EXISTS (SELECT 1 FROM {{local}} AS l WHERE {{each keys| AND }}l.{{c}} = s.{{c}}{{end}})
UNION ALL
SELECT {{each columns|, }}l.{{c}}{{end}}
FROM {{local}} AS l
WHERE NOT l.tide_deleted;

{{if uuidkey}}
CREATE TRIGGER {{ident}}tide_write_{{table_text}}_key{{end}} INSTEAD OF INSERT ON {{table}}
WHEN {{each keys}}NEW.{{c}} IS NULL{{end}}
BEGIN
	INSERT INTO {{table}} ({{each columns|, }}{{c}}{{end}})
	VALUES ({{each columns|, }}{{if iskey}}lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
		|| '-' || substr('89AB', (random() & 3) + 1, 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))){{end}}{{if isvalue}}NEW.{{c}}{{end}}{{end}});
END;
{{end}}
CREATE TRIGGER {{ident}}tide_write_{{table_text}}_insert{{end}} INSTEAD OF INSERT ON {{table}}
{{if uuidkey}}
WHEN {{each keys}}NEW.{{c}} IS NOT NULL{{end}}
{{end}}
BEGIN
	-- a key is kept as it comes out of the outbox again
	SELECT RAISE(ABORT, {{str}}NOT NULL constraint failed: key of {{table_text}}{{end}})
	WHERE {{each keys| OR }}NEW.{{c}} IS NULL{{end}};
	UPDATE tide_conflict SET outcome = EXISTS (SELECT 1 FROM {{table}} AS v WHERE {{each keys| AND }}v.{{c}} = {{decode}}{{enc}}NEW.{{c}}{{end}}{{end}}{{end}});
	INSERT INTO tide_conflict ("key", outcome) SELECT c."key", 2 FROM tide_conflict AS c WHERE c.outcome = 1;
{{if writable}}
	UPDATE {{table}} SET {{each writable|, }}{{c}} = NEW.{{c}}{{end}}
	WHERE {{each keys| AND }}{{c}} = {{decode}}{{enc}}NEW.{{c}}{{end}}{{end}}{{end}} AND (SELECT c.outcome FROM tide_conflict AS c) = 2;
{{end}}
	INSERT INTO tide_outbox (op, table_name, key, changed)
	SELECT 'insert', {{name}}, json_object({{each keys|, }}{{lit}}, json({{enc}}NEW.{{c}}{{end}}){{end}}), {{if writable}}
		(SELECT json_group_object(column1, json(column2)) FROM (VALUES
{{each writable|,
}}			({{lit}}, {{enc}}NEW.{{c}}{{end}}, NEW.{{c}} IS NOT NULL){{end}})
		WHERE column3){{end}}{{if nowritable}}'{}'{{end}} FROM tide_conflict AS c WHERE c.outcome = 0;
	DELETE FROM {{local}} WHERE {{each keys| AND }}{{c}} = {{decode}}{{enc}}NEW.{{c}}{{end}}{{end}}{{end}} AND (SELECT c.outcome FROM tide_conflict AS c) = 0;
	INSERT INTO {{local}} ({{each columns|, }}{{c}}{{end}}, tide_deleted)
	SELECT {{each columns|, }}{{if iskey}}{{decode}}{{enc}}NEW.{{c}}{{end}}{{end}}{{end}}{{if isvalue}}NEW.{{c}}{{end}}{{end}}, 0 FROM tide_conflict AS c WHERE c.outcome = 0;
END;
CREATE TRIGGER {{ident}}tide_write_{{table_text}}_update{{end}} INSTEAD OF UPDATE ON {{table}}
BEGIN
	SELECT RAISE(ABORT, {{str}}key of {{table_text}} cannot be changed: delete the row and insert it anew{{end}})
	WHERE {{each keys| OR }}NEW.{{c}} IS NOT OLD.{{c}}{{end}};
{{if writable}}
	INSERT INTO tide_outbox (op, table_name, key, changed, base)
	SELECT 'update', {{name}}, json_object({{each keys|, }}{{lit}}, json({{enc}}OLD.{{c}}{{end}}){{end}}), d.changed, d.base
	FROM (SELECT json_group_object(column1, json(column2)) AS changed, json_group_object(column1, json(column3)) AS base
		FROM (VALUES
{{each writable|,
}}			({{lit}}, {{enc}}NEW.{{c}}{{end}}, {{enc}}OLD.{{c}}{{end}}, NEW.{{c}} IS NOT OLD.{{c}}){{end}})
		WHERE column4) AS d
	WHERE d.changed <> '{}';
	DELETE FROM {{local}} WHERE {{each keys| AND }}{{c}} = OLD.{{c}}{{end}};
	INSERT INTO {{local}} ({{each columns|, }}{{c}}{{end}}, tide_deleted)
	SELECT {{each columns|, }}{{if iswritable}}NEW{{end}}{{if isreadonly}}OLD{{end}}.{{c}}{{end}}, 0
	WHERE EXISTS (SELECT 1 FROM tide_outbox AS o WHERE o.table_name = {{name}}
		AND o.key = json_object({{each keys|, }}{{lit}}, json({{enc}}OLD.{{c}}{{end}}){{end}}) AND o.state <> 'cancelled');
{{end}}
END;
CREATE TRIGGER {{ident}}tide_write_{{table_text}}_delete{{end}} INSTEAD OF DELETE ON {{table}}
BEGIN
	-- a column that not all shapes show may be null for want of a row that shows it
	INSERT INTO tide_outbox (op, table_name, key, base)
	VALUES ('delete', {{name}}, json_object({{each keys|, }}{{lit}}, json({{enc}}OLD.{{c}}{{end}}){{end}}), {{if writable}}
		(SELECT json_group_object(column1, json(column2)) FROM (VALUES
{{each writable|,
}}			({{lit}}, {{enc}}OLD.{{c}}{{end}}, {{if ispartial}}OLD.{{c}} IS NOT NULL{{end}}{{if noispartial}}1{{end}}){{end}})
		WHERE column3){{end}}{{if nowritable}}'{}'{{end}});
	DELETE FROM {{local}} WHERE {{each keys| AND }}{{c}} = OLD.{{c}}{{end}};
	INSERT INTO {{local}} ({{each keys|, }}{{c}}{{end}}, tide_deleted)
	VALUES ({{each keys|, }}OLD.{{c}}{{end}}, 1);
END;

-- UPDATE tide_rejected SET retry = 1: the write is made once more, over what is there now,
-- or, if the row is not here, over the values known last. An update of a column with policy
-- counter, set or custom keeps its base: the difference is what the app has done
CREATE TRIGGER {{ident}}tide_write_{{table_text}}_retry{{end}} AFTER UPDATE OF retry ON tide_rejected
WHEN NEW.retry AND NEW.op <> 'call' AND NEW.table_name = {{name}}
BEGIN
	DELETE FROM tide_rejected WHERE id = NEW.id;
	INSERT INTO tide_outbox (op, table_name, key, changed, base)
	VALUES (NEW.op, NEW.table_name, NEW.key, NEW.changed, CASE WHEN NEW.op <> 'insert' THEN {{if writable}}
		coalesce((SELECT (SELECT json_group_object(column1, json(column2)) FROM (VALUES
{{each writable|,
}}			({{lit}}, {{if isdifference}}CASE WHEN NEW.op = 'update' THEN NEW.base -> {{path}} ELSE {{end}}{{enc}}v.{{c}}{{end}}{{if isdifference}} END{{end}}, {{path}}){{end}})
			WHERE coalesce(NEW.changed, NEW.base) -> column3 IS NOT NULL)
		FROM {{table}} AS v WHERE {{each keys| AND }}v.{{c}} = {{dec}}NEW.key{{end}}{{end}}), NEW.base){{end}}{{if nowritable}}'{}'{{end}} END);
	INSERT INTO tide_touched (table_name, key) VALUES (NEW.table_name, NEW.key) ON CONFLICT DO NOTHING;
	INSERT INTO tide_rebase (go) VALUES (1);
END;

{{end}}
-- SQLite finds rows by an index through one column of (a, b) IN (SELECT ...) only:
-- hence the tests of single columns beside those of whole keys below

-- internal: recomputes the local rows listed in tide_touched from server rows and outbox
CREATE VIEW tide_rebase AS SELECT NULL AS go WHERE 0;
CREATE TRIGGER tide_rebase_insert INSTEAD OF INSERT ON tide_rebase
BEGIN
{{each tables}}
	DELETE FROM {{local}}
	WHERE {{if compositekey}}{{each keys}}{{c}} IN (SELECT {{dec}}t.key{{end}} FROM tide_touched AS t WHERE t.table_name = {{name}}) AND {{end}}{{end}}({{each keys|, }}{{c}}{{end}}) IN (SELECT {{each keys|, }}{{dec}}t.key{{end}}{{end}} FROM tide_touched AS t WHERE t.table_name = {{name}});
	INSERT INTO {{local}} ({{each keys|, }}{{c}}{{end}}{{each values}}, {{c}}{{end}}, tide_deleted)
	SELECT {{each keys|, }}{{dec}}e.tide_key{{end}}{{end}},
{{each values}}
		CASE WHEN e.e{{n}} IS NULL THEN e.s{{n}} ELSE {{decode}}e.e{{n}}{{end}} END,
{{end}}
		e.tide_op IS 'delete'
	FROM (SELECT r.key AS tide_key, r.op AS tide_op, s.{{firstkey}} IS NOT NULL AS tide_found{{each values}},
			s.{{c}} AS s{{n}},
			(SELECT o.changed -> {{path}} FROM tide_outbox AS o
				WHERE o.table_name = {{name}} AND o.key = r.key AND o.state <> 'cancelled'
				AND o.id >= r.since AND o.changed -> {{path}} IS NOT NULL
				ORDER BY o.id DESC LIMIT 1) AS e{{n}}{{end}}
		FROM (SELECT t.key, coalesce(i.id, 0) AS since, i.op
			FROM tide_touched AS t
			LEFT JOIN tide_outbox AS i ON i.id = (SELECT max(x.id) FROM tide_outbox AS x
				WHERE x.table_name = {{name}} AND x.key = t.key AND x.state <> 'cancelled' AND x.op <> 'update')
			WHERE t.table_name = {{name}}
			AND EXISTS (SELECT 1 FROM tide_outbox AS x
				WHERE x.table_name = {{name}} AND x.key = t.key AND x.state <> 'cancelled')) AS r
		LEFT JOIN {{synced}} AS s ON r.op IS NULL AND {{each keys| AND }}s.{{c}} = {{dec}}r.key{{end}}{{end}}) AS e
	WHERE (e.tide_op IS NOT NULL OR e.tide_found){{each keys}} AND {{dec}}e.tide_key{{end}} IS NOT NULL{{end}};
{{end}}
	DELETE FROM tide_touched;
END;

-- internal: notes what became of mutations; results is an array of {id, status, code, message}
CREATE VIEW tide_settle AS SELECT NULL AS last_mutation_id, NULL AS results WHERE 0;
CREATE TRIGGER tide_settle_insert INSTEAD OF INSERT ON tide_settle
BEGIN
	INSERT INTO tide_touched (table_name, key)
	SELECT o.table_name, o.key
	FROM json_each(NEW.results) AS r JOIN tide_outbox AS o ON o.id = r.value ->> '$.id'
	WHERE coalesce(r.value ->> '$.status', 'rejected') = 'rejected'
	ON CONFLICT DO NOTHING;
	INSERT INTO tide_rejected (id, op, table_name, key, changed, base, tx, code, message)
	SELECT o.id, o.op, o.table_name, o.key, o.changed, o.base, o.tx, r.value ->> '$.code', r.value ->> '$.message'
	FROM json_each(NEW.results) AS r JOIN tide_outbox AS o ON o.id = r.value ->> '$.id'
	WHERE coalesce(r.value ->> '$.status', 'rejected') = 'rejected' AND o.state <> 'cancelled'
	ON CONFLICT (id) DO NOTHING;
	-- a clock that was ahead begins anew with the time
	UPDATE tide_client SET clock = 0
	WHERE EXISTS (SELECT 1 FROM json_each(NEW.results) AS r JOIN tide_outbox AS o ON o.id = r.value ->> '$.id'
		WHERE r.value ->> '$.code' = '22008');
	-- what was written on top of a refused insert, up to the next insert, or of a refused
	-- delete, with all of its transaction, and what was written on top of that
	INSERT INTO tide_rejected (id, op, table_name, key, changed, base, tx, code, message)
	WITH RECURSIVE refused AS MATERIALIZED (
		SELECT r.value ->> '$.id' AS id, r.value ->> '$.code' AS code FROM json_each(NEW.results) AS r
		WHERE coalesce(r.value ->> '$.status', 'rejected') = 'rejected'),
	fall AS (
		SELECT o.id, o.id AS root, 1 AS undone FROM refused AS r JOIN tide_outbox AS o ON o.id = r.id
		UNION
		SELECT d.id, f.root, d.op <> 'delete'
		FROM fall AS f JOIN tide_outbox AS o ON o.id = f.id
		JOIN tide_outbox AS d ON d.table_name = o.table_name AND d.key = o.key AND d.id > o.id
		WHERE d.state = 'pending' AND d.id > NEW.last_mutation_id AND d.id NOT IN (SELECT r.id FROM refused AS r)
		AND (o.op = 'delete' AND f.undone OR o.op = 'insert' AND NOT EXISTS (SELECT 1 FROM tide_outbox AS i
			WHERE i.table_name = o.table_name AND i.key = o.key AND i.op = 'insert' AND i.id > o.id AND i.id <= d.id))
		UNION
		SELECT d.id, f.root, 1
		FROM fall AS f JOIN tide_outbox AS o ON o.id = f.id
		JOIN tide_outbox AS d ON d.tx = o.tx AND d.id <> o.id
		WHERE d.state = 'pending' AND d.id > NEW.last_mutation_id AND d.id NOT IN (SELECT r.id FROM refused AS r))
	SELECT d.id, d.op, d.table_name, d.key, d.changed, d.base, d.tx, (SELECT r.code FROM refused AS r WHERE r.id = f.root),
		'depends on mutation ' || f.root || ', which was rejected'
	FROM (SELECT x.id, min(x.root) AS root FROM fall AS x WHERE x.id NOT IN (SELECT r.id FROM refused AS r) GROUP BY x.id) AS f
	JOIN tide_outbox AS d ON d.id = f.id
	WHERE true
	ON CONFLICT (id) DO NOTHING;
	INSERT INTO tide_touched (table_name, key)
	SELECT o.table_name, o.key FROM tide_outbox AS o
	WHERE o.state = 'pending' AND o.id IN (SELECT x.id FROM tide_rejected AS x)
	ON CONFLICT DO NOTHING;
	DELETE FROM tide_outbox
	WHERE id IN (SELECT r.value ->> '$.id' FROM json_each(NEW.results) AS r
		WHERE coalesce(r.value ->> '$.status', 'rejected') = 'rejected');
	UPDATE tide_outbox SET state = 'cancelled'
	WHERE state = 'pending' AND id IN (SELECT x.id FROM tide_rejected AS x);
	INSERT INTO tide_result (id, name, result)
	SELECT o.id, o.table_name, nullif(r.value -> '$.result', 'null')
	FROM json_each(NEW.results) AS r JOIN tide_outbox AS o ON o.id = r.value ->> '$.id'
	WHERE o.op = 'call' AND r.value ->> '$.status' = 'applied'
	ON CONFLICT (id) DO NOTHING;
	DELETE FROM tide_result WHERE id <= (SELECT x.id FROM tide_result AS x ORDER BY x.id DESC LIMIT 1 OFFSET 1000);
	DELETE FROM tide_outbox WHERE state = 'cancelled' AND id <= NEW.last_mutation_id;
	UPDATE tide_outbox SET state = 'acked' WHERE state = 'pending' AND id <= NEW.last_mutation_id;
	UPDATE tide_client SET last_mutation_id = max(last_mutation_id, NEW.last_mutation_id);
END;

-- internal: the server knows this client no more, but for its last mutation. What it has not
-- taken is pending under a new client id, numbered from 1; what it has is numbered up to 0
CREATE VIEW tide_renew AS SELECT NULL AS response WHERE 0;
CREATE TRIGGER tide_renew_insert INSTEAD OF INSERT ON tide_renew
WHEN NEW.response -> '$.expired' = 'true' AND NEW.response ->> '$.client' = (SELECT client FROM tide_client)
BEGIN
	INSERT INTO tide_settle (last_mutation_id, results) VALUES (NEW.response ->> '$.last_mutation_id', '[]');
	-- by way of ids that nobody has: no two may be the same in between
	UPDATE tide_outbox SET id = id - (NEW.response ->> '$.last_mutation_id') - 4611686018427387904;
	UPDATE tide_outbox SET id = id + 4611686018427387904;
	UPDATE tide_rejected SET id = id - (NEW.response ->> '$.last_mutation_id') - 4611686018427387904;
	UPDATE tide_rejected SET id = id + 4611686018427387904;
	UPDATE tide_result SET id = id - (NEW.response ->> '$.last_mutation_id') - 4611686018427387904;
	UPDATE tide_result SET id = id + 4611686018427387904;
	UPDATE sqlite_sequence SET seq = seq - (NEW.response ->> '$.last_mutation_id') WHERE name = 'tide_outbox';
	UPDATE tide_client SET last_mutation_id = 0, rejected_seen = 0,
		client = lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
			|| '-' || substr('89AB', (random() & 3) + 1, 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)));
END;

-- internal: the writes that come next, for a push and for the largest group to be whole; first and last id,
-- and size, of their local transaction, and the size of all up to there. One of more than 10,000 writes is several, as
-- the server takes no larger ones
CREATE VIEW tide_group AS
SELECT p.id, min(p.id) OVER w AS first, max(p.id) OVER w AS last, count(*) OVER w AS members, max(p.length) OVER w AS total
FROM (SELECT o.id, CASE o.state WHEN 'cancelled' THEN -o.id ELSE coalesce(o.tx, -o.id) END AS part,
		(row_number() OVER (PARTITION BY o.tx, o.state ORDER BY o.id) - 1) / 10000 AS nth,
		sum(CASE WHEN o.n <= 1000 THEN (SELECT length(x.key) + coalesce(length(x.changed), 0) + coalesce(length(x.base), 0)
			FROM tide_outbox AS x WHERE x.id = o.id) END) OVER (ORDER BY o.id) AS length
	FROM (SELECT id, tx, state, row_number() OVER (ORDER BY id) AS n
		FROM tide_outbox WHERE state <> 'acked' ORDER BY id LIMIT 11000) AS o) AS p
WINDOW w AS (PARTITION BY p.part, CASE WHEN p.part < 0 THEN 0 ELSE p.nth END);

-- what the app hands to tide.pull and tide.push; NULL when there is nothing to push
CREATE VIEW tide_pull_request AS
SELECT json_insert(json_insert(json_object('client', c.client,
		'shapes', json((SELECT json_group_object(s.shape, json(s.params))
			FROM (SELECT shape, json_group_array(json(params)) AS params
				FROM tide_subscription GROUP BY shape ORDER BY shape) AS s)),
		'cookie', json(coalesce(c.cookie, 'null'))),
	CASE WHEN c.page_limit IS NULL THEN '$' ELSE '$.limit' END, c.page_limit),
	CASE WHEN EXISTS (SELECT 1 FROM tide_bucket WHERE resync) THEN '$.resync' ELSE '$' END,
	json((SELECT json_group_array(b.bucket) FROM tide_bucket AS b WHERE b.resync))) AS request
FROM tide_client AS c;
CREATE VIEW tide_push_request AS
WITH tide_next AS MATERIALIZED (SELECT * FROM tide_group)
SELECT (SELECT json_insert(json_object('client', c.client, 'mutations', json(nullif(json_group_array(json(m.mutation)), '[]'))),
		CASE WHEN c.rejected_seen = 0 THEN '$' ELSE '$.rejected_seen' END, c.rejected_seen)
	FROM (SELECT json_insert(CASE
			WHEN o.state = 'cancelled' THEN json_object('id', o.id, 'op', 'update', 'table', o.table_name, 'key', json(o.key), 'values', json('{}'))
			WHEN o.op = 'call' THEN json_object('id', o.id, 'call', o.table_name, 'args', json(o.changed))
			WHEN o.op = 'insert' THEN json_object('id', o.id, 'op', o.op, 'table', o.table_name, 'key', json(o.key), 'values', json(o.changed),
				'hlc', o.hlc, 'seen', o.seen, 'vclock', json_object(c.client, o.id))
			WHEN o.op = 'update' THEN json_object('id', o.id, 'op', o.op, 'table', o.table_name, 'key', json(o.key), 'values', json(o.changed), 'base', json(o.base),
				'hlc', o.hlc, 'seen', o.seen, 'vclock', json_object(c.client, o.id))
			ELSE json_object('id', o.id, 'op', o.op, 'table', o.table_name, 'key', json(o.key), 'base', json(o.base),
				'hlc', o.hlc, 'seen', o.seen, 'vclock', json_object(c.client, o.id)) END,
			CASE WHEN g.members > 1 THEN '$.tx' ELSE '$' END, g.first) AS mutation
		FROM tide_next AS g CROSS JOIN tide_outbox AS o ON o.id = g.id
		WHERE g.last = (SELECT min(x.last) FROM tide_next AS x) OR g.last <= (SELECT min(x.id) + 999 FROM tide_next AS x) AND g.total <= 2000000
		ORDER BY o.id) AS m
	HAVING count(*) > 0) AS request
FROM tide_client AS c;

-- how sync stands: offline, error, new, syncing or synced; the app may set is_online and last_error
CREATE VIEW tide_status AS
SELECT CASE WHEN NOT c.is_online THEN 'offline'
		WHEN c.last_error IS NOT NULL THEN 'error'
		WHEN c.cookie IS NULL THEN 'new'
		WHEN NOT c.is_complete OR EXISTS (SELECT 1 FROM tide_bucket WHERE resync) THEN 'syncing'
		ELSE 'synced' END AS state,
	(SELECT count(*) FROM tide_outbox) AS pending,
	(SELECT count(*) FROM tide_rejected) AS rejected,
	c.remaining, c.received, c.received + c.remaining AS expected, c.is_online, c.last_sync, c.last_error
FROM tide_client AS c;
CREATE TRIGGER tide_status_update INSTEAD OF UPDATE ON tide_status
BEGIN
	UPDATE tide_client SET last_error = NEW.last_error, is_online = NEW.is_online;
END;

-- where the app puts the answers of tide.pull and tide.push
CREATE VIEW tide_inbox AS SELECT NULL AS response WHERE 0;
CREATE TRIGGER tide_inbox_insert INSTEAD OF INSERT ON tide_inbox
BEGIN
	INSERT INTO tide_answer (response, size, head)
	VALUES (NEW.response, CASE WHEN json_type(NEW.response, '$.changes') = 'array' THEN json_array_length(NEW.response, '$.changes') END,
		(SELECT json_object('cookie', h.m -> 0, 'checkpoint', h.m -> 1, 'complete', h.m -> 2, 'remaining', h.m -> 3, 'buckets', h.m -> 4, 'drop', h.m -> 5, 'last_mutation_id', h.m -> 6, 'rejected', h.m -> 7, 'results', h.m -> 8, 'expired', h.m -> 9, 'client', h.m -> 10)
		FROM (SELECT json_extract(NEW.response, '$.cookie', '$.checkpoint', '$.complete', '$.remaining', '$.buckets', '$.drop', '$.last_mutation_id', '$.rejected', '$.results', '$.expired', '$.client') AS m
			LIMIT -1 OFFSET 0) AS h));
END;

-- internal: an answer, what it has beside changes, and how many these are, for each look into
-- a long text takes long
CREATE VIEW tide_answer AS SELECT NULL AS response, NULL AS head, NULL AS size WHERE 0;
CREATE TRIGGER tide_answer_other INSTEAD OF INSERT ON tide_answer
WHEN NEW.size IS NULL AND json_type(NEW.head, '$.results') IS NOT 'array'
BEGIN
	SELECT RAISE(ABORT, 'not an answer of tide.pull or tide.push');
END;
CREATE TRIGGER tide_answer_push INSTEAD OF INSERT ON tide_answer
WHEN json_type(NEW.head, '$.results') = 'array'
BEGIN
	INSERT INTO tide_renew (response) VALUES (NEW.head);
	INSERT INTO tide_settle (last_mutation_id, results)
	SELECT NEW.head ->> '$.last_mutation_id', NEW.head -> '$.results'
	WHERE NEW.head -> '$.expired' IS NOT 'true';
	INSERT INTO tide_rebase (go) VALUES (1);
	DELETE FROM tide_transaction;
	UPDATE tide_client SET last_error = NULL, is_online = 1;
END;
-- an answer to a cookie of before the last one applied is old news; servers of before this version do not number cookies, there
-- it is one of an earlier checkpoint, but of a server set back in time
CREATE TRIGGER tide_answer_pull INSTEAD OF INSERT ON tide_answer
WHEN NEW.size IS NOT NULL
	AND CASE WHEN NEW.head ->> '$.cookie.n' IS NOT NULL
		THEN NEW.head ->> '$.cookie.n' > (SELECT coalesce(cookie ->> '$.n', 0) FROM tide_client)
		ELSE NEW.head ->> '$.checkpoint.op_id' >= (SELECT checkpoint FROM tide_client)
		OR json_array_length(NEW.head, '$.drop') > 0 AND NEW.head ->> '$.cookie.epoch' IS NOT (SELECT cookie ->> '$.epoch' FROM tide_client)
		OR NOT EXISTS (SELECT 1 FROM tide_bucket) END
BEGIN
	-- mutations, if they are those of the client as it is now
	INSERT INTO tide_renew (response) VALUES (NEW.head);
	INSERT INTO tide_settle (last_mutation_id, results)
	SELECT coalesce(NEW.head ->> '$.last_mutation_id', 0), coalesce(nullif(NEW.head -> '$.rejected', 'null'), '[]')
	FROM tide_client AS c WHERE c.client = coalesce(NEW.head ->> '$.cookie.client', c.client);
	UPDATE tide_client SET rejected_seen = max(rejected_seen, coalesce(NEW.head ->> '$.last_mutation_id', 0))
	WHERE client = coalesce(NEW.head ->> '$.cookie.client', client);
	INSERT INTO tide_touched (table_name, key)
	SELECT o.table_name, o.key FROM tide_outbox AS o
	WHERE NEW.head -> '$.complete' = 'true' AND o.id <= (SELECT NEW.head ->> '$.last_mutation_id' FROM tide_client AS c WHERE c.client = coalesce(NEW.head ->> '$.cookie.client', c.client))
	ON CONFLICT DO NOTHING;
	DELETE FROM tide_outbox
	WHERE NEW.head -> '$.complete' = 'true' AND id <= (SELECT NEW.head ->> '$.last_mutation_id' FROM tide_client AS c WHERE c.client = coalesce(NEW.head ->> '$.cookie.client', c.client));

	-- buckets dropped
	INSERT INTO tide_gone (tbl, key)
	SELECT DISTINCT m.tbl, m.key FROM tide_member AS m
	WHERE json_array_length(NEW.head, '$.drop') > 0
	AND m.bucket IN (SELECT d.value FROM json_each(NEW.head, '$.drop') AS d);
	DELETE FROM tide_member
	WHERE json_array_length(NEW.head, '$.drop') > 0
	AND bucket IN (SELECT d.value FROM json_each(NEW.head, '$.drop') AS d);
{{each tables}}
	DELETE FROM {{synced}}
	WHERE json_array_length(NEW.head, '$.drop') > 0
	AND tide_bucket IN (SELECT d.value FROM json_each(NEW.head, '$.drop') AS d);
{{end}}
	DELETE FROM tide_bucket
	WHERE bucket IN (SELECT d.value FROM json_each(NEW.head, '$.drop') AS d);
	INSERT INTO tide_bucket (bucket, shape, path, params)
	SELECT b.value ->> '$.bucket', b.value ->> '$.shape', coalesce(b.value ->> '$.path', ''), b.value -> '$.params'
	FROM json_each(NEW.head, '$.buckets') AS b
	WHERE b.value ->> '$.bucket' IS NOT NULL
	ON CONFLICT (bucket) DO UPDATE SET shape = excluded.shape, path = excluded.path, params = excluded.params;

	-- rows of a first sync: straight into the tables, if all of the page are new
	INSERT INTO tide_load (name)
	SELECT t.name FROM tide_table AS t
	WHERE (NEW.head -> '$.complete' <> 'true' OR NOT (SELECT c.is_complete FROM tide_client AS c))
	AND ((SELECT count(*) FROM tide_table) = 1 OR t.name IN (
		SELECT e.value ->> '$.table' FROM json_each(CASE WHEN NEW.head -> '$.complete' <> 'true' OR NOT (SELECT c.is_complete FROM tide_client AS c)
			THEN NEW.response END, '$.changes') AS e));
{{each tables}}
	INSERT INTO {{synced}} (tide_bucket, tide_hash, {{each columns|, }}{{c}}{{end}})
	SELECT c.value ->> '$.bucket', coalesce(c.value ->> '$.hash', 0), {{each columns|, }}{{decrow}}c.value{{end}}{{end}}
	FROM (SELECT e.value FROM json_each(CASE WHEN EXISTS (SELECT 1 FROM tide_load WHERE name = {{name}})
		THEN NEW.response END, '$.changes') AS e LIMIT -1 OFFSET 0) AS c
	-- members in the order in which the server writes them, else the row is not taken here: to look for each would take longer than all else
	WHERE substr(c.value, 1, instr(c.value, '"op_id":') - 1) IN (
		SELECT '{"bucket":' || (b.value ->> '$.bucket') || ',"table":' || json_quote({{name}}) || ',"op":"put",' FROM json_each(NEW.head, '$.buckets') AS b)
	ON CONFLICT DO NOTHING;
	UPDATE tide_load SET row_count = changes() WHERE name = {{name}};
{{end}}
	UPDATE tide_bucket SET row_count = -1 WHERE EXISTS (SELECT 1 FROM tide_load WHERE row_count > 0);
	DELETE FROM tide_load
	WHERE (SELECT sum(l.row_count) FROM tide_load AS l) IS NOT NEW.size;

	-- other changes: which bucket holds what
	-- (of a table that the script does not know, under number 0, that the bucket adds up)
	INSERT INTO tide_page (bucket, tbl, key, op, op_id, hash, row)
	SELECT c.value ->> '$.bucket', coalesce(t.id, 0),
		CASE t.id
{{each tables}}
		WHEN {{id}} THEN {{if plainkey}}c.value -> '$.key'{{end}}{{if noplainkey}}json_object({{each keys|, }}{{lit}}, json({{rekey}}(c.value -> '$.key'){{end}}){{end}}){{end}}
{{end}}
		ELSE json_array(c.value ->> '$.table', json(c.value -> '$.key'))
		END,
		c.value ->> '$.op', c.value ->> '$.op_id', coalesce(c.value ->> '$.hash', 0), c.value -> '$.row'
	-- json_each makes a value anew each time it is looked at: once with the limit
	FROM (SELECT e.value FROM json_each(CASE WHEN NOT EXISTS (SELECT 1 FROM tide_load) THEN NEW.response END, '$.changes') AS e LIMIT -1 OFFSET 0) AS c
	LEFT JOIN tide_table AS t ON t.name = c.value ->> '$.table'
	WHERE true
	ON CONFLICT (bucket, tbl, key) DO UPDATE SET op = excluded.op, op_id = excluded.op_id, hash = excluded.hash, row = excluded.row;
	INSERT INTO tide_bucket (bucket) SELECT DISTINCT p.bucket FROM tide_page AS p WHERE true ON CONFLICT (bucket) DO NOTHING;
{{each tables}}
	INSERT INTO tide_member (tbl, key, bucket, op_id, hash)
	SELECT DISTINCT p.tbl, p.key, s.tide_bucket, 0, s.tide_hash
	FROM tide_page AS p CROSS JOIN {{synced}} AS s ON {{each keys| AND }}s.{{c}} = {{dec}}p.key{{end}}{{end}}
	WHERE p.tbl = {{id}} AND s.tide_bucket IS NOT NULL;
	UPDATE {{synced}} SET tide_bucket = NULL, tide_hash = NULL
	WHERE {{if compositekey}}{{each keys}}{{c}} IN (SELECT {{dec}}p.key{{end}} FROM tide_page AS p WHERE p.tbl = {{id}}) AND {{end}}{{end}}({{each keys|, }}{{c}}{{end}}) IN (SELECT {{each keys|, }}{{dec}}p.key{{end}}{{end}} FROM tide_page AS p WHERE p.tbl = {{id}})
	AND tide_bucket IS NOT NULL;
{{end}}
	UPDATE tide_bucket SET row_count = row_count - d.n, checksum = (checksum - d.h) & 4294967295
	FROM (SELECT p.bucket, count(*) AS n, sum(m.hash) AS h
		FROM tide_page AS p JOIN tide_member AS m ON m.tbl = p.tbl AND m.key = p.key AND m.bucket = p.bucket
		GROUP BY p.bucket) AS d
	WHERE d.bucket = tide_bucket.bucket AND tide_bucket.row_count >= 0;
	DELETE FROM tide_member
	WHERE tbl IN (SELECT p.tbl FROM tide_page AS p WHERE p.op = 'remove')
	AND key IN (SELECT p.key FROM tide_page AS p WHERE p.op = 'remove')
	AND (tbl, key, bucket) IN (SELECT p.tbl, p.key, p.bucket FROM tide_page AS p WHERE p.op = 'remove');
	INSERT INTO tide_member (tbl, key, bucket, op_id, hash)
	SELECT p.tbl, p.key, p.bucket, p.op_id, p.hash FROM tide_page AS p WHERE p.op = 'put'
	ON CONFLICT (tbl, key, bucket) DO UPDATE SET op_id = excluded.op_id, hash = excluded.hash;
	UPDATE tide_bucket SET row_count = row_count + d.n, checksum = (checksum + d.h) & 4294967295
	FROM (SELECT p.bucket, count(*) AS n, sum(p.hash) AS h FROM tide_page AS p WHERE p.op = 'put' GROUP BY p.bucket) AS d
	WHERE d.bucket = tide_bucket.bucket AND tide_bucket.row_count >= 0;
	INSERT INTO tide_bucket (bucket, row_count, checksum)
	SELECT m.bucket, count(*), sum(m.hash) & 4294967295
	FROM (SELECT bucket, hash FROM tide_member WHERE bucket <> 0
{{each tables}}
		UNION ALL SELECT tide_bucket, tide_hash FROM {{synced}} WHERE tide_bucket IS NOT NULL
{{end}}
	) AS m
	WHERE NEW.head -> '$.complete' = 'true' AND EXISTS (SELECT 1 FROM tide_bucket WHERE row_count < 0)
	GROUP BY m.bucket
	ON CONFLICT (bucket) DO UPDATE SET row_count = excluded.row_count, checksum = excluded.checksum;
	UPDATE tide_bucket SET row_count = 0, checksum = 0 WHERE row_count < 0 AND NEW.head -> '$.complete' = 'true';
	UPDATE tide_bucket SET resync = (row_count IS NOT b.n OR checksum IS NOT b.h)
	FROM (SELECT value ->> '$.bucket' AS bucket, value ->> '$.count' AS n, value ->> '$.checksum' AS h
		FROM json_each(NEW.head, '$.buckets')) AS b
	WHERE b.bucket = tide_bucket.bucket AND b.n IS NOT NULL AND NEW.head -> '$.complete' = 'true';

	-- changes: the rows
	INSERT INTO tide_gone (tbl, key)
	SELECT DISTINCT p.tbl, p.key FROM tide_page AS p WHERE p.op = 'remove'
	ON CONFLICT DO NOTHING;
	-- between pages a row with a write that the server has taken stays, or it would go and perhaps come
	-- back: bucket 0 holds it until a complete answer
	INSERT INTO tide_gone (tbl, key)
	SELECT m.tbl, m.key FROM (SELECT table_name, key FROM tide_touched
		UNION SELECT o.table_name, o.key FROM tide_outbox AS o WHERE o.state = 'acked') AS x
	CROSS JOIN tide_table AS t ON t.name = x.table_name
	CROSS JOIN tide_member AS m ON m.tbl = t.id AND m.key = x.key AND m.bucket = 0
	WHERE NEW.head -> '$.complete' = 'true'
	ON CONFLICT DO NOTHING;
	DELETE FROM tide_member
	WHERE tbl IN (SELECT g.tbl FROM tide_gone AS g) AND key IN (SELECT g.key FROM tide_gone AS g) AND bucket = 0
	AND (tbl, key) IN (SELECT g.tbl, g.key FROM tide_gone AS g);
	INSERT INTO tide_member (tbl, key, bucket, op_id, hash)
	SELECT DISTINCT g.tbl, g.key, 0, 0, 0 FROM tide_gone AS g CROSS JOIN tide_table AS t ON t.id = g.tbl
	CROSS JOIN tide_outbox AS o ON o.table_name = t.name AND o.key = g.key AND o.state = 'acked'
	WHERE NEW.head -> '$.complete' <> 'true';
	DELETE FROM tide_gone
	WHERE EXISTS (SELECT 1 FROM tide_member AS m WHERE m.tbl = tide_gone.tbl AND m.key = tide_gone.key AND m.bucket = 0);
{{each tables}}
{{each sets}}
	INSERT INTO {{synced}} ({{each setcolumns|, }}{{c}}{{end}})
	SELECT {{each setcolumns|, }}{{dec}}p.row{{end}}{{end}}
	FROM tide_page AS p
	WHERE p.tbl = {{id}} AND p.op = 'put'{{each setextra}} AND p.row -> {{path}} IS NOT NULL{{end}}
	ON CONFLICT ({{each keys|, }}{{c}}{{end}}) DO {{if setvalues}}UPDATE SET {{each setvalues|, }}{{c}} = excluded.{{c}}{{end}}{{end}}{{if nosetvalues}}NOTHING{{end}};
{{end}}
	DELETE FROM {{synced}}
	WHERE tide_bucket IS NULL AND {{if compositekey}}{{each keys}}{{c}} IN (SELECT {{dec}}g.key{{end}} FROM tide_gone AS g WHERE g.tbl = {{id}}) AND {{end}}{{end}}({{each keys|, }}{{c}}{{end}}) IN (SELECT {{each keys|, }}{{dec}}g.key{{end}}{{end}} FROM tide_gone AS g
		WHERE g.tbl = {{id}} AND NOT EXISTS (SELECT 1 FROM tide_member AS m WHERE m.tbl = {{id}} AND m.key = g.key));
{{each partial}}
	UPDATE {{synced}} SET {{c}} = NULL
	WHERE {{c}} IS NOT NULL AND tide_bucket IS NULL
	AND {{if compositekey}}{{each keys}}{{c}} IN (SELECT {{dec}}g.key{{end}} FROM tide_gone AS g WHERE g.tbl = {{id}}) AND {{end}}{{end}}({{each keys|, }}{{c}}{{end}}) IN (SELECT {{each keys|, }}{{dec}}g.key{{end}}{{end}} FROM tide_gone AS g
		WHERE g.tbl = {{id}} AND NOT EXISTS (SELECT 1 FROM tide_member AS m JOIN tide_bucket AS b ON b.bucket = m.bucket
			WHERE m.tbl = {{id}} AND m.key = g.key AND (b.shape IS NULL OR (b.shape, b.path) IN (VALUES {{each holders|, }}{{holder}}{{end}}))));
{{end}}
{{end}}

	-- local writes on top
	INSERT INTO tide_touched (table_name, key)
	SELECT o.table_name, o.key FROM tide_outbox AS o JOIN tide_table AS t ON t.name = o.table_name
	WHERE (t.id, o.key) IN (SELECT p.tbl, p.key FROM tide_page AS p)
	OR EXISTS (SELECT 1 FROM tide_load)
	OR json_array_length(NEW.head, '$.drop') > 0
	ON CONFLICT DO NOTHING;
	INSERT INTO tide_rebase (go) VALUES (1);
	UPDATE tide_client SET cookie = NEW.head -> '$.cookie',
		checkpoint = NEW.head ->> '$.checkpoint.op_id',
		is_complete = NEW.head -> '$.complete' = 'true',
		received = CASE WHEN is_complete THEN 0 ELSE received END + NEW.size,
		remaining = NEW.head ->> '$.remaining',
		lsn = NEW.head ->> '$.checkpoint.lsn',
		clock = max(clock, coalesce(CAST((julianday(NEW.head ->> '$.checkpoint.at') - 2440587.5) * 86400000 AS INTEGER) << 16, 0)),
		last_sync = CASE WHEN NEW.head -> '$.complete' = 'true' THEN strftime('%Y-%m-%dT%H:%M:%fZ', 'now') ELSE last_sync END,
		last_error = NULL, is_online = 1;
	DELETE FROM tide_page;
	DELETE FROM tide_load;
	DELETE FROM tide_transaction;
	DELETE FROM tide_gone;
END;

-- what was there before, under the tables' new ids; what it lacks is asked for again
INSERT OR IGNORE INTO tide_obsolete (statement)
SELECT 'DROP VIEW IF EXISTS ' || w.view_name || '; DROP TABLE IF EXISTS ' || w.synced || '; DROP TABLE IF EXISTS ' || w.local || ';'
FROM temp.tide_was AS w WHERE w.name NOT IN (SELECT t.name FROM tide_table AS t);
DELETE FROM tide_obsolete
WHERE statement IN (SELECT 'DROP VIEW IF EXISTS ' || t.view_name || '; DROP TABLE IF EXISTS ' || t.synced || '; DROP TABLE IF EXISTS ' || t.local || ';'
	FROM tide_table AS t);
DELETE FROM tide_member
WHERE tbl NOT IN (SELECT w.id FROM temp.tide_was AS w JOIN tide_table AS t ON t.name = w.name);
UPDATE tide_member SET tbl = -(SELECT t.id FROM temp.tide_was AS w JOIN tide_table AS t ON t.name = w.name WHERE w.id = tide_member.tbl)
WHERE tbl IN (SELECT w.id FROM temp.tide_was AS w JOIN tide_table AS t ON t.name = w.name WHERE t.id <> w.id);
UPDATE tide_member SET tbl = -tbl WHERE tbl < 0;
UPDATE tide_bucket SET resync = 1 WHERE EXISTS (SELECT 1 FROM temp.tide_lack);
DELETE FROM tide_subscription WHERE shape NOT IN ({{shape_list}});
INSERT INTO tide_touched (table_name, key) SELECT DISTINCT o.table_name, o.key FROM tide_outbox AS o;
INSERT INTO tide_rebase (go) VALUES (1);
DROP TABLE temp.tide_was;
DROP TABLE temp.tide_lack;

COMMIT;
