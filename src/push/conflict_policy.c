/*
 * conflict_policy.c
 *	  Conflict policies: their names, what each needs, and which table and column has which.
 *
 * A table's own policy is in tide_internal.writable_tables; tide_internal.conflict_policies
 * has those of columns, by attnum, so that they follow a renamed column, and at attnum 0 the
 * function of a table whose own policy is custom.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "push/conflict_policy.h"
#include "push/writable.h"
#include "util/errors.h"
#include "util/spi.h"

const TidePolicyTraits tide_policy_traits[TIDE_CONFLICT_NPOLICIES] = {
	[TIDE_CONFLICT_OVERWRITE] = {"overwrite", TIDE_FORM_NONE},
	[TIDE_CONFLICT_KEEP] = {"keep", TIDE_FORM_TYPED,.needs_base = true},
	[TIDE_CONFLICT_REJECT] = {"reject", TIDE_FORM_TYPED,.needs_base = true},
	[TIDE_CONFLICT_HLC] = {"hlc", TIDE_FORM_NONE,.has_clock = true},
	[TIDE_CONFLICT_VCLOCK] = {"vclock", TIDE_FORM_TYPED,.has_clock = true},
	[TIDE_CONFLICT_COUNTER] = {"counter", TIDE_FORM_SUM,.column_only = true},
	[TIDE_CONFLICT_SET] = {"set", TIDE_FORM_JSON,.column_only = true},
	[TIDE_CONFLICT_CUSTOM] = {"custom", TIDE_FORM_JSON}
};

static void set_own(Oid relid, const char *policy, Oid function);
static void set_column(Oid relid, const char *column, const char *policy, Oid function);
static AttrNumber check_column(Oid relid, const char *column, TideConflictPolicy policy);
static void check_type(Form_pg_attribute att, TideConflictPolicy policy);
static void store_policy(Oid relid, AttrNumber attnum, const char *policy, Oid function);
static bool is_writable(Oid relid);

TideConflictPolicy
tide_conflict_policy_parse(const char *name)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; i < TIDE_CONFLICT_NPOLICIES; i++)
	{
		if (strcmp(name, tide_policy_traits[i].name) == 0)
			return (TideConflictPolicy) i;
		appendStringInfo(&valid, "%s%s", i > 0 ? ", " : "", tide_policy_traits[i].name);
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("conflict policy \"%s\" does not exist", name),
			 errdetail("Valid policies are: %s.", valid.data)));
	return TIDE_CONFLICT_OVERWRITE; /* keep compiler quiet */
}

const TideColumnPolicy *
tide_column_policy(const TideTablePolicies *policies, AttrNumber attnum)
{
	for (int i = 0; i < policies->ncolumns; i++)
	{
		if (policies->columns[i].attnum == attnum)
			return &policies->columns[i];
	}
	return &policies->own;
}

void
tide_conflict_policy_check_table(TideConflictPolicy policy)
{
	if (tide_policy_traits[policy].column_only)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("conflict policy \"%s\" is for columns",
						tide_policy_traits[policy].name),
				 errhint("Use tide.set_conflict_policy().")));
}

void
tide_conflict_policy_set(Oid relid, const char *column, const char *policy, Oid function)
{
	TideConflictPolicy parsed = TIDE_CONFLICT_OVERWRITE;

	if (policy != NULL)
		parsed = tide_conflict_policy_parse(policy);
	if (parsed == TIDE_CONFLICT_CUSTOM && !OidIsValid(function))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("conflict policy \"%s\" needs a function", policy)));
	if (parsed != TIDE_CONFLICT_CUSTOM && OidIsValid(function))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("conflict policy \"%s\" has no function",
						tide_policy_traits[parsed].name)));
	if (OidIsValid(function))
		tide_conflict_function_check(function);

	if (column == NULL)
		set_own(relid, tide_policy_traits[parsed].name, function);
	else
		set_column(relid, column, policy, function);
}

/* the table's own; its function, if any, has a row of its own */
static void
set_own(Oid relid, const char *policy, Oid function)
{
	TideSpiFrame frame;

	tide_conflict_policy_check_table(tide_conflict_policy_parse(policy));
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (!is_writable(relid))
		tide_writable_refuse(relid);
	tide_writable_store(relid, policy);
	store_policy(relid, 0, OidIsValid(function) ? policy : NULL, function);
	tide_conflict_forget_unused();
	tide_spi_end(&frame);
}

static void
set_column(Oid relid, const char *column, const char *policy, Oid function)
{
	AttrNumber	attnum = check_column(relid, column,
									  policy ? tide_conflict_policy_parse(policy) :
									  TIDE_CONFLICT_OVERWRITE);
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (!is_writable(relid))
		tide_writable_refuse(relid);
	store_policy(relid, attnum, policy, function);
	tide_conflict_forget_unused();
	tide_spi_end(&frame);
}

/* a column clients can write, of a type the policy can work with; its attnum */
static AttrNumber
check_column(Oid relid, const char *column, TideConflictPolicy policy)
{
	Relation	rel = table_open(relid, AccessShareLock);
	AttrNumber	attnum = get_attnum(relid, column);
	Form_pg_attribute att;

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						column, RelationGetRelationName(rel))));
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (att->attgenerated != '\0' || tide_is_key_column(rel, attnum))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("column \"%s\" of table \"%s\" cannot have a conflict policy",
						column, RelationGetRelationName(rel)),
				 errdetail("Clients cannot change key columns and generated columns.")));
	check_type(att, policy);
	table_close(rel, NoLock);
	return attnum;
}

