#!/usr/bin/env bash
# What includes cost: the ingest's CPU per change, and the wall time of the backlog, for the same changes of
# one table that a plain shape has (a bucket for each of 100 tenants, by a column of its own), and that hangs 1 to 4
# levels below the root of a tree with the same buckets; and with an author (many-to-one) below it. Changes:
#   update  of a column that is shown and decides nothing
#   move    to another parent, in another tenant: the row leaves one bucket and enters another
#   insert  of a row
# each as a backlog of 1-row and of 100-row transactions, which are taken in many at once, and "live": each
# commit waited for, so that it is a batch of its own. Ratios are to the plain shape of the same round.
# Then: inserts by an author who has 10 posts, and by one who has 100,000, with the author as include.
#
#   bench/trees.sh [ROWS] [ROUNDS]      default 100000 rows, 3 rounds; a fifth of the rows change
set -euo pipefail
. "$(dirname "$0")/lib.sh"
shopt -s inherit_errexit

rows=$((${1:-100000} / 1000 * 1000))
rounds=${2:-3}
changes=$((rows / 5))
live=$((changes / 20))
hub=100000

# in each table the tenant is (id - 1) % 100, as the numbers of rows are multiples of 100
setup() {
  sql "CREATE TABLE regions (id int PRIMARY KEY, tenant int, v int DEFAULT 0);
       CREATE TABLE orgs (LIKE regions INCLUDING ALL, parent_id int REFERENCES regions);
       CREATE TABLE projects (LIKE regions INCLUDING ALL, parent_id int REFERENCES orgs);
       CREATE TABLE issues (LIKE regions INCLUDING ALL, parent_id int REFERENCES projects);
       CREATE TABLE users (LIKE regions INCLUDING ALL);
       CREATE TABLE comments (LIKE regions INCLUDING ALL, parent_id int REFERENCES issues, author_id int REFERENCES users,
         body text DEFAULT repeat('x', 100)) WITH (fillfactor = 80);
       INSERT INTO regions SELECT i, (i - 1) % 100 FROM generate_series(1, 100) i;
       INSERT INTO orgs SELECT i, (i - 1) % 100, 0, (i - 1) % 100 + 1 FROM generate_series(1, 300) i;
       INSERT INTO projects SELECT i, (i - 1) % 100, 0, (i - 1) % 300 + 1 FROM generate_series(1, 900) i;
       INSERT INTO issues SELECT i, (i - 1) % 100, 0, (i - 1) % 900 + 1 FROM generate_series(1, $rows / 10) i;
       INSERT INTO users SELECT i, (i - 1) % 100 FROM generate_series(1, 1000) i;
       CREATE TABLE posts (id int PRIMARY KEY, author_id int REFERENCES users, body text DEFAULT repeat('x', 100));
       INSERT INTO posts SELECT i, CASE WHEN i <= $hub THEN 1 ELSE 2 END FROM generate_series(1, $hub + 10) i" >/dev/null
  sql "$(new_rows comments "SELECT i, (i - 1) % 100, 0, (i - 1) % ($rows / 10) + 1, (i - 1) % 1000 + 1" 1 "$rows");
       ANALYZE" >/dev/null
}

# new_rows TABLE SELECT FROM TO
new_rows() { echo "INSERT INTO $1 $2 FROM generate_series($3, $4) i"; }

# tree DEPTH [INCLUDE]: a shape with comments DEPTH levels below its root, and INCLUDE below them
tree() {
  local tables=(comments issues projects orgs regions) node='' i
  node="\"table\": \"comments\"${2:-}"
  for ((i = 1; i <= $1; i++)); do
    node="\"table\": \"${tables[i]}\", \"include\": {\"${tables[i - 1]}\": {$node}}"
  done
  echo "{$node, \"where\": \"tenant = params.tenant\"}"
}

# the rows from FROM to TO change: KIND FROM TO
change() {
  local where="WHERE id BETWEEN $2 AND $3"
  case $1 in
    update) echo "UPDATE comments SET v = v + 1 $where" ;;
    move) echo "UPDATE comments SET parent_id = parent_id % ($rows / 10) + 1, tenant = (tenant + 1) % 100,
                  author_id = author_id % 1000 + 1 $where" ;;
    insert) new_rows comments "SELECT $rows + i, (i - 1) % 100, 0, (i - 1) % ($rows / 10) + 1, (i - 1) % 1000 + 1" "$2" "$3" ;;
    post*) new_rows posts "SELECT $hub + 10 + i, ${1#post}" "$2" "$3" ;;
  esac
}

