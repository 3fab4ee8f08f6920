#!/usr/bin/env bash
# Rows per second and MB/s that tide.pull serves from one bucket, page after page, beside COPY (SELECT row_to_json(t))
# of the same rows: within the server (a client that throws pages away), and through the connection, where the cookies
# of all pages are known before and one page is one row of a COPY, so that only pulling and sending is measured.
#   bench/pull.sh [ROWS] [RUNS]
set -euo pipefail
# shellcheck source=bench/lib.sh
. "$(dirname "$0")/lib.sh"
rows=${1:-1000000}
runs=${2:-3}

bench_start
sql "CREATE TABLE t (id bigint PRIMARY KEY, grp uuid NOT NULL, title text, body text, n int, price numeric(12,2),
       done bool, at timestamptz);
     INSERT INTO t SELECT i, md5((i % 100)::text)::uuid, 'Title of row ' || i, repeat(md5(i::text), 6), i % 1000,
       (i % 100000) / 100.0, i % 2 = 0, '2026-01-01'::timestamptz + i * interval '1 second'
       FROM generate_series(1, $rows) i;
     SELECT tide.create_shape('all', '{\"table\": \"t\"}')" >/dev/null
sql 'SELECT tide.start()' >/dev/null
wait_live all
sql 'VACUUM (ANALYZE)'
printf '# %s rows of %s bytes on average\n' "$rows" "$(sql 'SELECT round(avg(pg_column_size(t))) FROM t')"

# the client: pulls page after page and throws the rows away; the cookie is cut out as text, since
# parsing the answer would be measured otherwise. Prints seconds, MB, and keeps the requests.
drain() {
  sql "CREATE TEMP TABLE made (page serial, request jsonb);
    DO \$\$
    DECLARE answer text; cookie text := 'null'; bytes bigint := 0; start timestamptz := clock_timestamp();
    BEGIN
      LOOP
        answer := tide.pull(('{\"shapes\": {\"all\": {}}, \"limit\": $1, \"cookie\": ' || cookie || '}')::jsonb);
        INSERT INTO made (request) VALUES (('{\"shapes\": {\"all\": {}}, \"limit\": $1, \"cookie\": ' || cookie || '}')::jsonb);
        cookie := substr(answer, 11, strpos(answer, ',\"checkpoint\":') - 11);
        bytes := bytes + octet_length(answer);
        EXIT WHEN strpos(left(answer, 1000), '\"complete\":true') > 0;
      END LOOP;
      PERFORM set_config('bench.seconds', extract(epoch FROM clock_timestamp() - start)::numeric(12,3)::text, false),
        set_config('bench.mb', (bytes / 1e6)::numeric(12,1)::text, false);
    END \$\$;
    DROP TABLE IF EXISTS pages$1;
    CREATE TABLE pages$1 AS SELECT * FROM made;
    SELECT current_setting('bench.seconds') || ' ' || current_setting('bench.mb')" 2>/dev/null
}
copy_json() { seconds psql -Xq -c "COPY (SELECT row_to_json(t) FROM t) TO STDOUT" -o /dev/null; }
drain_out() { seconds psql -Xq -c "COPY (SELECT tide.pull(request) FROM pages$1 ORDER BY page) TO STDOUT" -o /dev/null; }

# in turns
copy_json >/dev/null
for ((i = 0; i < runs; i++)); do
  for limit in 1000 10000; do
    drain $limit >>"$TIDE_CLUSTER/in.$limit"
    copy_json >>"$TIDE_CLUSTER/copy"
    drain_out $limit >>"$TIDE_CLUSTER/out.$limit"
  done
done
base=$(median <"$TIDE_CLUSTER/copy")
row 'COPY (SELECT row_to_json(t)) TO STDOUT' "$(per_second "$rows" "$base")" rows/s
point pull COPY 'to the client' "$(per_second "$rows" "$base")"
for limit in 1000 10000; do
  s=$(awk '{ print $1 }' "$TIDE_CLUSTER/in.$limit" | median)
  mb=$(awk '{ print $2 }' "$TIDE_CLUSTER/in.$limit" | median)
  row "tide.pull, limit $limit, in the server" "$(per_second "$rows" "$s")" rows/s \
    "$(per_second "$mb" "$s") MB/s, $(ratio "$base" "$s") x COPY"
  point pull "limit $limit" 'in the server' "$(per_second "$rows" "$s")"
  s=$(median <"$TIDE_CLUSTER/out.$limit")
  row "tide.pull, limit $limit, to the client" "$(per_second "$rows" "$s")" rows/s \
    "$(per_second "$mb" "$s") MB/s, $(ratio "$base" "$s") x COPY"
  point pull "limit $limit" 'to the client' "$(per_second "$rows" "$s")"
  need "pull to the client / COPY of the same rows, limit $limit" "$(ratio "$base" "$s")" ge 1.2 x "$(per_second "$rows" "$s") rows/s"
done
bench_end
