package TideCatalog;

=head1 NAME

TideCatalog - the extension's objects as lines of text, and servers that know older versions of it

=head1 SYNOPSIS

    use TideCatalog;
    my $node = PostgreSQL::Test::Cluster->new('old', install_path => install_with_old_scripts());
    my @lines = catalog_of($node, 'db');     # one for each object and part of one, sorted

=cut

use strict;
use warnings;
use Cwd qw(abs_path getcwd);
use Exporter 'import';
use File::Basename qw(basename dirname);
use PostgreSQL::Test::Utils;

our @EXPORT = qw(install_with_old_scripts catalog_of);

# Each extension member with all that a script can say of it. No OIDs, no order of creation.
my $catalog = <<'SQL';
SET search_path = '';
WITH member AS (
  SELECT d.classid, d.objid, i.type || ' ' || i.identity AS name
    FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_tide'
   CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
   WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
     -- 17 and later make types of tables members, too, some of them by another way than others
     AND i.type NOT IN ('composite type') AND i.identity NOT LIKE 'tide\_internal.%[]' AND i.identity NOT LIKE 'tide\_shadow.%'
     AND NOT (i.type = 'type' AND EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_class c ON c.oid = t.typrelid WHERE t.oid = d.objid AND c.relkind <> 'c'))
), relation AS (
  SELECT m.name, c.* FROM member m JOIN pg_catalog.pg_class c ON c.oid = m.objid
   WHERE m.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
), line AS (
  SELECT name, coalesce(pg_catalog.obj_description(objid, (SELECT relname FROM pg_catalog.pg_class WHERE oid = classid)), '') AS what FROM member
   WHERE classid <> 'pg_catalog.pg_amproc'::pg_catalog.regclass
  UNION ALL
  SELECT m.name, pg_catalog.concat_ws(' | ', CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) END, p.proacl::text)
    FROM member m JOIN pg_catalog.pg_proc p ON p.oid = m.objid AND m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION ALL
  SELECT m.name, pg_catalog.concat_ws(' | ', a.aggkind::text, a.aggtransfn::text, a.aggfinalfn::text, a.aggcombinefn::text, a.aggtranstype::pg_catalog.regtype::text, a.agginitval)
    FROM member m JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = m.objid AND m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
  UNION ALL
  SELECT name, pg_catalog.concat_ws(' | ', relkind::text, relacl::text, reloptions::text, relrowsecurity::text, relreplident::text,
         CASE WHEN relkind = 'v' THEN pg_catalog.pg_get_viewdef(oid) END) FROM relation
  UNION ALL
  SELECT r.name || ' column ' || pg_catalog.row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum) || ' ' || a.attname, pg_catalog.concat_ws(' | ', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
         a.attstorage::text, a.attidentity::text, a.attgenerated::text, a.attacl::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid), pg_catalog.col_description(r.oid, a.attnum))
    FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
  UNION ALL
  SELECT r.name || ' constraint ' || c.conname, pg_catalog.pg_get_constraintdef(c.oid) FROM relation r JOIN pg_catalog.pg_constraint c ON c.conrelid = r.oid
  UNION ALL
  SELECT r.name || ' index', pg_catalog.pg_get_indexdef(i.indexrelid) FROM relation r JOIN pg_catalog.pg_index i ON i.indrelid = r.oid
  UNION ALL
  SELECT r.name || ' trigger ' || t.tgname, pg_catalog.pg_get_triggerdef(t.oid) || t.tgenabled::text FROM relation r JOIN pg_catalog.pg_trigger t ON t.tgrelid = r.oid
  UNION ALL
  SELECT r.name || ' policy ' || p.polname, pg_catalog.concat_ws(' | ', p.polcmd::text, p.polroles::text, pg_catalog.pg_get_expr(p.polqual, p.polrelid),
         pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) FROM relation r JOIN pg_catalog.pg_policy p ON p.polrelid = r.oid
  UNION ALL
  SELECT m.name, pg_catalog.concat_ws(' | ', t.typacl::text, t.typlen::text, t.typinput::text, t.typoutput::text, t.typreceive::text, t.typsend::text, t.typcategory::text)
    FROM member m JOIN pg_catalog.pg_type t ON t.oid = m.objid AND m.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
  UNION ALL
  SELECT m.name, n.nspacl::text FROM member m JOIN pg_catalog.pg_namespace n ON n.oid = m.objid AND m.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass
  UNION ALL
  SELECT m.name, pg_catalog.concat_ws(' | ', o.oprcode::text, o.oprcom::pg_catalog.regoperator::text, o.oprnegate::pg_catalog.regoperator::text, o.oprrest::text, o.oprjoin::text, o.oprcanhash::text, o.oprcanmerge::text)
    FROM member m JOIN pg_catalog.pg_operator o ON o.oid = m.objid AND m.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass
  UNION ALL
  SELECT m.name, pg_catalog.concat_ws(' | ', t.evtevent, t.evtfoid::pg_catalog.regprocedure::text, t.evttags::text, t.evtenabled::text)
    FROM member m JOIN pg_catalog.pg_event_trigger t ON t.oid = m.objid AND m.classid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
  UNION ALL
  SELECT 'dumped rows of ' || c.r::pg_catalog.regclass, c.w FROM pg_catalog.pg_extension e, LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) c(r, w)
   WHERE e.extname = 'pg_tide'
  UNION ALL
  SELECT m.name || ' initial privileges', i.initprivs::text FROM member m JOIN pg_catalog.pg_init_privs i ON i.classoid = m.classid AND i.objoid = m.objid AND i.objsubid = 0
  UNION ALL
  SELECT 'extension', pg_catalog.concat_ws(' | ', e.extversion, e.extrelocatable::text, e.extnamespace::pg_catalog.regnamespace::text) FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_tide'
)
SELECT pg_catalog.replace(pg_catalog.concat_ws(': ', name, what::text), E'\n', E'\\n') FROM line
SQL

sub catalog_of
{
	my ($node, $db) = @_;
	my @lines = sort split /\n/, $node->safe_psql($db, $catalog);
	die 'the extension has next to no objects' if @lines < 500;
	return @lines;
}

# A copy of the PostgreSQL installation whose extension folder also has what is in test/upgrade; its path. Programs are copied,
# since a server finds its files from where its program is; all else is linked.
sub install_with_old_scripts
{
	my $root = PostgreSQL::Test::Utils::tempdir();
	my ($bin, $share, $lib) = map { chomp(my $p = `pg_config --$_`); abs_path($p) } qw(bindir sharedir pkglibdir);
	my $prefix = "$bin/";
	$prefix = dirname($prefix) . '/' until index("$share/", $prefix) == 0 && index("$lib/", $prefix) == 0;
	my ($bin_to, $share_to, $lib_to) = map { $root . '/' . substr($_, length $prefix) } $bin, $share, $lib;

	run_ok('mkdir', '-p', dirname($bin_to), "$share_to/extension", dirname($lib_to));
	run_ok('cp', '-r', $bin, $bin_to);
	symlink($lib, $lib_to) or die "symlink: $!" if !-e $lib_to;
	for my $file (glob("$share/*"), glob("$share/extension/*"))
	{
		next if $file eq "$share/extension";
		symlink($file, $share_to . substr($file, length $share)) or die "symlink $file: $!";
	}
	run_ok('cp', '--remove-destination', glob('test/upgrade/pg_tide--*'), "$share_to/extension");
	return dirname($bin_to);
}

sub run_ok { system(@_) == 0 or die "@_ failed"; return; }

1;
