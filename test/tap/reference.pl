# doc/reference.md is what the catalog says, and doc/errors.md names the SQLSTATEs of the source, all and no others.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TideCluster;

my $node = tide_new('reference');
my ($out, $err) = ('', '');
IPC::Run::run([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', 'test/reference.sql' ],
	'<', \'', '>', \$out, '2>', \$err) or die $err;
unlike($out, qr/no comment/, 'every function, view and table has a comment');
unlike($out, qr/^### Operations\n/m, 'every function belongs to an area');
my @expected = split /\n/, $out;
my @page = split /\n/, slurp_file('doc/reference.md');
my %page = map { $_ => 1 } @page;
my %expected = map { $_ => 1 } @expected;
is_deeply([ grep { !$page{$_} } @expected ], [], 'doc/reference.md lacks nothing: else run make reference');
is_deeply([ grep { !$expected{$_} } @page ], [], 'and has nothing that is not');
$node->stop;

# macro name -> SQLSTATE, from the server's own header
my %sqlstate = (CONFLICT => 'TD001');
my $headers = `pg_config --includedir-server`;
chomp $headers;
for (split /\n/, slurp_file("$headers/utils/errcodes.h"))
{
	$sqlstate{$1} = "$2$3$4$5$6" if /^#define ERRCODE_(\w+) MAKE_SQLSTATE\('(.)','(.)','(.)','(.)','(.)'\)/;
}

# whole classes that src/util/subxact.c hands on, and what is only compared with
my %not_raised = map { $_ => 1 } qw(CONNECTION_EXCEPTION OPERATOR_INTERVENTION SYSTEM_ERROR DATA_EXCEPTION);
my %used;
for my $file (glob('src/*.[ch] src/*/*.[ch]'))
{
	my $text = slurp_file($file);
	$used{ $sqlstate{$_} } = $file for grep { $sqlstate{$_} && !$not_raised{$_} } $text =~ /(?<!TIDE_)ERRCODE_(\w+)/g;
	$used{TD001} = $file if $text =~ /TIDE_ERRCODE_CONFLICT/;
}
for my $file (glob('sql/install/*.sql'))
{
	$used{ $sqlstate{ uc $_ } // $_ } = $file for slurp_file($file) =~ /ERRCODE = '(\w+)'/g;
}
cmp_ok(scalar keys %used, '>', 30, 'the source was read');
my %named = map { $_ => 1 } slurp_file('doc/errors.md') =~ /^\|((?: `\w{5}`,?)+) \|/mg;
%named = map { $_ => 1 } map { /`(\w{5})`/g } keys %named;
is_deeply([ map { "$_ in $used{$_}" } grep { !$named{$_} } sort keys %used ], [], 'doc/errors.md names every SQLSTATE of the source');
is_deeply([ grep { !$used{$_} } sort keys %named ], [], 'and no other');

done_testing();
