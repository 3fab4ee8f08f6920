package TideShapes;

=head1 NAME

TideShapes - random definitions of shapes, and what their rows are

=head1 SYNOPSIS

    my $shape = shape_new($world, 'w1_s1');
    $session->query("SELECT tide.create_shape('w1_s1', " . sql_json($shape->{definition}) . ')');
    my $params = shape_params($shape);           # random values, { name => value }
    my $sql = shape_query($shape, $params, $claims, $at);   # rows (path, key, row), of the tables

=head1 NOTES

The query knows nothing of pg_tide: a definition is made of the same pieces twice, once as the definition's
text and once as nested queries, with literals in the place of params, claims and now().
Pieces are templates: {z} the node's row, {p} its parent's, {v:params.x} a value, {now}.

    n1 AS (SELECT DISTINCT columns FROM (
             SELECT z.*, row_number() OVER (PARTITION BY p.key ORDER BY ...) AS place
               FROM n0 p JOIN (SELECT * FROM t z WHERE where) z ON on) y WHERE place <= limit)

The windows of a limit are of the node's bucket keys, and of the parent row: conditions on params and claims
tell their keys.

=cut

use strict;
use warnings;
use Exporter 'import';
use TideWorld;

our @EXPORT = qw(shape_new shape_params shape_query world_claims);

# what a shape under construction has taken so far
my ($world, $shape);

# ---- values from requests

# claims a client of this world has: one of each domain
sub world_claims
{
	my ($of) = @_;
	my %claims;
	my $domains = claim_domains($of);
	for my $name (sort keys %$domains)
	{
		next if chance(0.03);
		$claims{$name} = chance(0.04) ? undef : random_value($domains->{$name});
	}
	return \%claims;
}

sub claim_domains
{
	my ($of) = @_;
	return $of->{claims} if $of->{claims};
	my %domains = map { ("c_$_" => $of->{domains}{$_}) } qw(n t u b e ia ta);
	for my $table (@{ $of->{tables} })
	{
		my $c = key_column($table) // next;
		my $domain = $c->{domain};
		$domains{"c_$table->{name}" =~ s/\W/_/gr} = $domain;
		$domains{"c_$table->{name}_list" =~ s/\W/_/gr} = { type => $domain->{type} . q([]), elem => $domain };
	}
	$domains{lc $_} = delete $domains{$_} for keys %domains;
	return $of->{claims} = \%domains;
}

# template of a value of the domain: a claim, or a parameter
sub request_value
{
	my ($domain) = @_;
	my $claims = claim_domains($world);
	my @claims = grep { same_domain($claims->{$_}, $domain) } sort keys %$claims;
	return '{v:claims.' . pick(@claims) . '}' if @claims && chance(0.5);
	my @params = grep { same_domain($shape->{params}{$_}, $domain) } sort keys %{ $shape->{params} };
	my $name = @params && chance(0.3) ? pick(@params) : 'p' . (1 + keys %{ $shape->{params} });
	$shape->{params}{$name} = $domain;
	return "{v:params.$name}";
}

sub same_domain
{
	my ($a, $b) = @_;
	return same_domain($a->{elem}, $b->{elem}) if $a->{elem} && $b->{elem};
	return $a == $b;
}

sub array_of { my ($domain) = @_; return { type => $domain->{type} . q([]), elem => $domain }; }

sub shape_params
{
	my ($of) = @_;
	return { map { $_ => chance(0.03) ? undef : random_value($of->{params}{$_}) } sort keys %{ $of->{params} } };
}

# ---- conditions on the row alone; $a is what its columns are called by: "{z}.", "q1." or ""

sub constant { my ($c) = @_; return literal($c->{domain}, random_value($c->{domain})); }

