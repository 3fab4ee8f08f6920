-- Starting, waiting, one round at a time, stopping: what the calls answer and refuse.
\set VERBOSITY terse
\pset format unaligned
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
CREATE SCHEMA run_start;
SET search_path = run_start;
CREATE TABLE items (id int PRIMARY KEY, v text);
INSERT INTO items VALUES (1, 'one'), (2, 'two');

-- not started
SELECT tide.sync();
SELECT state FROM tide.status;
SELECT op_id = tide.wait(op_id, '10ms') AS "nothing new" FROM tide_internal.checkpoints;
SELECT tide.sync('-1 s');
SELECT tide.wait(0, '-1 s');
SELECT tide.ingest(0);
BEGIN;
INSERT INTO items VALUES (0, 'zero');
SELECT tide.ingest();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT tide.ingest();
ROLLBACK;

-- started
SELECT tide.start() LIKE 'tide\_%' AS started;
SELECT tide.start() = slot_name AS "started already" FROM tide_internal.state;
SELECT tide.create_shape('run_items', '{"table": "items"}');
SELECT op_id > 0 AS op_id, lsn > '0/0' AS lsn, at <= clock_timestamp() AS at FROM tide.sync();
SELECT name, state, tables, buckets, rows, progress, error FROM tide.shapes WHERE name = 'run_items';
SELECT tide.ingest();
INSERT INTO items VALUES (3, 'three');
SELECT count(*) FROM tide.sync();
SELECT rows FROM tide.shapes WHERE name = 'run_items';
SELECT pid IS NOT NULL AS pid, state <> 'stopped' AS running, lag_bytes >= 0 AS lag, last_error FROM tide.status;

-- what the transaction itself has not committed yet is not waited for
BEGIN;
SELECT tide.create_shape('run_own', '{"table": "items"}');
SELECT count(*) FROM tide.sync();
SAVEPOINT s;
SELECT tide.create_shape('run_own_too', '{"table": "items"}');
SELECT count(*) FROM tide.sync();
ROLLBACK;

-- a transaction that may not write changes nothing: the slot stays, and so does the worker
SELECT pid FROM tide.status \gset
BEGIN READ ONLY;
SELECT tide.reset();
ROLLBACK;
BEGIN READ ONLY;
SELECT tide.stop();
ROLLBACK;
BEGIN READ ONLY;
SELECT tide.start();
ROLLBACK;
BEGIN READ ONLY;
SELECT tide.ingest();
ROLLBACK;
SELECT pid = :pid AS "same worker" FROM tide.status;

-- stopped: the slot stays, tide.ingest() goes on
SELECT tide.stop();
SELECT state, pid FROM tide.status;
SELECT active FROM pg_replication_slots WHERE slot_name = (SELECT slot_name FROM tide_internal.state);
INSERT INTO items VALUES (4, 'four');
INSERT INTO items VALUES (5, 'five'), (6, 'six');
DELETE FROM items WHERE id = 1;
SELECT tide.ingest(2);
SELECT tide.ingest();
SELECT tide.ingest();
SELECT rows FROM tide.shapes WHERE name = 'run_items';

-- reset: nothing stored is left, the shape is
SELECT epoch FROM tide_internal.state \gset
SELECT tide.reset();
SELECT epoch <> :'epoch' AS "new epoch" FROM tide_internal.state;
SELECT count(*) FROM pg_class WHERE relnamespace = 'tide_shadow'::regnamespace;
SELECT count(*) FROM pg_replication_slots WHERE database = current_database();
SELECT name, state, rows FROM tide.shapes WHERE name = 'run_items';
SELECT tide.ingest() >= 0 AS ingested;
SELECT name, state, rows FROM tide.shapes WHERE name = 'run_items';
SELECT tide.drop_shape('run_items');
SELECT tide.reset();

-- not for everybody
CREATE ROLE run_nobody;
SET ROLE run_nobody;
SELECT tide.start();
SELECT tide.stop();
SELECT tide.reset();
SELECT tide.ingest();
SELECT tide.sync();
SELECT tide.wait(0, '1ms') >= 0 AS waited;
RESET ROLE;
DROP ROLE run_nobody;
DROP SCHEMA run_start CASCADE;
