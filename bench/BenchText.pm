# The words of doc/benchmarks.md that no run changes: for bench/report.pl.
package BenchText;
use strict;
use warnings;

our $INTRO = <<'TEXT';
# Benchmarks

Written by `make bench` (`bench/all.sh`): every figure is of one run on one machine, each beside its bound or a peer measured in
the same run, in turns where it matters; medians. Compare ratios: absolute numbers of another machine, or of this one at another
hour, differ by a factor of two. Clusters are throw-away ones with `fsync` on, 512 MB of shared buffers, client and server on the same machine.
TEXT

our $LIMITS = <<'TEXT';
What limits the figures:

- *Ingest*: one worker process, so one CPU. Decoding is about a fifth of its time; most goes into the upkeep of what readers use:
  finding and updating the shadow row, one heap and one index entry in the change log for each bucket the row is in,
  and removing the entry it supersedes. So five shapes cost two to three times one.
- *Single-row commits*: a batch is what came in while the one before was written, so they group themselves under load.
- *Latency*: two flushes of the WAL one after the other, the writer's commit and the worker's, and two wake-ups.
  At thousands of commits a second two CPUs are shared by writers, worker and reader.
- *Fan-out*: waking goes by one condition variable; what costs is each client's own pull: parsing the request, finding shape and bucket,
  reading one entry. With more than a few hundred clients connections have to be shared: no machine of this size holds 10,000 sessions.
- *Initial copy*: writing shadow rows and log entries, and two index builds at its end; it is the worker's own sequence.
- *Storage*: the shadow table is a second copy of the selected columns, and each row has an entry of about 110 bytes, index included, for each bucket it is in.
TEXT

our %TITLES = (
	ingest      => 'Ingest',
	latency     => 'Latency from commit to pull',
	fanout      => 'Fan-out: one change and many waiting clients',
	pull        => 'Pull',
	push        => 'Push',
	copy        => 'Initial copy',
	memory      => 'Memory',
	storage     => 'Storage',
	decode      => 'Output plugin: decoding',
	client_sync => "A client's first sync",
	shapes      => 'Many shapes, many buckets',
	trees       => 'Trees',
	churn       => 'Churn and compaction',
	sizing      => 'Sizing model',
);

our %TEXTS = (
	ingest => 'A backlog is made while the worker is stopped, then taken in. "Decoding alone" is the same WAL through this plugin with no table selected: PostgreSQL\'s own part. For the live figure pgbench and its backends are held on one CPU, the worker on the other.',
	latency => 'From just before the UPDATE to the reader\'s having the row: `pull` is tide.wait and tide.pull in a session, `stream` is the same with pg_recvlogical and test_decoding, straight from the WAL and with nothing stored.',
	fanout => "Server CPU is that of all PostgreSQL processes of the cluster, the ingest included, until every client has pulled. `direct`: each client is a session that sleeps in tide.wait.\n`hop`: each client is a socket with a long poll at the HTTP hop of examples/sync, which shares one session between all waits for the same op_id and has ten sessions for pulls;\neach client's pull has its own uuid and cookie. The hop and the clients (one Node process each) are not in the server's CPU; they are on the same two CPUs and decide when the last client has it.",
	pull => 'All pages of one bucket. "To the client" sends every page through a connection, as COPY does its rows.',
	push => 'Rows written through tide.push against the same rows by prepared statements on one connection.',
	copy => 'From tide.create_shape() until the shape is live.',
	memory => 'RssAnon of the process: all but shared memory and files.',
	storage => 'Bytes per row with indexes and TOAST, of the table and of what pg_tide keeps for it.',
	decode => 'The same WAL by pg_recvlogical to /dev/null; null is a plugin that prints nothing. Rows are numbered W1 to W7 in the plot as in the table.',
	client_sync => 'Applying the answers of a first sync in the client database, against one plain statement for each page.',
	shapes => 'Worker CPU per change; ratios are to the first line of each kind.',
	trees => 'Worker CPU per change for rows one to four levels below a root, against the same table as a plain shape.',
	churn => 'The change log with and without compaction.',
);

our %PLOTS = (
	decode  => { title => "Time to decode the same WAL, pg_tide = 1", y => 'x', },
	ingest  => { title => 'Ingest of a backlog, beside its bounds', y => 'changes/s', rotate => 1 },
	latency => { title => 'Commit to visible', y => 'ms', log => 1 },
	fanout  => { title => 'One change: server CPU until all clients have pulled it', x => 'waiting clients', y => 's', style => 'lines', log => 1, bound => 1 },
	pull    => { title => 'Rows served, all pages of one bucket', y => 'rows/s' },
	push    => { title => 'Rows written by batch size', y => 'rows/s', log => 1 },
	copy    => { title => 'Initial copy, beside its bounds', y => 'rows/s' },
	memory  => { title => "Own memory of the worker at most", y => 'MB', rotate => 1 },
	storage => { title => 'Bytes per row: the table, shadow table, change log', y => 'bytes', rotate => 1 },
);

our $PEERS = <<'TEXT';
## Peers, measured elsewhere

Not of this run: once, earlier, on such a machine (2 vCPU, PostgreSQL 15, fsync on, engine, both PostgreSQL clusters, load and client on the
same two CPUs), with engines at their default settings. The workload was 200,000 rows of 287 bytes; batches are updates in 1,000-row transactions, singles are
pgbench with 4 clients. They do different work: PowerSync assigns changes to buckets and keeps a history, as pg_tide does; Zero keeps
a row replica and works at query time. Machines differ by a factor of two from hour to hour: read these as sizes, not as ratios.

| | PowerSync service 1.25.0, PostgreSQL storage | Zero 1.9.0 |
|---|---|---|
| changes/s in batches | 7,100 (best of 3) | 4,100 |
| single-row commits/s | 6,600 (best of 3) | 1,430 |
| engine CPU per 100,000 changes, batches; single | 10-15 s; 11-14 s | 26 s; 94-98 s |
| rows/s to one client | 21,000 | 12,500 |
| commit to client, 10 a second | p50 69 ms, p99 101 ms | p50 12 ms, p99 43 ms |
| initial copy of 200,000 rows | 5,900-11,600 rows/s | 100,000-109,000 rows/s |
| memory | 500 MB | 0.9-2.8 GB over its processes |
| storage after the copy | 4.8 x the table's heap | 70 MB SQLite for a heap of 57 MB |

PowerSync's latency ends at the data line, its client parses but does not store; "caught up" is known to within a second. Zero's latency ends at the
view's listener, "caught up" is a sentinel row in its replica.
TEXT

1;