sub column_condition
{
	my ($table, $a) = @_;
	my $c = pick(grep { $_->{domain} != $world->{time} && !$_->{domain}{long} } @{ $table->{columns} });
	my $x = "$a$c->{name}";
	my $type = $c->{domain}{type};
	my $any = constant($c);
	return "$x IS " . pick('', 'NOT ') . 'NULL' if !$c->{notnull} && chance(0.12);
	if ($type eq 'int' && !$c->{ref} && $c->{name} ne 'id')
	{
		return pick("$x = $any", "$x <> $any", "$x < " . (1 + number(5)), "$x IN ($any, " . number(6) . ')', "$x BETWEEN 1 AND 4",
			"$x % 2 = " . number(2), "coalesce($x, 3) > " . number(4), "$x NOT IN ($any, 2)", "$x IS DISTINCT FROM $any");
	}
	return pick("$x = $any", "$x <> $any", "$x IN ($any, 'ab')", "$x LIKE 'a%'", "$x ~ '^[ab]'", "length($x) > 0", "upper($x) = 'A'") if $type eq 'text' && $c->{name} eq 't';
	return pick($x, "NOT $x", "$x IS TRUE", "$x IS NOT TRUE") if $type eq 'bool';
	return pick("$x = $any", "$x <> $any", "$x < 'high'", "$x IN ('low', 'mid')") if $type =~ /mood/;
	return pick("cardinality($x) > 1", "$x && $any", literal($c->{domain}{elem}, random_value($c->{domain}{elem})) . " = ANY ($x)", "$x <> $any") if $c->{domain}{elem};
	return pick("$x ->> 'k' = 'a'", qq($x \@> '{"n": 1}'), "($x ->> 'n')::int > 1", "$x ? 'k'") if $type eq 'jsonb';
	return pick("$x < $any", "$x <> $any", "$x > $any");
}

sub row_condition
{
	my ($table, $a, $depth) = @_;
	my $kind = chance(0.7) ? 'one' : pick(qw(and or not));
	return column_condition($table, $a) if $kind eq 'one' || $depth > 1;
	my ($l, $r) = map { row_condition($table, $a, $depth + 1) } 1 .. 2;
	return "($l AND $r)" if $kind eq 'and';
	return "NOT ($l)" if $kind eq 'not';
	return "($l OR $r)";
}

sub window_condition
{
	my ($table, $a) = @_;
	my @columns = grep { $_->{domain} == $world->{time} } @{ $table->{columns} };
	return row_condition($table, $a, 0) if !@columns;
	my $x = "$a$columns[0]{name}";
	my ($past, $future) = map { "interval '" . pick(0, 2, 5, 10, 20) . " $world->{unit}s'" } 1 .. 2;
	my $cond = pick("$x > {now} - $past", "$x >= {now} - $past", "$x <= {now}", "{now} - $past < $x", "$x < {now} + $future",
		"$x > {now} - $past AND $x <= {now} + $future", "NOT ($x >= {now} - $past)", "{now} >= $x");
	return chance(0.2) ? "($cond OR " . row_condition($table, $a, 1) . ')' : $cond;
}

# ---- conditions that make bucket keys: { cond, keys => [templates] }

# expressions over a row that params can be compared with, and their domains
sub key_expressions
{
	my ($table, $a) = @_;
	my @result;
	for my $c (@{ $table->{columns} })
	{
		next if $c->{domain} == $world->{time} || $c->{domain}{long} || $c->{domain}{elem} || domain_is($c->{domain}, 'jsonb');
		push @result, [ "$a$c->{name}", $c->{domain} ];
		push @result, [ "coalesce($a$c->{name}, 2)", $c->{domain} ] if $c->{name} eq 'n';
		push @result, [ "left($a$c->{name}, 1)", $c->{domain} ] if $c->{name} eq 't';
	}
	push @result, [ "($a" . "j ->> 'k')", $world->{domains}{t} ] if column($table, 'j');
	return @result;
}

# the row's key is compared with one value only
sub single_key
{
	my ($table, $a) = @_;
	my ($x, $domain) = @{ pick(key_expressions($table, $a)) };
	my $v = request_value($domain);
	return { cond => chance(0.2) ? "$v = $x" : "$x = $v", keys => [$x] };
}

sub key_condition
{
	my ($table, $a, $limited) = @_;
	my @arrays = grep { $_->{domain}{elem} } @{ $table->{columns} };
	if (@arrays && !$limited && chance(0.3))
	{
		my $c = pick(@arrays);
		my $x = "$a$c->{name}";
		my $kind = number(3);
		my $v = request_value($kind == 1 ? array_of($c->{domain}{elem}) : $c->{domain}{elem});
		return { cond => "$v = ANY ($x)", keys => [] } if $kind == 0;
		return { cond => pick("$x && $v", "$v && $x"), keys => [] } if $kind == 1;
		my $w = request_value($c->{domain}{elem});
		my $type = $c->{domain}{elem}{type};
		return { cond => "$x \@> ARRAY[$v" . "::$type, $w" . "::$type]", keys => [] };
	}
	my ($x, $domain) = @{ pick(key_expressions($table, $a)) };
	my $v = request_value($domain);
	return { cond => "$x = ANY (" . request_value(array_of($domain)) . ')', keys => [$x] } if chance(0.2);
	return { cond => "$x IN ($v, " . pick(request_value($domain), literal($domain, random_value($domain))) . ')', keys => [$x] } if chance(0.25);
	return single_key($table, $a);
}

