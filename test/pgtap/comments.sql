-- Every object of the extension says what it is.
BEGIN;
SELECT plan(3);

CREATE TEMP VIEW uncommented AS
SELECT pg_describe_object(d.classid, d.objid, 0) AS object
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'pg_tide'
   AND (d.classid IN ('pg_proc'::regclass, 'pg_namespace'::regclass)
        OR (d.classid = 'pg_class'::regclass
            AND (SELECT relkind FROM pg_class c WHERE c.oid = d.objid) IN ('r', 'v', 'm', 'p'))
        OR (d.classid = 'pg_type'::regclass
            AND (SELECT typrelid = 0 OR r.relkind = 'c' FROM pg_type t LEFT JOIN pg_class r ON r.oid = t.typrelid
                  WHERE t.oid = d.objid)
            AND (SELECT typelem = 0 FROM pg_type t WHERE t.oid = d.objid)))
   AND coalesce(obj_description(d.objid, d.classid::regclass::name),
                (SELECT obj_description(t.typrelid, 'pg_class') FROM pg_type t
                  WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid)) IS NULL
 ORDER BY 1;

SELECT is_empty('SELECT * FROM uncommented', 'every function, relation, type and schema has a comment');
SELECT isnt(obj_description(oid, 'pg_extension'), NULL, 'so has the extension')
  FROM pg_extension WHERE extname = 'pg_tide';

CREATE FUNCTION tide.bad() RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER EXTENSION pg_tide ADD FUNCTION tide.bad();
SELECT results_eq('SELECT object::text FROM uncommented', ARRAY['function tide.bad()'], 'an object without comment is noticed');

SELECT * FROM finish();
ROLLBACK;
