# The two client engines are here and new enough for the generated schemas.
use strict;
use warnings;
use Test::More;

my ($major, $minor) = split /\./, `sqlite3 --version`;
ok($major > 3 || ($major == 3 && $minor >= 38), "sqlite3 $major.$minor is at least 3.38");
is(`sqlite3 :memory: "SELECT json_extract('{\\"a\\": [1, 2]}', '\$.a[1]')"`, "2\n", 'with JSON functions');

my $script = q{
import { PGlite } from '@electric-sql/pglite';
const db = new PGlite();
const { rows } = await db.query('SELECT current_setting(\'server_version_num\')::int >= 140000 AS ok');
console.log(rows[0].ok);
await db.close();
};
open my $node, '|-', 'node --input-type=module - > tmp_check/pglite.out' or die "node: $!\n";
print $node $script;
close $node;
open my $out, '<', 'tmp_check/pglite.out' or die "no output: $!\n";
is(join('', <$out>), "true\n", 'PGlite runs in node and is PostgreSQL 14 or later');

done_testing();