# ---- subqueries

my $alias;

sub new_alias { return 'q' . ++$alias; }

# pairs of columns with values in common: [of the outer, of the inner table]
sub links
{
	my ($outer, $inner) = @_;
	my @links;
	for my $o (@{ $outer->{columns} })
	{
		for my $i (@{ $inner->{columns} })
		{
			my $plain = $o->{domain} == $world->{time} || $o->{domain}{long} || domain_is($o->{domain}, 'jsonb') || domain_is($o->{domain}, 'bool');
			push @links, [ $o->{name}, $i->{name} ] if !$plain && !$o->{domain}{elem} && $o->{domain} == $i->{domain};
		}
	}
	# references rather than chance
	my @references = grep { my $l = $_; grep { column($_->[0], $_->[1])->{ref} } [ $outer, $l->[0] ], [ $inner, $l->[1] ] } @links;
	return @references && chance(0.8) ? @references : @links;
}

# a table that has something in common with this one, and a link to it
sub linked_table
{
	my ($outer, @wanted) = @_;
	for (1 .. 20)
	{
		my $inner = pick(@{ $world->{tables} });
		my @links = links($outer, $inner);
		return ($inner, pick(@links)) if @links;
	}
	return ($outer, [ $outer->{key}[0], $outer->{key}[0] ]);
}

# what a subquery asks of its own rows: "q1.x = …" joined by AND
sub inner_conditions
{
	my ($inner, $a, $value, $depth) = @_;
	my @conds;
	push @conds, row_condition($inner, "$a.", 1) if chance(0.5);
	if ($value)
	{
		my ($x, $domain) = @{ pick(key_expressions($inner, "$a.")) };
		my $v = request_value($domain);
		my @arrays = grep { $_->{domain}{elem} } @{ $inner->{columns} };
		push @conds, pick("$x = $v", "$x = $v", "$x <> $v", "$x = ANY (" . request_value(array_of($domain)) . ')');
		if (@arrays && chance(0.15))
		{
			my $c = pick(@arrays);
			$conds[-1] = request_value($c->{domain}{elem}) . " = ANY ($a.$c->{name})";
		}
	}
	push @conds, subquery($inner, "$a.", $value && chance(0.3), $depth + 1) if $depth < 2 && chance(0.2);
	return @conds;
}

# [NOT] IN or [NOT] EXISTS over a table that has to do with the outer row; $value: with params and claims
sub subquery
{
	my ($outer, $a, $value, $depth, $keys) = @_;
	my ($inner, $link) = linked_table($outer);
	my $q = new_alias();
	my @conds = inner_conditions($inner, $q, $value, $depth);
	my $from = "$inner->{quoted} $q";
	my $not = chance($keys ? 0 : 0.3) ? 'NOT ' : '';
	if (chance(0.2))
	{
		my ($third, $l) = linked_table($inner);
		my $r = new_alias();
		$from .= chance(0.5) ? " JOIN $third->{quoted} $r ON $q.$l->[0] = $r.$l->[1]" : ", $third->{quoted} $r";
		push @conds, "$q.$l->[0] = $r.$l->[1]" if $from =~ /,/;
		push @conds, row_condition($third, "$r.", 1) if chance(0.4);
	}
	push @$keys, "$a$link->[0]" if $keys;
	my $text = @conds ? join(' AND ', @conds) : 'true';
	return "$a$link->[0] ${not}IN (SELECT $q.$link->[1] FROM $from WHERE $text)" if chance(0.5);
	my @more = links($outer, $inner);
	my $tie = chance(0.5) ? "$q.$link->[1] = $a$link->[0]" : "$a$link->[0] = $q.$link->[1]";
	if (chance(0.2))
	{
		my $second = pick(@more);
		$tie .= " AND $q.$second->[1] = $a$second->[0]";
		push @$keys, "$a$second->[0]" if $keys;
	}
	if (!$value && chance(0.15) && column($outer, 'n') && column($inner, 'n'))
	{
		$tie .= " AND $q.n " . pick('<', '>=', '<>') . " ${a}n";
	}
	return "${not}EXISTS (SELECT " . pick('', '1', "$q.$link->[1]") . " FROM $from WHERE $tie AND $text)";
}

