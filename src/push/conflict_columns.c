/*
 * conflict_columns.c
 *	  What a mutation under conflict policies has to do with: columns, their policies, what
 *	  those need.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "crdt/vclock.h"
#include "push/conflict.h"
#include "util/errors.h"

static void add_base_columns(TideConflict *conflict);
static void add_bystanders(TideConflict *conflict);
static void note_table(TideConflict *conflict);
static TideConflictForm form_of(const TideConflictColumn *column);
static void reject_needs(const TideConflict *conflict, const TideConflictColumn *column,
						 const char *field);
static bool may_read(Form_pg_attribute att);

void
tide_conflict_find_columns(TideConflict *conflict, const List *sent)
{
	int			natts = RelationGetDescr(conflict->target->rel)->natts;
	ListCell   *lc;

	conflict->columns = palloc0(sizeof(TideConflictColumn) * natts);
	note_table(conflict);
	foreach(lc, sent)
		tide_conflict_column(conflict, lfirst_int(lc))->is_sent = true;
	if (conflict->attempt->mutation->op == TIDE_PUSH_DELETE)
		add_base_columns(conflict);
	else
		add_bystanders(conflict);

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		TideConflictColumn *column = &conflict->columns[i];
		Jsonb	   *base = conflict->attempt->mutation->base;
		const char *name = NameStr(column->att->attname);
		JsonbValue	value;

		column->form = form_of(column);
		column->is_grouped = column->policy == TIDE_CONFLICT_CUSTOM &&
			tide_column_policy(conflict->policies, column->attnum)->attnum == 0;
		conflict->has_group |= column->is_grouped && column->is_sent;
		column->has_base = base != NULL && column->form != TIDE_FORM_NONE &&
			getKeyJsonValueFromContainer(&base->root, name, strlen(name), &value) != NULL;
	}
}

TideConflictColumn *
tide_conflict_column(TideConflict *conflict, AttrNumber attnum)
{
	TideConflictColumn *column;
	const TideColumnPolicy *policy = tide_column_policy(conflict->policies, attnum);

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (conflict->columns[i].attnum == attnum)
			return &conflict->columns[i];
	}
	column = &conflict->columns[conflict->ncolumns++];
	column->attnum = attnum;
	column->att = TupleDescAttr(RelationGetDescr(conflict->target->rel), attnum - 1);
	column->policy = policy->policy;
	column->function = policy->function;

	/* left to PostgreSQL to refuse; a delete may be checked by it */
	if (column->att->attgenerated != '\0' &&
		conflict->attempt->mutation->op != TIDE_PUSH_DELETE)
		column->policy = TIDE_CONFLICT_OVERWRITE;
	return column;
}

/* of a delete: columns it tells the base of, and all that have clocks */
static void
add_base_columns(TideConflict *conflict)
{
	const TideTarget *target = conflict->target;
	Jsonb	   *base = conflict->attempt->mutation->base;
	TideMutation as_values = {.key = conflict->attempt->mutation->key,.values = base};
	List	   *attnums = base ? tide_attempt_value_columns(target, &as_values) : NIL;
	ListCell   *lc;

	foreach(lc, attnums)
	{
		TideConflictPolicy policy = tide_column_policy(conflict->policies,
													   lfirst_int(lc))->policy;

		if (tide_policy_traits[policy].needs_base)
			(void) tide_conflict_column(conflict, lfirst_int(lc));
	}
	foreach(lc, tide_conflict_clock_columns(conflict, true))
		(void) tide_conflict_column(conflict, lfirst_int(lc));
}

/*
 * Columns with clocks that are not sent. Once the row is written nobody can tell when they were
 * written, unless it is noted before.
 */
static void
add_bystanders(TideConflict *conflict)
{
	ListCell   *lc;

	foreach(lc, tide_conflict_clock_columns(conflict, false))
	{
		TideConflictColumn *column = tide_conflict_column(conflict, lfirst_int(lc));

		if (!column->is_sent)
			column->fate = TIDE_COLUMN_ASIDE;
	}
}

