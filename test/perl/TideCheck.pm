package TideCheck;

=head1 NAME

TideCheck - what the ingest stored, checked by SQL of the tests' own

=head1 SYNOPSIS

    install_check($node);                  # once per database
    store_ok($node, 'after the crash');    # assertion: tide.sync(), then nothing is wrong

=head1 NOTES

Independent of tide.pull and tide.verify: knows only the storage that src/README.md
describes. With compare_source every shadow table must equal its source, which holds
when nobody writes between tide.sync() and the check.

=cut

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster qw(sql_json);

our @EXPORT = qw(install_check store_problems store_ok shadow_of verify_problems);

my $check_sql = <<'SQL';
CREATE SCHEMA IF NOT EXISTS tide_check;

-- the C int64 at a place of a packed array
CREATE OR REPLACE FUNCTION tide_check.int64_at(packed bytea, place int) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT ('x' || substr(h, 15, 2) || substr(h, 13, 2) || substr(h, 11, 2) || substr(h, 9, 2)
	|| substr(h, 7, 2) || substr(h, 5, 2) || substr(h, 3, 2) || substr(h, 1, 2))::bit(64)::bigint
   FROM encode(substr(packed, place, 8), 'hex') h $$;

-- one snapshot for all of it: STABLE
CREATE OR REPLACE FUNCTION tide_check.problems(compare_source boolean) RETURNS SETOF text STABLE LANGUAGE plpgsql
SET timezone = 'UTC' AS $f$
DECLARE
	s record;
	t text;
	shadow_columns text;
	source_columns text;
	keys text;
	n bigint;
	ops bigint[] := '{}';
	checkpoint bigint := (SELECT op_id FROM tide_internal.checkpoints);