# over the row, without params and claims
sub subfilter
{
	my ($table, $a) = @_;
	my $cond = subquery($table, '{z}.', 0, 0);
	return "($cond OR " . row_condition($table, '{z}.', 1) . ')' if chance(0.15);
	return "($cond OR " . subquery($table, '{z}.', 0, 1) . ')' if chance(0.1);
	return "NOT ($cond)" if chance(0.08);
	return $cond;
}

# ---- where

# alternatives that depend on different things
sub alternatives
{
	my ($table, $a) = @_;
	my @branches = map {
		my $kind = random_kind(key => 5, lookup => 3, row => 2, request => 1, window => 1, subfilter => 1);
		my $cond = $kind eq 'key' ? key_condition($table, $a)->{cond} : $kind eq 'lookup' ? subquery($table, '{z}.', 1, 0)
		  : $kind eq 'request' ? request_condition() : $kind eq 'window' ? window_condition($table, $a)
		  : $kind eq 'subfilter' ? subfilter($table, $a) : row_condition($table, $a, 1);
		$cond = "$cond AND " . (chance(0.5) ? row_condition($table, $a, 1) : key_condition($table, $a)->{cond}) if chance(0.2);
		"($cond)";
	} 1 .. 2 + number(2);
	return '(' . join(' OR ', @branches) . ')';
}

# on claims or params and no column
sub request_condition
{
	my $n = request_value($world->{domains}{n});
	return pick("$n > 1", "$n < 5", request_value($world->{domains}{t}) . " <> 'b'", request_value($world->{domains}{e}) . " = 'mid'") if chance(0.6);
	my $inner = pick(@{ $world->{tables} });
	my $q = new_alias();
	return pick('', '', 'NOT ') . "EXISTS (SELECT FROM $inner->{quoted} $q WHERE " . join(' AND ', inner_conditions($inner, $q, 1, 2)) . ')';
}

sub random_kind
{
	my %weights = @_;
	return pick(map { my $k = $_; map { $k } 1 .. $weights{$k} } sort keys %weights);
}

# { conds => [...], keys => [...] }
sub where
{
	my ($table, $is_root, $limited) = @_;
	my %where = (conds => [], keys => []);
	my %weights = (row => 6, key => $is_root ? 6 : 2, subfilter => 3, lookup => $is_root ? 4 : 2, window => 3, or => $is_root ? 3 : 1, request => 1);
	for (1 .. ($is_root ? number(4) : pick(0, 0, 0, 1, 1, 2)))
	{
		# an unqualified name means the node's own column
		my $a = chance(0.4) ? '' : '{z}.';
		my $kind = random_kind(%weights);
		my $more = $kind eq 'key' ? key_condition($table, $a, $limited) : undef;
		if ($kind eq 'lookup' && $limited)
		{
			my @keys;
			$more = { cond => subquery($table, '{z}.', 1, 0, \@keys), keys => \@keys };
		}
		my $cond = $more ? $more->{cond} : $kind eq 'subfilter' ? subfilter($table, $a) : $kind eq 'window' ? window_condition($table, $a)
		  : $kind eq 'lookup' ? subquery($table, '{z}.', 1, 0) : $kind eq 'request' ? request_condition()
		  : $kind eq 'or' && !$limited ? alternatives($table, $a) : row_condition($table, $a, 0);
		push @{ $where{conds} }, $cond =~ / OR | AND /i ? "($cond)" : $cond;
		push @{ $where{keys} }, @{ $more->{keys} } if $more;
	}
	return \%where;
}

# ---- nodes

sub order_by
{
	my ($table) = @_;
	my @columns = grep { !$_->{domain}{elem} && !$_->{domain}{long} && $_->{domain}{type} ne 'jsonb' } @{ $table->{columns} };
	my @keys = map { my $c = pick(@columns); '{z}.' . $c->{name} . pick('', ' DESC', ' ASC', ' DESC NULLS LAST', ' NULLS FIRST', ' DESC') } 1 .. 1 + number(2);
	$keys[0] = '-{z}.n' if column($table, 'n') && chance(0.1);
	return join ', ', @keys;
}

