/*
 * allow_sql.c
 *	  Who may use the functions and operators of clocks and CRDTs.
 *
 * Nothing of them is executable by PUBLIC at first. They are told from the rest of schema
 * tide by their names, so that an upgrade's new ones are among them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "util/spi.h"

PG_FUNCTION_INFO_V1(tide_sql_allow_crdt);
PG_FUNCTION_INFO_V1(tide_sql_disallow_crdt);

static void change_rights(const char *verb, const char *preposition, Oid role);
static char *crdt_functions(void);
static char *role_text(Oid role);

Datum
tide_sql_allow_crdt(PG_FUNCTION_ARGS)
{
	change_rights("GRANT", "TO", PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

Datum
tide_sql_disallow_crdt(PG_FUNCTION_ARGS)
{
	change_rights("REVOKE", "FROM", PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

/* as the extension's owner: who may execute these functions is the only check they need */
static void
change_rights(const char *verb, const char *preposition, Oid role)
{
	TideSpiFrame frame;
	SPIPlanPtr	plan = NULL;
	char	   *sql;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	sql = psprintf("%s EXECUTE ON ROUTINE %s %s %s", verb, crdt_functions(), preposition,
				   role_text(role));
	tide_spi_run(&plan, sql, 0, NULL, NULL, NULL, false, 0);
	SPI_freeplan(plan);
	tide_spi_end(&frame);
}

/* their signatures, with schema, parted by commas */
static char *
crdt_functions(void)
{
	static SPIPlanPtr plan = NULL;
	bool		isnull;
	Datum		list;

	tide_spi_run(&plan,
				 "SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p "
				 "JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid "
				 "JOIN pg_namespace n ON n.oid = p.pronamespace "
				 "JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid "
				 "WHERE d.deptype = 'e' AND e.extname = 'pg_tide' AND n.nspname = 'tide' "
				 "AND p.proname ~ '^((hlc|vclock|lww_register|lww_map|pn_counter|g_set|or_set)_|(make_hlc|min|max)$)'",
				 0, NULL, NULL, NULL, true, 1);
	list = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull)
		elog(ERROR, "extension pg_tide has no CRDT functions");
	return TextDatumGetCString(list);
}

/* InvalidOid, '-' as a regrole, is PUBLIC */
static char *
role_text(Oid role)
{
	if (role == ACL_ID_PUBLIC)
		return "PUBLIC";
	return pstrdup(quote_identifier(GetUserNameFromId(role, false)));
}