BEGIN
	FOR s IN SELECT * FROM tide_internal.sources WHERE state = 'live' ORDER BY source_id LOOP
		t := s.relid::regclass::text;
		SELECT string_agg('c' || a, ', ' ORDER BY a), string_agg(quote_ident(attname), ', ' ORDER BY a)
		  INTO shadow_columns, source_columns
		  FROM unnest(s.attnums) a JOIN pg_attribute ON attrelid = s.relid AND attnum = a AND NOT attisdropped;
		SELECT string_agg(format('l.k%s = r.c%s', i, a), ' AND ') INTO keys FROM unnest(s.key_attnums) WITH ORDINALITY k(a, i);

		IF compare_source AND source_columns IS NOT NULL THEN
			FOR n, t IN EXECUTE format($q$
				WITH shadow AS (SELECT ROW(%1$s)::text AS r FROM tide_shadow.t%2$s),
					 source AS (SELECT ROW(%3$s)::text AS r FROM %4$s)
				(SELECT 1, left(r, 200) FROM (TABLE shadow EXCEPT ALL TABLE source) x LIMIT 5)
				UNION ALL (SELECT 2, left(r, 200) FROM (TABLE source EXCEPT ALL TABLE shadow) x LIMIT 5)$q$,
				shadow_columns, s.source_id, source_columns, s.relid::regclass) LOOP
				RETURN NEXT format('%s: %s %s', s.relid::regclass, CASE n WHEN 1 THEN 'in the shadow only:' ELSE 'in the source only:' END, t);
			END LOOP;
		END IF;

		-- ids given out in the order of the ingest's transactions, none beyond the checkpoint
		FOR t IN EXECUTE format($q$
			SELECT format('log%1$s: op_id %%s of transaction %%s follows one of transaction %%s', op_id, xid, before)
			  FROM (SELECT op_id, xid, lag(xid) OVER (ORDER BY op_id) AS before
					  FROM (SELECT op_id, xmin::text::bigint AS xid FROM tide_shadow.log%1$s) y) x
			 WHERE xid < before OR op_id > %2$s LIMIT 5$q$, s.source_id, checkpoint) LOOP
			RETURN NEXT t;
		END LOOP;

		-- buckets: rows and checksum of the current entries; a small one's checksum may lag while rows only changed since
		FOR t IN EXECUTE format($q$
			WITH entries AS (
				SELECT l.bucket_id, l.op_id, l.hash, r.ctid AS row, r._op
				  FROM tide_shadow.log%1$s l JOIN tide_shadow.t%1$s r ON %2$s
				 WHERE l.kind <> 'l'),
			members AS (
				SELECT r.ctid AS row, tide_check.int64_at(_members, i) AS bucket_id, tide_check.int64_at(_members, i + 8) AS op_id
				  FROM tide_shadow.t%1$s r, generate_series(1, length(_members), 24) i),
			current AS (
				SELECT bucket_id, op_id, hash, row FROM entries WHERE op_id > _op
				UNION ALL
				SELECT bucket_id, op_id, hash, row FROM entries JOIN members USING (row, bucket_id, op_id) WHERE op_id <= _op),
			counted AS MATERIALIZED (
				SELECT bucket_id, count(*) AS rows, count(DISTINCT row) AS different, sum(hash) %% 4294967296 AS checksum, max(op_id) AS last
				  FROM current GROUP BY bucket_id),
			b AS (
				SELECT *, may_lag AND (SELECT lagging FROM tide_internal.checkpoints)
					   AND EXISTS (SELECT FROM tide_shadow.log%1$s l WHERE l.bucket_id = b.bucket_id AND l.op_id > b.last_op_id) AS lags,
					   EXISTS (SELECT FROM tide_shadow.log%1$s l WHERE l.bucket_id = b.bucket_id AND l.op_id > b.last_op_id AND l.kind <> 'c') AS counts
				  FROM tide_internal.buckets b)
			SELECT format('bucket %%s: %%s rows (%%s different), checksum %%s; told %%s rows, checksum %%s', b.bucket_id,
						  coalesce(c.rows, 0), c.different, c.checksum, b.row_count, b.checksum)
			  FROM b LEFT JOIN counted c USING (bucket_id)
			 WHERE (b.shape_id, b.node_id) IN (SELECT shape_id, node_id FROM tide_internal.shape_nodes WHERE source_id = %1$s)
			   AND (SELECT state FROM tide_internal.shapes h WHERE h.shape_id = b.shape_id) IN ('live', 'building')
			   AND (coalesce(c.rows, 0) <> b.row_count OR (coalesce(c.checksum, 0) <> b.checksum AND NOT lags)
					OR c.rows <> c.different OR (c.last > b.last_op_id AND NOT lags) OR counts OR b.last_op_id > %3$s) LIMIT 5$q$,
			s.source_id, keys, checkpoint) LOOP
			RETURN NEXT t;
		END LOOP;

		-- memberships: of buckets of the table's own nodes, brought by one parent row at least
		FOR t IN EXECUTE format($q$
			WITH members AS (
				SELECT tide_check.int64_at(_members, i) AS bucket_id, tide_check.int64_at(_members, i + 16) >> 32 AS brought
				  FROM tide_shadow.t%1$s, generate_series(1, length(_members), 24) i)
			SELECT format('row of %2$s brought %%s times into bucket %%s of node %%s of source %%s', brought, bucket_id, n.node_id, n.source_id)
			  FROM members JOIN tide_internal.buckets b USING (bucket_id) JOIN tide_internal.shape_nodes n USING (shape_id, node_id)
			 WHERE n.source_id <> %1$s OR brought < 1 OR (brought > 1 AND n.parent_id IS NULL) LIMIT 5$q$,
			s.source_id, s.relid::regclass) LOOP
			RETURN NEXT t;
		END LOOP;

		EXECUTE format('SELECT count(*) FROM (SELECT op_id FROM tide_shadow.log%s GROUP BY 1 HAVING count(*) > 1) x', s.source_id) INTO n;
		IF n > 0 THEN
			RETURN NEXT format('log%s: %s op_ids twice', s.source_id, n);
		END IF;
		-- across tables
		EXECUTE format('SELECT count(*) FROM tide_shadow.log%s WHERE op_id = ANY ($1)', s.source_id) INTO n USING ops;
		IF n > 0 THEN
			RETURN NEXT format('log%s: %s op_ids of another table', s.source_id, n);
		END IF;
		EXECUTE format('SELECT $1 || array_agg(op_id) FROM (SELECT op_id FROM tide_shadow.log%s ORDER BY op_id DESC LIMIT 1000) x', s.source_id) INTO ops USING ops;
	END LOOP;
END
$f$;
SQL

sub install_check
{
	my ($node, %opts) = @_;
	$node->safe_psql($opts{db} // 'postgres', $check_sql);
	return;
}

# text of what is wrong, one line each
sub store_problems
{
	my ($node, %opts) = @_;
	my $compare = $opts{compare_source} // 1 ? 'true' : 'false';
	return $node->safe_psql($opts{db} // 'postgres', "SELECT tide_check.problems($compare)");
}

# assertion: after tide.sync() everything stored is right
sub store_ok
{
	my ($node, $name, %opts) = @_;
	$node->safe_psql($opts{db} // 'postgres', "SELECT tide.sync('10min')") if $opts{sync} // 1;
	return is(store_problems($node, %opts), '', $name);
}

# what tide.verify finds, as text
sub verify_problems
{
	my ($node, $shape, $params, $claims, %opts) = @_;
	my $db = $opts{db} // 'postgres';
	return $node->safe_psql($db,
		"SELECT v FROM tide.verify('$shape', " . sql_json($params // {}) . ', ' . sql_json($claims // {}) . ') v LIMIT 5');
}

# name of a table's shadow table
sub shadow_of
{
	my ($node, $table, %opts) = @_;
	return 'tide_shadow.t'
	  . $node->safe_psql($opts{db} // 'postgres',
		"SELECT source_id FROM tide_internal.sources WHERE relid = '$table'::regclass");
}

1;