# { table, text => definition's on or undef, cond => template }
sub join_candidates
{
	my ($parent) = @_;
	my @result;
	for my $table (@{ $world->{tables} })
	{
		my @down = grep { $_->{ref} && $_->{ref} == $parent } @{ $table->{columns} };
		my @up = grep { $_->{ref} && $_->{ref} == $table } @{ $parent->{columns} };
		my $declared = (grep { $_->{enforced} } @down, @up) == 1 && $table != $parent;
		for my $c (@down, @down)
		{
			push @result, { table => $table, cond => "{z}.$c->{name} = {p}.id", default => $declared && $c->{enforced} };
		}
		push @result, map { { table => $table, cond => "{p}.$_->{name} = {z}.id", default => $declared && $_->{enforced} } } @up, @up;
		push @result, { table => $table, cond => join ' OR ', map { "{z}.$_->{name} = {p}.id" } @down } if @down > 1;
		push @result, { table => $table, cond => "{z}.$down[0]{name} = {p}.id OR {p}.$up[0]{name} = {z}.id" } if @down && @up;
		push @result, { table => $table, cond => "{z}.$_->{name} = {p}.id AND {z}.n " . pick('>', '<=', '<>') . ' {p}.n' } for grep { column($table, 'n') && column($parent, 'n') } @down;
		push @result, map { { table => $table, cond => "{z}.id = ANY ({p}.refs)" } } grep { $_->{refs} && $_->{refs} == $table } @{ $parent->{columns} };
		push @result, map { { table => $table, cond => "{p}.id = ANY ({z}.refs)" } } grep { $_->{refs} && $_->{refs} == $parent } @{ $table->{columns} };
		if (chance(0.3))
		{
			my @links = links($parent, $table);
			my $l = @links ? pick(@links) : next;
			push @result, { table => $table, cond => "{z}.$l->[1] = {p}.$l->[0]" };
		}
		push @result, { table => $table, cond => '{z}.n < {p}.n AND {z}.t = {p}.t' } if chance(0.1) && !grep { !column($_, 'n') || !column($_, 't') } $table, $parent;
	}
	return @result;
}

sub node
{
	my ($parent, $name, $join, $depth) = @_;
	my $table = $parent ? $join->{table} : pick(@{ $world->{tables} });
	my $node = { table => $table, parent => $parent, name => $name, number => scalar @{ $shape->{nodes} }, path => '', level => $parent ? $parent->{level} + 1 : 0 };
	push @{ $shape->{nodes} }, $node;
	$node->{path} = join '.', grep { $_ ne '' } $parent->{path}, $name if $parent;
	if ($parent)
	{
		$node->{on} = $join->{cond};
		$node->{default_on} = $join->{default} && chance(0.5);
	}
	my $allowed = $shape->{features};
	$node->{limit} = 1 + number(4) if $allowed->{limit} && chance($parent ? 0.2 : 0.15);
	$node->{order_by} = order_by($table) if $node->{limit};
	$node->{where} = where($table, !$parent, $node->{limit});
	if (chance(0.3))
	{
		$node->{columns} = [ map { $_->{name} } grep { chance(0.4) } @{ $table->{columns} } ];
	}
	for my $i (1 .. ($depth < 1 ? 0 : $parent ? pick(0, 1, 1, 2) : pick(1, 1, 1, 2, 2, 3)))
	{
		last if @{ $shape->{nodes} } >= 8;
		my @joins = join_candidates($table);
		next if !@joins;
		my $join = pick(@joins);
		# a name that is the parent table's would be ambiguous
		my $plain = qw(a b c d e)[ $node->{level} ] . $i;
		my $child = chance(0.2) && $join->{table} != $table && $join->{table}{name} =~ /^\w+$/ ? lc $join->{table}{name} : $plain;
		next if grep { $_->{name} eq $child } @{ $node->{includes} };
		$child = $plain if grep { lc $_->{table}{name} eq $child } $node, $parent // ();
		push @{ $node->{includes} }, node($node, $child, $join, $depth - 1);
	}
	return $node;
}

sub shape_new
{
	my ($of, $name, %features) = @_;
	$world = $of;
	$alias = 0;
	$shape = { name => $name, world => $of, params => {}, nodes => [], features => { limit => 1, %features } };
	my $root = node(undef, '', undef, pick(0, 1, 2, 2, 3, 4));
	$shape->{definition} = definition($root);
	my $text = join ' ', map { @{ $_->{where}{conds} } } @{ $shape->{nodes} };
	delete @{ $shape->{params} }{ grep { index($text, "{v:params.$_}") < 0 } keys %{ $shape->{params} } };
	return $shape;
}

# ---- texts

sub render
{
	my ($template, %with) = @_;
	$template =~ s/\{z\}/$with{z}/g;
	$template =~ s/\{p\}/$with{p}/g if defined $with{p};
	$template =~ s/\{now\}/$with{now}/g;
	$template =~ s/\{v:(params|claims)\.(\w+)\}/$with{value}->($1, $2)/ge;
	return $template;
}

