-- vector clocks, registers, maps, counters, sets: what the states look like, and what is refused
\set h1 '''000000000001-0000-000000000000000a'''
\set h2 '''000000000002-0000-000000000000000b'''
\set h3 '''000000000003-0000-000000000000000a'''

-- vector clocks
SELECT tide.vclock_increment(NULL, 'a'), tide.vclock_increment('{"a": 1, "b": 0}', 'a'), tide.vclock_increment('{"a": 1}', 'long name');
SELECT a, b, tide.vclock_compare(a, b), tide.vclock_merge(a, b) FROM (VALUES ('{}'::jsonb, '{}'::jsonb), ('{}', '{"a": 0}'), ('{"a": 1}', '{}'), ('{"a": 1}', '{"a": 2}'),
	('{"a": 1}', '{"b": 1}'), ('{"a": 2, "b": 1}', '{"a": 1, "b": 2}'), ('{"aa": 1, "b": 2}', '{"b": 2, "aa": 1, "c": 1}')) v(a, b);
SELECT tide.vclock_merge(c) FROM (VALUES ('{"a": 1}'::jsonb), (NULL), ('{"b": 9223372036854775807}'), ('{"a": 3}')) v(c);
SELECT tide.vclock_merge(c) FROM (VALUES (NULL::jsonb)) v(c);
SELECT tide.vclock_compare('{}', NULL) IS NULL AS null_compare, tide.vclock_merge(NULL, NULL) AS null_merge;
SELECT tide.vclock_compare('[]', '{}');
SELECT tide.vclock_compare('{}', '1');
SELECT tide.vclock_compare('{}', 'null');
SELECT tide.vclock_merge('{"a": 1.5}', '{}');
SELECT tide.vclock_merge('{"a": 2.0}', '{}');
SELECT tide.vclock_merge('{"a": -1}', '{}');
SELECT tide.vclock_merge('{"a": "1"}', '{}');
SELECT tide.vclock_merge('{"a": null}', '{}');
SELECT tide.vclock_merge('{"a": {}}', '{}');
SELECT tide.vclock_merge('{"a": 9223372036854775808}', '{}');
SELECT tide.vclock_merge('{"a": 1e1000}', '{}');
SELECT tide.vclock_merge('{"": 1}', '{}');
SELECT tide.vclock_increment('{}', '');
SELECT tide.vclock_increment('{}', NULL);
SELECT tide.vclock_increment('{"a": 9223372036854775807}', 'a');

-- LWW register
SELECT tide.lww_register_set(NULL, '{"x": [1, null]}', :h2) AS r \gset
SELECT :'r', tide.lww_register_value(:'r'), tide.lww_register_clock(:'r');
SELECT tide.lww_register_set(:'r', '"older"', :h1), tide.lww_register_set(:'r', '"newer"', :h3), tide.lww_register_remove(:'r', :h1), tide.lww_register_remove(:'r', :h3);
SELECT tide.lww_register_value(tide.lww_register_remove(:'r', :h3)) IS NULL AS removed, tide.lww_register_value('{}') IS NULL AS never_written,
	tide.lww_register_value(tide.lww_register_set('{}', 'null', :h1)) AS json_null, tide.lww_register_clock('{}') IS NULL AS no_clock;
-- equal clocks: the greater value, before a removal
SELECT tide.lww_register_set(tide.lww_register_set('{}', '1', :h1), '2', :h1), tide.lww_register_set(tide.lww_register_set('{}', '2', :h1), '1', :h1),
	tide.lww_register_remove(tide.lww_register_set('{}', '1', :h1), :h1), tide.lww_register_set(tide.lww_register_remove('{}', :h1), '1', :h1);
SELECT tide.lww_register_merge(s) FROM (VALUES (tide.lww_register_set('{}', '1', :h1)), (NULL), (tide.lww_register_set('{}', '3', :h3)), ('{}')) v(s);
SELECT tide.lww_register_merge('{"value": 1}', '{}');
SELECT tide.lww_register_merge('{"hlc": "x"}', '{}');
SELECT tide.lww_register_merge('{"hlc": 1, "value": 1}', '{}');
SELECT tide.lww_register_merge('{"hlc": "000000000001-0000-000000000000000a", "v": 1}', '{}');
SELECT tide.lww_register_merge('[]', '{}');
SELECT tide.lww_register_value('"x"');
SELECT tide.lww_register_set('{}', NULL, :h1);
SELECT tide.lww_register_set('{}', '1', NULL);

-- LWW map
SELECT tide.lww_map_set(tide.lww_map_set(NULL, 'a', '1', :h1), 'b', '[2]', :h2) AS m \gset
SELECT :'m', tide.lww_map_value(:'m'), tide.lww_map_clock(:'m');
SELECT tide.lww_map_remove(:'m', 'b', :h1) = :'m' AS too_old, tide.lww_map_remove(:'m', 'b', :h3) AS m \gset
SELECT :'too_old', :'m', tide.lww_map_value(:'m'), tide.lww_map_clock(:'m');
SELECT tide.lww_map_set(:'m', 'b', '"late"', :h2) = :'m' AS stays_removed, tide.lww_map_prune(:'m', :h3) = :'m' AS too_young,
	tide.lww_map_prune(:'m', '000000000003-0000-000000000000000b') AS pruned, tide.lww_map_prune('{}', :h1);