static void
check_type(Form_pg_attribute att, TideConflictPolicy policy)
{
	Oid			type = getBaseType(att->atttypid);
	bool		fits = true;

	if (policy == TIDE_CONFLICT_SET)
		fits = type == JSONBOID || OidIsValid(get_element_type(type));
	else if (policy == TIDE_CONFLICT_COUNTER)
		fits = OidIsValid(tide_type_operator(type, "+")) &&
			OidIsValid(tide_type_operator(type, "-"));
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot have conflict policy \"%s\"",
						NameStr(att->attname), format_type_be(att->atttypid),
						tide_policy_traits[policy].name),
				 policy == TIDE_CONFLICT_SET ?
				 errdetail("A set is an array or a jsonb array.") :
				 errdetail("A counter's type adds and subtracts values of its own.")));
	if (policy == TIDE_CONFLICT_COUNTER)
	{
		Oid			input;
		Oid			ioparam;

		/* what counting begins at; ERROR if the type has no such value */
		getTypeInputInfo(type, &input, &ioparam);
		(void) OidInputFunctionCall(input, pstrdup("0"), ioparam, -1);
	}
}

void
tide_conflict_function_check(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		fits = HeapTupleIsValid(tuple);

	if (fits)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(tuple);

		fits = form->prokind == PROKIND_FUNCTION && !form->proretset &&
			form->pronargs == 3 && form->prorettype == JSONBOID;
		for (int i = 0; fits && i < form->pronargs; i++)
			fits = form->proargtypes.values[i] == JSONBOID;
		ReleaseSysCache(tuple);
	}
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("conflict function does not exist or has another signature"),
				 errdetail("It must be function(jsonb, jsonb, jsonb) returning jsonb.")));
}

Oid
tide_type_operator(Oid type, const char *name)
{
	HeapTuple	tuple;
	Oid			schema;
	Oid			operator;

	type = getBaseType(type);
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	schema = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace;
	ReleaseSysCache(tuple);

	operator = GetSysCacheOid4(OPERNAMENSP, Anum_pg_operator_oid, CStringGetDatum(name),
							   ObjectIdGetDatum(type), ObjectIdGetDatum(type),
							   ObjectIdGetDatum(schema));
	if (OidIsValid(operator) && get_op_rettype(operator) != type)
		return InvalidOid;
	return operator;
}

static bool
is_writable(Oid relid)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid)};

	tide_spi_run(&plan,
				 "SELECT FROM tide_internal.writable_tables WHERE relid = $1 FOR UPDATE",
				 lengthof(types), types, values, NULL, false, 1);
	return SPI_processed > 0;
}

/* policy NULL: take it back */
static void
store_policy(Oid relid, AttrNumber attnum, const char *policy, Oid function)
{
	static SPIPlanPtr delete_plan = NULL;
	static SPIPlanPtr insert_plan = NULL;
	static const Oid types[] = {OIDOID, INT2OID, TEXTOID, OIDOID};
	Datum		values[] = {
		ObjectIdGetDatum(relid),
		Int16GetDatum(attnum),
		policy ? CStringGetTextDatum(policy) : (Datum) 0,
		ObjectIdGetDatum(function)
	};
	char		nulls[] = "    ";

	tide_spi_run(&delete_plan,
				 "DELETE FROM tide_internal.conflict_policies WHERE relid = $1 AND attnum = $2",
				 2, types, values, NULL, false, 0);
	if (policy == NULL)
		return;
	if (!OidIsValid(function))
		nulls[3] = 'n';
	tide_spi_run(&insert_plan,
				 "INSERT INTO tide_internal.conflict_policies (relid, attnum, policy, function, signature)"
				 " VALUES ($1, $2, $3, $4, $4::pg_catalog.regprocedure::text)",
				 lengthof(types), types, values, nulls, false, 0);
}

void
tide_conflict_forget_unused(void)
{
	static SPIPlanPtr policies_plan = NULL;
	static SPIPlanPtr clocks_plan = NULL;
	static SPIPlanPtr sets_plan = NULL;

	tide_spi_run(&policies_plan,
				 "DELETE FROM tide_internal.conflict_policies p"
				 " WHERE NOT EXISTS (SELECT FROM tide_internal.column_policies c"
				 "  WHERE c.relid = p.relid AND (c.attnum = p.attnum OR p.attnum = 0))",
				 0, NULL, NULL, NULL, false, 0);
	tide_spi_run(&clocks_plan,
				 "DELETE FROM tide_internal.row_clocks m"
				 " WHERE NOT EXISTS (SELECT FROM tide_internal.column_policies c"
				 "  WHERE c.relid = m.relid AND (c.attnum = m.attnum OR m.attnum = 0)"
				 "  AND c.policy IN ('hlc', 'vclock'))",
				 0, NULL, NULL, NULL, false, 0);
	tide_spi_run(&sets_plan,
				 "DELETE FROM tide_internal.set_elements m"
				 " WHERE NOT EXISTS (SELECT FROM tide_internal.column_policies c"
				 "  WHERE c.relid = m.relid AND c.attnum = m.attnum AND c.policy = 'set')",
				 0, NULL, NULL, NULL, false, 0);
}
