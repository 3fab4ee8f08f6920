/*
 * attempt.c
 *	  One run of a mutation, and what all ways to apply it have in common.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "push/attempt.h"
#include "util/errors.h"
#include "util/spi.h"

static bool same_json(JsonbValue *a, JsonbValue *b);
static Jsonb *fetch_row(const TideAttempt *attempt, const TideTarget *target);
static void push_kept(JsonbParseState **state, const List *names);
static void push_name(JsonbParseState **state, const char *text);

List *
tide_attempt_value_columns(const TideTarget *target, const TideMutation *mutation)
{
	List	   *columns = NIL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	member;
	JsonbValue	value;

	if (mutation->values == NULL)
		return NIL;

	it = JsonbIteratorInit(&mutation->values->root);
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		char	   *name;
		AttrNumber	attnum;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		name = pnstrdup(member.val.string.val, member.val.string.len);
		attnum = get_attnum(RelationGetRelid(target->rel), name);
		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist",
							name, RelationGetRelationName(target->rel))));
		if (!tide_target_is_key(target, attnum))
			columns = lappend_int(columns, attnum);
		else
		{
			JsonbValue	key;

			getKeyJsonValueFromContainer(&mutation->key->root, name, strlen(name), &key);
			if (!same_json(&key, &value))
				ereport(ERROR,
						(errcode(TIDE_ERRCODE_BAD_REQUEST),
						 errmsg("key column \"%s\" of table \"%s\" cannot be changed",
								name, RelationGetRelationName(target->rel))));
		}
	}
	return columns;
}

bool
tide_target_is_key(const TideTarget *target, AttrNumber attnum)
{
	for (int i = 0; i < target->nkeys; i++)
	{
		if (target->keys[i] == attnum)
			return true;
	}
	return false;
}

static bool
same_json(JsonbValue *a, JsonbValue *b)
{
	return compareJsonbContainers(&JsonbValueToJsonb(a)->root,
								  &JsonbValueToJsonb(b)->root) == 0;
}

uint64
tide_attempt_run(const TideAttempt *attempt, const TideTarget *target,
				 TideStatementKind kind, const List *columns)
{
	const TideMutation *mutation = attempt->mutation;
	Jsonb	   *values = mutation->values ? mutation->values : mutation->key;

	return tide_statement_run(tide_statement_text(target, kind, columns),
							  JsonbPGetDatum(mutation->key), JsonbPGetDatum(values));
}

void
tide_attempt_reject_missing(const TideTarget *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_NO_DATA_FOUND),
			 errmsg("table \"%s\" has no row with this key",
					RelationGetRelationName(target->rel))));
}

bool
tide_attempt_delete(const TideAttempt *attempt, const TideTarget *target)
{
	for (int tries = 0; tries < TIDE_ATTEMPT_TRIES; tries++)
	{
		if (tide_attempt_run(attempt, target, TIDE_STATEMENT_DELETE, NIL) > 0 ||
			tide_attempt_run(attempt, target, TIDE_STATEMENT_PROBE, NIL) == 0)
			return true;
		if (tide_attempt_may_replace(target, TIDE_PUSH_DELETE))
			return false;
	}
	tide_attempt_reject_policy(target);
}

bool
tide_attempt_may_replace(const TideTarget *target, TidePushOp op)
{
	TriggerDesc *triggers = target->rel->trigdesc;

	if (target->rel->rd_rules != NULL)
		return true;
	return triggers != NULL && (op == TIDE_PUSH_DELETE ? triggers->trig_delete_before_row
								: triggers->trig_update_before_row);
}

void
tide_attempt_check_unchanged(const TideTarget *target, TidePushOp op)
{
	if (!tide_attempt_may_replace(target, op))
		tide_attempt_reject_policy(target);
}

void
tide_attempt_reject_policy(const TideTarget *target)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("a row-level security policy of table \"%s\" prevents the change",
					RelationGetRelationName(target->rel))));
}

bool
tide_attempt_can_probe(const TideTarget *target)
{
	Oid			relid = RelationGetRelid(target->rel);

	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	for (int i = 0; i < target->nkeys; i++)
	{
		if (pg_attribute_aclcheck(relid, target->keys[i], GetUserId(),
								  ACL_SELECT) != ACLCHECK_OK)
			return false;
	}
	return true;
}

Jsonb *
tide_attempt_result(const TideAttempt *attempt, const TideTarget *target)
{
	Jsonb	   *row = fetch_row(attempt, target);
	JsonbParseState *state = NULL;
	Jsonb	   *result;
	MemoryContext old;

	if (row == NULL && attempt->kept == NIL)
		return NULL;
	old = MemoryContextSwitchTo(attempt->apply->context);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (row != NULL)
	{
		JsonbValue	value;

		JsonbToJsonbValue(row, &value);
		push_name(&state, "row");
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (attempt->kept != NIL)
		push_kept(&state, attempt->kept);
	result = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * Text as everywhere in pg_tide: under fixed settings, but for the search
 * path, which functions of the user's policies may count on.
 */
static Jsonb *
fetch_row(const TideAttempt *attempt, const TideTarget *target)
{
	char	   *search_path = pstrdup(namespace_search_path);
	Jsonb	   *result = NULL;
	int			nest_level;

	if (pg_class_aclcheck(RelationGetRelid(target->rel), GetUserId(),
						  ACL_SELECT) != ACLCHECK_OK)
		return NULL;

	nest_level = tide_settings_push();
	(void) set_config_option("search_path", search_path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	if (tide_attempt_run(attempt, target, TIDE_STATEMENT_FETCH, NIL) > 0)
	{
		bool		isnull;

		result = DatumGetJsonbP(SPI_getbinval(SPI_tuptable->vals[0],
											  SPI_tuptable->tupdesc, 1, &isnull));
	}
	tide_settings_pop(nest_level);
	return result;
}

/* "columns": {"title": "kept", ...} */
static void
push_kept(JsonbParseState **state, const List *names)
{
	JsonbValue	kept = {.type = jbvString,.val.string = {4, "kept"}};
	ListCell   *lc;

	push_name(state, "columns");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, names)
	{
		push_name(state, lfirst(lc));
		pushJsonbValue(state, WJB_VALUE, &kept);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
push_name(JsonbParseState **state, const char *text)
{
	JsonbValue	name = {.type = jbvString};

	name.val.string.val = pstrdup(text);
	name.val.string.len = strlen(text);
	pushJsonbValue(state, WJB_KEY, &name);
}