SELECT tide.lww_map_set('{}', '', 'null', :h1), tide.lww_map_value(tide.lww_map_set('{}', '', 'null', :h1)), tide.lww_map_clock('{}') IS NULL AS no_clock;
SELECT tide.lww_map_merge('{"a": {}}', '{}');
SELECT tide.lww_map_merge('{"a": 1}', '{}');
SELECT tide.lww_map_merge('{"a": {"value": 1}}', '{}');
SELECT tide.lww_map_value('{"a": {"hlc": "000000000001-0000-000000000000000a", "value": 1, "x": 2}}');
SELECT tide.lww_map_value('[]');
SELECT tide.lww_map_set('{}', NULL, '1', :h1);
SELECT tide.lww_map_set('{}', 'a', NULL, :h1);
SELECT tide.lww_map_prune('{}', NULL);

-- PN counter
SELECT tide.pn_counter_add(tide.pn_counter_add(tide.pn_counter_add(NULL, 'a'), 'b', -5), 'a', 2) AS c \gset
SELECT :'c', tide.pn_counter_value(:'c'), tide.pn_counter_add(:'c', 'a', 0) = :'c' AS by_nothing, tide.pn_counter_value('{}');
SELECT tide.pn_counter_merge(s), tide.pn_counter_value(tide.pn_counter_merge(s)) FROM (VALUES (:'c'::jsonb), (:'c'), (NULL), ('{"added": {"a": 4, "c": 1}}')) v(s);
SELECT tide.pn_counter_value('{"added": {"a": 9223372036854775807, "b": 9223372036854775807}}');
SELECT tide.pn_counter_merge('{"added": {"a": 0}, "removed": {}}', '{}');
SELECT tide.pn_counter_add('{"removed": {"a": 9223372036854775807}}', 'a', -1);
SELECT tide.pn_counter_add('{}', 'a', -9223372036854775808);
SELECT tide.pn_counter_add('{}', 'a', NULL);
SELECT tide.pn_counter_add('{}', '', 1);
SELECT tide.pn_counter_value('{"added": [1]}');
SELECT tide.pn_counter_value('{"added": {"a": -1}}');
SELECT tide.pn_counter_value('{"add": {}}');
SELECT tide.pn_counter_value('5');

-- grow-only set
SELECT tide.g_set_add(tide.g_set_add(tide.g_set_add(NULL, '"b"'), '{"k": 1}'), '"b"') AS g \gset
SELECT :'g', tide.g_set_value(:'g'), tide.g_set_value('[2, 1, 2, null, [3], {}, true]'), tide.g_set_value('[1, 1.0]') = '[1]' AS equal, tide.g_set_value('[]');
SELECT tide.g_set_merge(s) FROM (VALUES ('["x"]'::jsonb), (NULL), ('["a", ["x"]]'), ('["a"]')) v(s);
SELECT tide.g_set_merge(s) FROM (VALUES (NULL::jsonb)) v(s);
SELECT tide.g_set_add('{}', '1');
SELECT tide.g_set_add('"x"', '1');
SELECT tide.g_set_add('[]', NULL);

-- OR-set: an add that a removal has not seen wins over it
SELECT tide.or_set_add(tide.or_set_add(NULL, '"x"', 'a'), '{"k": [1]}', 'a') AS s \gset
SELECT :'s', tide.or_set_value(:'s');
SELECT tide.or_set_remove(:'s', '"x"') AS removed, tide.or_set_add(:'s', '"x"', 'b') AS added_again \gset
SELECT :'removed', :'added_again', tide.or_set_merge(:'removed', :'added_again'), tide.or_set_merge(:'removed', :'s');
SELECT tide.or_set_value(tide.or_set_merge(s)) FROM (VALUES (:'removed'::jsonb), (NULL), (:'s'), (:'added_again')) v(s);
SELECT tide.or_set_remove(:'s', '"y"') = :'s' AS nothing_to_remove, tide.or_set_remove(tide.or_set_remove(:'s', '"x"'), '{"k": [1]}') AS none_left;
-- adding and removing for ever leaves nothing but the count
SELECT s FROM (WITH RECURSIVE r(n, s) AS (SELECT 0, '{}'::jsonb UNION ALL
	SELECT n + 1, tide.or_set_remove(tide.or_set_add(tide.or_set_add(s, to_jsonb(n), 'a'), to_jsonb(n), 'a'), to_jsonb(n)) FROM r WHERE n < 1000)
	SELECT s FROM r WHERE n = 1000) x;
SELECT tide.or_set_merge('{"clock": {"a": 2}, "elements": [{"value": 2, "dots": {"a": 2, "b": 0}}, {"value": 1, "dots": {"a": 1}}]}', '{}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [{"value": 1, "dots": {"a": 2}}]}');
SELECT tide.or_set_value('{"elements": [{"value": 1, "dots": {"a": 1}}]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [{"value": 1, "dots": {}}]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [{"value": 1}]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [{"dots": {"a": 1}}]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [{"value": 1, "dots": [1]}]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [{"value": 1, "dots": {"a": 1}}, {"value": 1.0, "dots": {"a": 1}}]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": [1]}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": {}}');
SELECT tide.or_set_value('{"clock": {"a": 1}, "elements": "x"}');
SELECT tide.or_set_value('{"clock": 1}');
SELECT tide.or_set_value('{"tombstones": {}}');
SELECT tide.or_set_value('[]');
SELECT tide.or_set_add('{}', '1', '');
SELECT tide.or_set_add('{}', '1', NULL);
SELECT tide.or_set_add('{"clock": {"a": 9223372036854775807}}', '1', 'a');
SELECT tide.or_set_remove('{}', NULL);