sub definition
{
	my ($node) = @_;
	my $table = $node->{table};
	my $z = $table->{quoted};
	my %with = (z => $z, now => 'now()', value => sub { return "$_[0].$_[1]" });
	my %definition = (table => chance(0.2) ? "$world->{schema}.$table->{quoted}" : $table->{quoted});
	$definition{where} = join ' AND ', map { render($_, %with) } @{ $node->{where}{conds} } if @{ $node->{where}{conds} };
	$definition{columns} = $node->{columns} if $node->{columns};
	if ($node->{parent} && !$node->{default_on})
	{
		my $same = $node->{parent}{table} == $table;
		my $p = $same || chance(0.5) ? 'parent' : $node->{parent}{table}{quoted};
		$definition{on} = render($node->{on}, %with, z => chance(0.5) || $same ? $node->{name} : $z, p => $p);
	}
	if ($node->{limit})
	{
		$definition{limit} = $node->{limit};
		$definition{order_by} = render($node->{order_by}, %with);
	}
	$definition{include} = { map { $_->{name} => definition($_) } @{ $node->{includes} } } if $node->{includes};
	return \%definition;
}

sub node_query
{
	my ($node, %with) = @_;
	my $table = $node->{table};
	my $name = "$table->{quoted}";
	my @columns = map { $_->{name} } @{ $table->{columns} };
	my $where = join ' AND ', map { '(' . render($_, %with, z => 'z') . ')' } @{ $node->{where}{conds} };
	my $rows = "SELECT * FROM $name z" . ($where ne '' ? " WHERE $where" : '');
	my $order = $node->{limit} ? join ', ', render($node->{order_by}, %with, z => 'z'), map { "z.$_" } @{ $table->{key} } : '';
	# an unqualified name in a key means the node's own column
	my @keys = map { my $key = $_; $key =~ /\{z\}/ ? render($key, %with, z => 'z') : "(SELECT $key FROM (SELECT z.*) z)" } @{ $node->{where}{keys} };
	my ($inner, $over, $place) = ('', '', '');
	if ($node->{parent})
	{
		my $p = $node->{parent};
		$over = 'PARTITION BY ' . join(', ', map({ "p.$_" } @{ $p->{table}{key} }), @keys) . " ORDER BY $order";
		$place = ", row_number() OVER ($over) AS place" if $node->{limit};
		$inner = "SELECT z.*$place FROM n$p->{number} p JOIN ($rows) z ON (" . render($node->{on}, %with, z => 'z', p => 'p') . ')';
	}
	elsif ($node->{limit})
	{
		$over = (@keys ? 'PARTITION BY ' . join(', ', @keys) : '') . " ORDER BY $order";
		$inner = "SELECT z.*, row_number() OVER ($over) AS place FROM ($rows) z";
	}
	else { $inner = $rows; }
	return "n$node->{number} AS (SELECT DISTINCT " . join(', ', map { "y.$_" } @columns) . " FROM ($inner) y" . ($node->{limit} ? " WHERE y.place <= $node->{limit}" : '') . ')';
}

# columns of a node's rows: without "columns" those the table has now
sub shown
{
	my ($node) = @_;
	my %shown = map { $_ => 1 } @{ $node->{columns} // [ map { $_->{name} } @{ $node->{table}{columns} } ] }, @{ $node->{table}{key} };
	return sort keys %shown;
}

# rows (path, key, row) that a client should have; $at as SQL
sub shape_query
{
	my ($of, $params, $claims, $at) = @_;
	my %values = (params => $params, claims => $claims);
	my %domains = (params => $of->{params}, claims => claim_domains($of->{world}));
	my %with = (now => $at, value => sub { return typed_literal($domains{ $_[0] }{ $_[1] }, $values{ $_[0] }{ $_[1] }) });
	my @nodes = @{ $of->{nodes} };
	return 'WITH ' . join(",\n", map { node_query($_, %with) } @nodes) . "\n" . join "\nUNION ALL ", map {
		my $node = $_;
		"SELECT '$node->{path}' AS path, jsonb_build_object(" . join(', ', map { "'$_', y.$_" } @{ $node->{table}{key} }) . ")::text AS key, to_jsonb(y)::text AS row FROM (SELECT "
		  . join(', ', shown($node)) . " FROM n$node->{number}) y"
	} @nodes;
}

1;
