/*
 * conflict_custom.c
 *	  Policy custom: the app's own function decides.
 *
 * It is called as any function the caller calls himself: with his rights, EXECUTE checked,
 * under his search path, under a snapshot that shows what the push has done so far.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "push/conflict.h"
#include "util/compat.h"
#include "util/errors.h"

static Jsonb *call_function(const TideConflict *conflict, Oid function, Jsonb *arguments[3]);
static Jsonb *json_value(const TideConflictColumn *column, TideConflictValue which);
static Jsonb *group_object(const TideConflict *conflict, TideConflictValue which);
static void push_member(JsonbParseState **state, const char *name, Jsonb *value);
static void apply_member(TideConflict *conflict, const char *name, Jsonb *value);
static bool is_as_it_was(const TideConflict *conflict, const char *name, Jsonb *value);
static bool same_value(Jsonb *a, Jsonb *b);

void
tide_conflict_decide_custom(TideConflict *conflict, TideConflictColumn *column)
{
	Jsonb	   *arguments[] = {
		json_value(column, TIDE_VALUE_CURRENT),
		json_value(column, TIDE_VALUE_BASE),
		json_value(column, TIDE_VALUE_NEW)
	};

	column->computed = call_function(conflict, column->function, arguments);
	if (column->computed == NULL)
		column->fate = TIDE_COLUMN_KEPT;
	else if (same_value(column->computed, arguments[2]))
		column->fate = TIDE_COLUMN_WRITTEN;
	else
		column->fate = TIDE_COLUMN_MERGED;
}

/* what the function does not return stays as it is; it may return columns that were not sent */
void
tide_conflict_decide_group(TideConflict *conflict)
{
	Jsonb	   *arguments[] = {
		conflict->row,
		group_object(conflict, TIDE_VALUE_BASE),
		group_object(conflict, TIDE_VALUE_NEW)
	};
	Jsonb	   *result = call_function(conflict, conflict->policies->own.function, arguments);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (conflict->columns[i].is_grouped)
			conflict->columns[i].fate = TIDE_COLUMN_KEPT;
	}
	if (result == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(result))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("conflict function of table \"%s\" did not return an object",
						RelationGetRelationName(conflict->target->rel))));
	it = JsonbIteratorInit(&result->root);
	while ((token = JsonbIteratorNext(&it, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		apply_member(conflict, pnstrdup(name.val.string.val, name.val.string.len),
					 JsonbValueToJsonb(&value));
	}
}

/* NULL: the server's value stays */
static Jsonb *
call_function(const TideConflict *conflict, Oid function, Jsonb *arguments[3])
{
	LOCAL_FCINFO(fcinfo, 3);
	FmgrInfo	flinfo;
	Datum		result;
	bool		has_null = false;

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("conflict policy of table \"%s\" has no function",
						RelationGetRelationName(conflict->target->rel)),
				 errhint("Use tide.set_conflict_policy().")));
	tide_conflict_function_check(function);
	if (tide_proc_aclcheck_compat(function, GetUserId()) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(function));
	InvokeFunctionExecuteHook(function);

	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 3, InvalidOid, NULL, NULL);
	for (int i = 0; i < 3; i++)
	{
		fcinfo->args[i].isnull = arguments[i] == NULL;
		fcinfo->args[i].value = arguments[i] ? JsonbPGetDatum(arguments[i]) : (Datum) 0;
		has_null |= arguments[i] == NULL;
	}
	if (flinfo.fn_strict && has_null)
		return NULL;
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	result = FunctionCallInvoke(fcinfo);
	PopActiveSnapshot();
	return fcinfo->isnull ? NULL : DatumGetJsonbPCopy(result);
}

static Jsonb *
json_value(const TideConflictColumn *column, TideConflictValue which)
{
	return column->nulls[which] ? NULL : DatumGetJsonbP(column->values[which]);
}

/* the grouped columns' values; of the base NULL if none was sent */
static Jsonb *
group_object(const TideConflict *conflict, TideConflictValue which)
{
	JsonbParseState *state = NULL;

	if (which == TIDE_VALUE_BASE && conflict->attempt->mutation->base == NULL)
		return NULL;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->is_grouped && (which == TIDE_VALUE_NEW || column->has_base))
			push_member(&state, NameStr(column->att->attname), json_value(column, which));
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
push_member(JsonbParseState **state, const char *name, Jsonb *value)
{
	JsonbValue	key = {.type = jbvString};
	JsonbValue	member = {.type = jbvNull};

	key.val.string.val = pstrdup(name);
	key.val.string.len = strlen(name);
	if (value != NULL)
		JsonbToJsonbValue(value, &member);
	pushJsonbValue(state, WJB_KEY, &key);
	pushJsonbValue(state, WJB_VALUE, &member);
}

/* a column as the function wants it; what it gives back as it got it stays */
static void
apply_member(TideConflict *conflict, const char *name, Jsonb *value)
{
	Relation	rel = conflict->target->rel;
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);
	TideConflictColumn *column;

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						name, RelationGetRelationName(rel))));
	if (tide_target_is_key(conflict->target, attnum) || is_as_it_was(conflict, name, value))
		return;
	if (tide_column_policy(conflict->policies, attnum)->attnum != 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("column \"%s\" of table \"%s\" has a conflict policy of its own",
						name, RelationGetRelationName(rel)),
				 errdetail("The table's conflict function must not return it.")));
	column = tide_conflict_column(conflict, attnum);
	column->is_grouped = true;
	column->form = TIDE_FORM_JSON;
	column->computed = value;
	column->fate = column->is_sent &&
		same_value(value, json_value(column, TIDE_VALUE_NEW)) ?
		TIDE_COLUMN_WRITTEN : TIDE_COLUMN_MERGED;
}

/* the row has the value, and it is not the one sent */
static bool
is_as_it_was(const TideConflict *conflict, const char *name, Jsonb *value)
{
	JsonbValue	current;

	if (getKeyJsonValueFromContainer(&conflict->row->root, name, strlen(name),
									 &current) == NULL ||
		compareJsonbContainers(&value->root, &JsonbValueToJsonb(&current)->root) != 0)
		return false;
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->is_sent && strcmp(NameStr(column->att->attname), name) == 0)
			return !same_value(value, json_value(column, TIDE_VALUE_NEW));
	}
	return true;
}

/* JSON null is what a column that is null looks like */
static bool
same_value(Jsonb *a, Jsonb *b)
{
	if (b == NULL)
		return JB_ROOT_IS_SCALAR(a) && getIthJsonbValueFromContainer(&a->root, 0)->type == jbvNull;
	return compareJsonbContainers(&a->root, &b->root) == 0;
}
