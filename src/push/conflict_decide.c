/*
 * conflict_decide.c
 *	  What becomes of each column of a mutation whose row is locked.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "push/conflict.h"
#include "push/conflict_clock.h"
#include "util/errors.h"

typedef void (*DecideColumn) (TideConflict *conflict, TideConflictColumn *column);

static void decide_overwrite(TideConflict *conflict, TideConflictColumn *column);
static void decide_by_base(TideConflict *conflict, TideConflictColumn *column);
static void decide_hlc(TideConflict *conflict, TideConflictColumn *column);
static void decide_vclock(TideConflict *conflict, TideConflictColumn *column);
static void decide_counter(TideConflict *conflict, TideConflictColumn *column);
static bool is_own_default(const TideConflict *conflict, const TideConflictColumn *column);
static bool has_left_out(const TideMutation *insert, const TideConflictColumn *column);
static void check_rejected(const TideConflict *conflict);

static const DecideColumn decisions[TIDE_CONFLICT_NPOLICIES] = {
	[TIDE_CONFLICT_OVERWRITE] = decide_overwrite,
	[TIDE_CONFLICT_KEEP] = decide_by_base,
	[TIDE_CONFLICT_REJECT] = decide_by_base,
	[TIDE_CONFLICT_HLC] = decide_hlc,
	[TIDE_CONFLICT_VCLOCK] = decide_vclock,
	[TIDE_CONFLICT_COUNTER] = decide_counter,
	[TIDE_CONFLICT_SET] = tide_conflict_decide_set,
	[TIDE_CONFLICT_CUSTOM] = tide_conflict_decide_custom
};

void
tide_conflict_decide(TideConflict *conflict)
{
	tide_conflict_read_clocks(conflict);
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		TideConflictColumn *column = &conflict->columns[i];

		if (!column->is_grouped && column->fate != TIDE_COLUMN_ASIDE)
			decisions[column->policy] (conflict, column);
	}
	check_rejected(conflict);
	if (conflict->has_group)
		tide_conflict_decide_group(conflict);
}

static void
decide_overwrite(TideConflict *conflict, TideConflictColumn *column)
{
	column->fate = TIDE_COLUMN_WRITTEN;
}

/* keep and reject: still what the client wrote over, or already what it wants */
static void
decide_by_base(TideConflict *conflict, TideConflictColumn *column)
{
	bool		stands = (column->has_base &&
						  tide_conflict_same(column, TIDE_VALUE_CURRENT, TIDE_VALUE_BASE)) ||
	(column->is_sent &&
	 tide_conflict_same(column, TIDE_VALUE_CURRENT, TIDE_VALUE_NEW)) ||
	is_own_default(conflict, column);

	column->fate = stands ? TIDE_COLUMN_WRITTEN : TIDE_COLUMN_KEPT;
}

/*
 * Whether the client takes for null what its own insert left to the server, in this very push:
 * a default, which it cannot have seen. Nor has anybody else seen the row.
 */
static bool
is_own_default(const TideConflict *conflict, const TideConflictColumn *column)
{
	const TideAttempt *attempt = conflict->attempt;
	const TidePushRequest *request = attempt->apply->request;

	if (!column->has_base || !column->nulls[TIDE_VALUE_BASE])
		return false;
	for (int i = attempt->mutation - request->mutations; i-- > 0;)
	{
		const TideMutation *before = &request->mutations[i];
		const TideOutcome *outcome = &attempt->apply->outcomes[i];

		if (before->op == TIDE_PUSH_INSERT && outcome->status == TIDE_PUSH_APPLIED &&
			outcome->relid == attempt->outcome->relid &&
			compareJsonbContainers(&before->key->root, &attempt->mutation->key->root) == 0)
			return has_left_out(before, column);
	}
	return false;
}

static bool
has_left_out(const TideMutation *insert, const TideConflictColumn *column)
{
	const char *name = NameStr(column->att->attname);
	JsonbValue	value;

	return insert->values == NULL ||
		getKeyJsonValueFromContainer(&insert->values->root, name, strlen(name), &value) == NULL;
}

static void
decide_hlc(TideConflict *conflict, TideConflictColumn *column)
{
	column->fate = tide_conflict_wins_hlc(conflict, &column->clock) ?
		TIDE_COLUMN_WRITTEN : TIDE_COLUMN_KEPT;
}

static void
decide_vclock(TideConflict *conflict, TideConflictColumn *column)
{
	bool		has_seen = column->has_base &&
	tide_conflict_same(column, TIDE_VALUE_CURRENT, TIDE_VALUE_BASE);

	column->fate = tide_conflict_wins_vclock(conflict, &column->clock, has_seen) ?
		TIDE_COLUMN_WRITTEN : TIDE_COLUMN_KEPT;
}

/* the sum, which the statement makes anew, is in place of the base */
static void
decide_counter(TideConflict *conflict, TideConflictColumn *column)
{
	column->fate = tide_conflict_same(column, TIDE_VALUE_BASE, TIDE_VALUE_NEW) ?
		TIDE_COLUMN_WRITTEN : TIDE_COLUMN_MERGED;
}

/* the columns' names, and not what is in them: the caller may not be allowed to read that */
static void
check_rejected(const TideConflict *conflict)
{
	StringInfoData names;
	int			n = 0;

	initStringInfo(&names);
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->policy != TIDE_CONFLICT_REJECT || column->fate != TIDE_COLUMN_KEPT)
			continue;
		appendStringInfo(&names, "%s\"%s\"", n > 0 ? ", " : "", NameStr(column->att->attname));
		n++;
	}
	if (n > 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_CONFLICT),
				 errmsg_plural("column %s of table \"%s\" has changed since",
							   "columns %s of table \"%s\" have changed since", n,
							   names.data, RelationGetRelationName(conflict->target->rel))));
}

/* nulls are the same */
bool
tide_conflict_same(const TideConflictColumn *column, TideConflictValue a,
				   TideConflictValue b)
{
	TypeCacheEntry *type;

	if (column->nulls[a] || column->nulls[b])
		return column->nulls[a] && column->nulls[b];
	if (column->form == TIDE_FORM_JSON)
		return compareJsonbContainers(&DatumGetJsonbP(column->values[a])->root,
									  &DatumGetJsonbP(column->values[b])->root) == 0;
	type = lookup_type_cache(column->att->atttypid, TYPECACHE_EQ_OPR_FINFO);
	if (!OidIsValid(type->eq_opr_finfo.fn_oid))
		elog(ERROR, "missing equality operator of type %u", column->att->atttypid);
	return DatumGetBool(FunctionCall2Coll(&type->eq_opr_finfo, column->att->attcollation,
										  column->values[a], column->values[b]));
}
