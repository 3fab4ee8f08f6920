-- tide.ingest(): rounds in the calling session, several batches in one transaction.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_tide;
RESET client_min_messages;
\pset format unaligned
CREATE SCHEMA ingest_round;
SET search_path = ingest_round, public;
CREATE TABLE items (id int PRIMARY KEY, label text);
SELECT tide.create_shape('items', '{"table": "items"}');
SELECT tide.ingest();

-- a batch that is full, then one with nothing but the mark at the end
INSERT INTO items SELECT i, 'item ' || i FROM generate_series(1, 10000) i;
SELECT tide.ingest();
SELECT row_count FROM tide_internal.buckets;

SELECT tide.reset();
SELECT tide.drop_shape('items');
SET client_min_messages = warning;
DROP SCHEMA ingest_round CASCADE;