/* what kinds of policies the table's columns have */
static void
note_table(TideConflict *conflict)
{
	TupleDesc	desc = RelationGetDescr(conflict->target->rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		TideConflictPolicy policy = tide_column_policy(conflict->policies, att->attnum)->policy;

		if (att->attisdropped || att->attgenerated != '\0' ||
			tide_target_is_key(conflict->target, att->attnum))
			continue;
		conflict->has_hlc |= policy == TIDE_CONFLICT_HLC;
		conflict->has_vclock |= policy == TIDE_CONFLICT_VCLOCK;
		conflict->has_sets |= policy == TIDE_CONFLICT_SET;
	}
	conflict->has_clocks = conflict->has_hlc || conflict->has_vclock;
}

static TideConflictForm
form_of(const TideConflictColumn *column)
{
	TideConflictForm form = tide_policy_traits[column->policy].form;

	if (form == TIDE_FORM_TYPED &&
		!OidIsValid(lookup_type_cache(column->att->atttypid, TYPECACHE_EQ_OPR)->eq_opr))
		return TIDE_FORM_JSON;
	return form;
}

bool
tide_conflict_is_concerned(const TideConflict *conflict)
{
	TidePushOp	op = conflict->attempt->mutation->op;

	if (op == TIDE_PUSH_DELETE)
		return conflict->ncolumns > 0 || conflict->has_clocks || conflict->has_sets ||
			conflict->policies->own.policy == TIDE_CONFLICT_REJECT;
	if (conflict->has_clocks)
		return true;
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (conflict->columns[i].policy != TIDE_CONFLICT_OVERWRITE)
			return true;
	}
	return false;
}

void
tide_conflict_check_needs(TideConflict *conflict)
{
	const TideMutation *mutation = conflict->attempt->mutation;

	if (mutation->op == TIDE_PUSH_DELETE && mutation->base == NULL &&
		conflict->policies->own.policy == TIDE_CONFLICT_REJECT)
		reject_needs(conflict, NULL, "base");
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->fate == TIDE_COLUMN_ASIDE)
			continue;
		if (mutation->op == TIDE_PUSH_UPDATE && !column->has_base &&
			tide_policy_traits[column->policy].needs_base)
			reject_needs(conflict, column, "base");
		if (column->policy == TIDE_CONFLICT_HLC && mutation->hlc == NULL)
			reject_needs(conflict, column, "hlc");
		if (column->policy == TIDE_CONFLICT_VCLOCK && mutation->vclock == NULL)
			reject_needs(conflict, column, "vclock");
	}
	if (!conflict->has_clocks)
		return;
	if (mutation->vclock != NULL)
		tide_vclock_check(mutation->vclock);
	if (mutation->hlc != NULL)
	{
		if (!tide_hlc_parse(mutation->hlc, strlen(mutation->hlc), &conflict->hlc))
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("field \"%s\" of the mutation is not a hybrid logical clock",
							"hlc")));
		(void) tide_hlc_observe(&conflict->hlc);
		conflict->with_hlc = true;
	}
}

static void
reject_needs(const TideConflict *conflict, const TideConflictColumn *column,
			 const char *field)
{
	const char *table = RelationGetRelationName(conflict->target->rel);

	if (column == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("conflict policy of table \"%s\" needs \"%s\"", table, field)));
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("conflict policy of column \"%s\" of table \"%s\" needs \"%s\"",
					NameStr(column->att->attname), table, field)));
}

List *
tide_conflict_clock_columns(const TideConflict *conflict, bool all)
{
	TupleDesc	desc = RelationGetDescr(conflict->target->rel);
	List	   *attnums = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		TideConflictPolicy policy = tide_column_policy(conflict->policies, att->attnum)->policy;
		bool		is_sent = false;

		if (att->attisdropped || att->attgenerated != '\0' ||
			!tide_policy_traits[policy].has_clock ||
			tide_target_is_key(conflict->target, att->attnum))
			continue;
		for (int c = 0; c < conflict->ncolumns; c++)
			is_sent |= conflict->columns[c].attnum == att->attnum;
		if (all || is_sent || may_read(att))
			attnums = lappend_int(attnums, att->attnum);
	}
	return attnums;
}

List *
tide_conflict_sent_sets(const TideConflict *conflict)
{
	List	   *attnums = NIL;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->policy == TIDE_CONFLICT_SET && may_read(column->att))
			attnums = lappend_int(attnums, -column->attnum);
	}
	return attnums;
}

static bool
may_read(Form_pg_attribute att)
{
	return pg_class_aclcheck(att->attrelid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(att->attrelid, att->attnum, GetUserId(),
							  ACL_SELECT) == ACLCHECK_OK;
}
