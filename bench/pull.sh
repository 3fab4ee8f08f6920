#!/usr/bin/env bash
# Rows per second and MB/s that tide.pull serves from one bucket, beside COPY (SELECT row_to_json(t)).
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
until [ "$(sql "SELECT state FROM tide.shapes WHERE name = 'all'")" = live ]; do sleep 1; done
sql 'VACUUM (ANALYZE)'
printf '# %s rows of %s bytes on average\n' "$rows" "$(sql 'SELECT round(avg(pg_column_size(t))) FROM t')"

# the client: pulls page after page and throws the rows away; the cookie is cut out as text, since
# parsing the answer would be measured otherwise. Prints seconds.
drain() {
  sql "DO \$\$
    DECLARE answer text; cookie text := 'null'; bytes bigint := 0; start timestamptz := clock_timestamp();
    BEGIN
      LOOP
        answer := tide.pull(('{\"shapes\": {\"all\": {}}, \"limit\": $1, \"cookie\": ' || cookie || '}')::jsonb);
        cookie := substr(answer, 11, strpos(answer, ',\"checkpoint\":') - 11);
        bytes := bytes + octet_length(answer);
        EXIT WHEN strpos(left(answer, 1000), '\"complete\":true') > 0;
      END LOOP;
      PERFORM set_config('bench.seconds', extract(epoch FROM clock_timestamp() - start)::numeric(12,3)::text, false),
        set_config('bench.mb', (bytes / 1e6)::numeric(12,1)::text, false);
    END \$\$;
    SELECT current_setting('bench.seconds') || ' ' || current_setting('bench.mb')"
}
copy_json() { seconds psql -Xq -c "COPY (SELECT row_to_json(t) FROM t) TO STDOUT" -o /dev/null; }
# the same through the connection, as COPY goes: one page is one row
drain_out() { seconds psql -Xq -c "COPY (SELECT tide.pull('{\"shapes\": {\"all\": {}}, \"limit\": 10000}') FROM generate_series(1, $((rows / 10000)))) TO STDOUT" -o /dev/null; }

copy_json >/dev/null
base=$(repeat "$runs" copy_json | median)
row 'COPY (SELECT row_to_json(t)) TO STDOUT' "$(per_second "$rows" "$base")" rows/s
for limit in 1000 10000; do
  out=$(repeat "$runs" drain "$limit")
  s=$(cut -d' ' -f1 <<<"$out" | median)
  mb=$(cut -d' ' -f2 <<<"$out" | median)
  row "tide.pull, limit $limit, in the server" "$(per_second "$rows" "$s")" rows/s \
    "$(per_second "$mb" "$s") MB/s, $(ratio "$base" "$s") x COPY"
done
if [ "$rows" -ge 10000 ]; then
  s=$(repeat "$runs" drain_out | median)
  row 'tide.pull, limit 10000, to the client (first page)' "$(per_second "$rows" "$s")" rows/s "$(ratio "$base" "$s") x COPY"
fi
