-- Conflict policies of columns: what becomes of a write when others have written, too.

CREATE FUNCTION tide.set_conflict_policy("table" regclass, "column" name, policy text,
	function regprocedure DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'tide_sql_set_conflict_policy'
	LANGUAGE C VOLATILE;
COMMENT ON FUNCTION tide.set_conflict_policy(regclass, name, text, regprocedure) IS
	'sets what becomes of writes to a column that others have written, too; policy null: as the table has it; column null: of the table';
REVOKE ALL ON FUNCTION tide.set_conflict_policy(regclass, name, text, regprocedure) FROM PUBLIC;
