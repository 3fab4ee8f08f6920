-- Mutators: functions of the app that clients call by name in a push.

CREATE FUNCTION tide.create_mutator(name text, function regprocedure) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_create_mutator'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION tide.create_mutator(text, regprocedure) IS
	'lets clients call a function (args jsonb, claims jsonb) by name; it runs as the caller of tide.push';
REVOKE ALL ON FUNCTION tide.create_mutator(text, regprocedure) FROM PUBLIC;

CREATE FUNCTION tide.drop_mutator(name text) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_drop_mutator'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION tide.drop_mutator(text) IS
	'takes a mutator''s name back; the function stays';
REVOKE ALL ON FUNCTION tide.drop_mutator(text) FROM PUBLIC;

CREATE FUNCTION tide.current_client() RETURNS uuid
	AS 'MODULE_PATHNAME', 'tide_sql_current_client'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tide.current_client() IS
	'the client whose mutation is being applied, for mutators and triggers; NULL outside of a push';
REVOKE ALL ON FUNCTION tide.current_client() FROM PUBLIC;

CREATE FUNCTION tide.current_mutation() RETURNS bigint
	AS 'MODULE_PATHNAME', 'tide_sql_current_mutation'
	LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION tide.current_mutation() IS
	'id of the mutation being applied, for mutators and triggers; NULL outside of a push';
REVOKE ALL ON FUNCTION tide.current_mutation() FROM PUBLIC;

CREATE VIEW tide.mutators WITH (security_barrier) AS
SELECT m.name, p.oid::regprocedure AS function
FROM tide_internal.mutators m
LEFT JOIN pg_catalog.pg_proc p ON p.oid = m.function;
COMMENT ON VIEW tide.mutators IS
	'functions clients may call by name; function is NULL if it was dropped';
