-- Prints doc/reference.md from the catalog and the server's settings: `make reference`.
\pset format unaligned
\pset tuples_only on
\pset fieldsep ''
SET search_path = pg_catalog;

\qecho '# Reference'
\qecho
\qecho 'Made from the comments of the objects by `make reference`; a test compares. What the errors mean is in [errors](errors.md).'
\qecho 'Everybody may call `tide.pull`, `tide.push` and `tide.wait`, which check the request; of the rest, superusers may call'
\qecho 'all and grant it to others, and what the column "by" says holds from the start.'

CREATE TEMP TABLE area AS
SELECT * FROM (VALUES
    (1, 'Ingest', 'ingest.md', '^(start|stop|reset|ingest|sync|wait)$'),
    (2, 'Shapes', 'shapes.md', '_shape$'),
    (3, 'Pull, push, clients', 'pull.md', '^(pull|push|client_schema)$'),
    (4, 'Writes', 'push.md', '(_writes|_policy|_mutator|^current_\w+)$'),
    (5, 'Who may see and write what', 'security.md', '(_role|_jwt_key|^claim)$'),
    (6, 'Hybrid logical clocks', 'crdt.md', '^(make_)?hlc|^(max|min)$'),
    (7, 'Vector clocks and CRDTs', 'crdt.md', '^(vclock|lww|pn_counter|g_set|or_set)_|_crdt$'),
    (8, 'End-to-end encryption', 'encryption.md',
        '(^verify|encrypt|decrypt|envelope|device|grant|backup|sign|seal|data_key|canonical|mutation_message)'),
    (9, 'Operations', 'operations.md', '.')) AS a(pos, title, page, pattern);

-- functions of the extension, but not those a type, an aggregate or a trigger is made of
CREATE TEMP TABLE fn AS
SELECT p.oid, p.proname,
    -- verify(text, ...) compares shapes, others are of signatures
    (SELECT min(a.pos) FROM area a
       WHERE CASE WHEN p.proname = 'verify' THEN a.pos = CASE p.proargtypes[0] WHEN 'text'::regtype THEN 3 ELSE 8 END
             ELSE p.proname ~ a.pattern END) AS pos
  FROM pg_proc p
 WHERE p.pronamespace = 'tide'::regnamespace
   AND NOT EXISTS (SELECT FROM pg_type t WHERE p.oid IN (t.typinput, t.typoutput, t.typreceive, t.typsend))
   AND NOT EXISTS (SELECT FROM pg_amproc s WHERE s.amproc = p.oid)
   AND NOT EXISTS (SELECT FROM pg_operator o WHERE o.oprcode = p.oid)
   AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype);

\qecho
\qecho '## Functions'
SELECT E'\n### ' || a.title || E'\n\nMore: [' || a.page || '](' || a.page || E')\n\n| function | returns | does | by |\n|---|---|---|---|\n' ||
    string_agg(format('| `tide.%s(%s)` | %s | %s | %s |', f.proname,
            replace(regexp_replace(pg_get_function_arguments(f.oid), '::[a-z ]+', '', 'g'), '|', '\|'),
            replace(pg_get_function_result(f.oid), '|', '\|'),
            coalesce(replace(obj_description(f.oid, 'pg_proc'), '|', '\|'), '**no comment**'),
            CASE WHEN has_function_privilege('public', f.oid, 'EXECUTE') THEN 'everybody' ELSE '' END),
        E'\n' ORDER BY f.proname, pg_get_function_arguments(f.oid))
  FROM fn f JOIN area a USING (pos)
 GROUP BY a.pos, a.title, a.page
 ORDER BY a.pos;

\qecho
\qecho '## Types'
\qecho
\qecho '| type | is |'
\qecho '|---|---|'
SELECT format('| `tide.%s` | %s |', t.typname,
        coalesce(obj_description(t.oid, 'pg_type'),
            (SELECT 'row of ' || string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
               FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped)))
  FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
 WHERE t.typnamespace = 'tide'::regnamespace AND t.typelem = 0 AND (t.typtype = 'b' OR c.relkind = 'c')
 ORDER BY t.typname;

\qecho
\qecho '## Views and tables'
SELECT format(E'\n### tide.%s\n\nA %s: %s.%s\n\n| column | type |\n|---|---|\n', c.relname,
        CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, coalesce(obj_description(c.oid, 'pg_class'), '**no comment**'),
        CASE WHEN has_table_privilege('public', c.oid, 'SELECT') THEN ' Everybody may read it.' ELSE '' END) ||
    (SELECT string_agg(format('| `%s` | %s%s |', a.attname, format_type(a.atttypid, a.atttypmod),
                coalesce(': ' || col_description(c.oid, a.attnum), '')), E'\n' ORDER BY a.attnum)
       FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
  FROM pg_class c
 WHERE c.relnamespace = 'tide'::regnamespace AND c.relkind IN ('v', 'r')
 ORDER BY c.relname;

\qecho
\qecho '## Settings'
\qecho
\qecho '| setting | default | does | may be set |'
\qecho '|---|---|---|---|'
SELECT format('| `%s` | %s | %s | %s |', s.name,
        CASE WHEN s.vartype <> 'integer' OR s.unit IS NULL THEN coalesce(s.boot_val, '')
             ELSE (SELECT (s.boot_val::bigint / u.size) || u.name
                     FROM (VALUES ('kB', 1024, 'MB'), ('kB', 1, 'kB'), ('s', 86400, 'd'), ('s', 1, 's'), ('ms', 1000, 's'), ('ms', 1, 'ms')) AS u(unit, size, name)
                    WHERE u.unit = s.unit AND s.boot_val::bigint % u.size = 0
                    ORDER BY u.size DESC LIMIT 1) END,
        s.short_desc || coalesce(' ' || s.extra_desc, ''),
        CASE s.context WHEN 'user' THEN 'by everybody' WHEN 'superuser' THEN 'by superusers'
             WHEN 'sighup' THEN 'in postgresql.conf, then reload' WHEN 'postmaster' THEN 'at server start' ELSE s.context END)
  FROM pg_settings s
 WHERE s.name LIKE 'tide.%'
 ORDER BY s.name;