# write KIND ROWS CHANGES: in transactions of ROWS rows
write() {
  sql "DO \$\$ BEGIN FOR t IN 0 .. $3 / $2 - 1 LOOP $(change "$1" "t * $2 + 1" "t * $2 + $2"); COMMIT; END LOOP; END \$\$" >/dev/null
}

# write_live KIND CHANGES: each taken in before the next
write_live() {
  { echo "\\set n :n + 1"; change "$1" :n :n | tr '\n' ' '; echo ';'; echo 'SELECT tide.sync();'; } |
    pgbench -n -c 1 -t "$2" -D n=0 -f - bench >/dev/null 2>&1
}

drain() {
  let_go "$1"
  sql "SELECT tide.sync('600s')" >/dev/null
}

# what a measurement inserted is gone, the worker idle
clean() {
  sql "DELETE FROM comments WHERE id > $rows; DELETE FROM posts WHERE id > $hub + 10" >/dev/null
  sql "SELECT tide.sync('600s')" >/dev/null
  sleep 0.2
}

# one KEY KIND SIZE: prints "KEY cpu-us-per-change wall-us-per-change"; but for live changes the worker,
# idle, is held while the backlog grows: a start would read the shapes anew
one() {
  local pid before wall n=$changes
  pid=$(sql "SELECT pid FROM tide.status")
  before=$(cpu "$pid")
  if [ "$3" = live ]; then
    n=$live
    wall=$(seconds write_live "$2" "$n")
  else
    hold "$pid"
    write "$2" "$3" "$n"
    wall=$(seconds drain "$pid")
  fi
  echo "$1 $before $(cpu "$pid") $wall" | awk -v n="$n" '{ print $1, ($3 - $2) / n * 1e6, $4 / n * 1e6 }'
  clean
}

# measure SHAPE DEFINITION KIND...: a round of it, as lines "shape|kind|size cpu wall"
measure() {
  local name=$1 kind size
  sql "SELECT tide.drop_shape(name) FROM tide.shapes" >/dev/null
  sql "SELECT tide.create_shape('s', '$2')" >/dev/null
  sql "SELECT tide.start()" >/dev/null
  shift 2
  # what only the first change of a row costs is not meant, nor that the entries of a build are swept
  clean
  for kind in "$1" "$@"; do
    write "$kind" 1000 "$changes"
    clean
  done
  for kind; do
    for size in 1 100 live; do one "$name|$kind|$size" "$kind" "$size"; done
  done
}

# median of column FIELD of the lines "NAME|KIND|SIZE …"
of() { awk -v key="$1" -v f="$2" '$1 == key { print $f }' <<<"$out" | median; }

# median of the rounds' ratios of it to the lines of another key
against() {
  paste <(awk -v key="$1" '$1 == key { print $2 }' <<<"$out") <(awk -v key="$2" '$1 == key { print $2 }' <<<"$out") |
    awk '{ print $1 / $2 }' | median | awk '{ printf "%.2f\n", $1 }'
}

# report KEY TITLE FIRST-KEY
report() {
  row "$2" "$(of "$1" 2 | awk '{ printf "%.2f", $1 }')" us/change "of CPU, $(against "$1" "$3") x; $(of "$1" 3 | awk '{ printf "%.1f", $1 }') us of wall"
}

round() {
  local depth
  for depth in 0 1 2 3 4; do measure "$depth" "$(tree "$depth")" update move insert; done
  measure author "$(tree 3 ', "include": {"author": {"table": "users"}}')" update move insert
  measure post '{"table": "posts", "include": {"author": {"table": "users"}}}' post2 post1
}

bench_start synchronous_commit=off
setup
out=$(for ((i = 0; i < rounds; i++)); do round; done)
for kind in update move insert; do
  for size in 1 100 live; do
    title="$kind, $([ "$size" = live ] && echo live || echo "$size-row transactions")"    # and levels
    report "0|$kind|$size" "$title: plain" "0|$kind|$size"
    for depth in 1 2 3 4; do
      report "$depth|$kind|$size" "$title: $depth" "0|$kind|$size"
    done
    report "author|$kind|$size" "$title: 3, author" "0|$kind|$size"
  done
done
for size in 1 100 live; do
  report "post|post2|$size" "author of 10 posts, $size" "post|post2|$size"
  report "post|post1|$size" "author of $hub posts, $size" "post|post2|$size"
done
