/*
 * conflict.c
 *	  A mutation of a table that has conflict policies other than overwrite.
 *
 * The row is locked before anything is decided, as the caller's own SELECT ... FOR UPDATE
 * would: under READ COMMITTED it is then the newest version, and nobody changes it until
 * the push ends; under a transaction snapshot a newer version is a serialization failure.
 * What is remembered of the row is read after that and is protected by the same lock.
 *
 *				row locked				none
 *	insert		decide, merge			insert, unless a tombstone wins
 *	update		decide, write			rejected, P0002; a tombstone that wins: conflict
 *	delete		decide, delete			nothing to do; the tombstone is noted
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "push/conflict.h"
#include "push/conflict_clock.h"
#include "push/conflict_memory.h"
#include "store/clock_key.h"
#include "util/errors.h"

static bool lock_or_reject(TideConflict *conflict);
static bool lock_row(TideConflict *conflict);
static void read_locked(TideConflict *conflict, HeapTuple row, TupleDesc desc);
static void read_key(TideConflict *conflict, HeapTuple row, TupleDesc desc, int n);
static void find_key(TideConflict *conflict);
static void run_put(TideConflict *conflict);
static void run_missing(TideConflict *conflict);
static void run_insert(TideConflict *conflict);
static void run_update(TideConflict *conflict);
static void run_delete(TideConflict *conflict);
static void finish(TideConflict *conflict, bool any_written);
static uint64 run(const TideConflict *conflict, const char *sql);
static Jsonb *computed_values(const TideConflict *conflict);

bool
tide_conflict_apply(TideAttempt *attempt, const TideTarget *target,
					const TideTablePolicies *policies, const List *columns)
{
	TideConflict conflict = {
		.attempt = attempt,.target = target,.policies = policies
	};

	if (columns == NIL && attempt->mutation->op == TIDE_PUSH_UPDATE)
		return false;
	tide_conflict_find_columns(&conflict, columns);
	if (!tide_conflict_is_concerned(&conflict))
		return false;
	tide_conflict_check_needs(&conflict);
	if (attempt->mutation->op == TIDE_PUSH_DELETE)
		run_delete(&conflict);
	else
		run_put(&conflict);
	return true;
}

/* false: no such row to see. A row that may be seen and not locked is an ERROR 42501. */
static bool
lock_or_reject(TideConflict *conflict)
{
	for (int tries = 0; tries < 2; tries++)
	{
		if (lock_row(conflict))
			return true;
		if (tide_attempt_run(conflict->attempt, conflict->target, TIDE_STATEMENT_PROBE,
							 NIL) == 0)
			return false;
		/* somebody may have inserted it in between */
	}
	tide_attempt_reject_policy(conflict->target);
}

static bool
lock_row(TideConflict *conflict)
{
	if (run(conflict, tide_conflict_lock_text(conflict)) == 0)
		return false;
	conflict->lsn = GetXLogInsertRecPtr();
	read_locked(conflict, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
	return true;
}

/* the lock statement's answer; see tide_conflict_lock_text() */
static void
read_locked(TideConflict *conflict, HeapTuple row, TupleDesc desc)
{
	int			at = conflict->target->nkeys;
	bool		isnull;
	Datum		value;

	read_key(conflict, row, desc, at);
	value = SPI_getbinval(row, desc, ++at, &isnull);
	conflict->xmin = isnull ? InvalidTransactionId : DatumGetTransactionId(value);
	value = SPI_getbinval(row, desc, ++at, &isnull);
	conflict->row = isnull ? NULL : DatumGetJsonbP(value);

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		TideConflictColumn *column = &conflict->columns[i];

		column->raw = SPI_getbinval(row, desc, ++at, &column->raw_null);
		for (int v = TIDE_VALUE_BASE; v <= TIDE_VALUE_NEW; v++)
			column->values[v] = SPI_getbinval(row, desc, ++at, &column->nulls[v]);
		column->values[TIDE_VALUE_CURRENT] = SPI_getbinval(row, desc, ++at,
														   &column->nulls[TIDE_VALUE_CURRENT]);
		if (column->form == TIDE_FORM_JSON)
			continue;
		column->values[TIDE_VALUE_CURRENT] = column->raw;
		column->nulls[TIDE_VALUE_CURRENT] = column->raw_null;
	}
}

/* the row's key_id from the first n values, which are its key */
static void
read_key(TideConflict *conflict, HeapTuple row, TupleDesc desc, int n)
{
	const TideTarget *target = conflict->target;

	memset(&conflict->key_id, 0, sizeof(pg_uuid_t));
	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(row, desc, i + 1, &isnull);
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(target->rel),
											  target->keys[i] - 1);

		if (!isnull)
			tide_clock_key_add(&conflict->key_id, att, value);
	}
}

/* of a row that is not there */
static void
find_key(TideConflict *conflict)
{
	if (run(conflict, tide_conflict_key_text(conflict)) == 0)
		elog(ERROR, "could not read the key of a mutation");
	conflict->lsn = GetXLogInsertRecPtr();
	read_key(conflict, SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
			 conflict->target->nkeys);
}

/* insert or update */
static void
run_put(TideConflict *conflict)
{
	TidePushOp	op = conflict->attempt->mutation->op;

	/* look before locking: who may insert may not be allowed to lock */
	if (op == TIDE_PUSH_INSERT && !tide_attempt_can_probe(conflict->target))
		run_insert(conflict);
	else if (op == TIDE_PUSH_INSERT &&
			 tide_attempt_run(conflict->attempt, conflict->target, TIDE_STATEMENT_PROBE,
							  NIL) == 0)
		run_missing(conflict);
	else if (!lock_or_reject(conflict))
		run_missing(conflict);
	else
	{
		tide_conflict_decide(conflict);
		run_update(conflict);
	}
}

static void
run_missing(TideConflict *conflict)
{
	bool		wins = true;

	if (conflict->has_clocks)
	{
		find_key(conflict);
		wins = tide_conflict_wins_over_tombstone(conflict);
	}
	if (!wins)
	{
		for (int i = 0; i < conflict->ncolumns; i++)
		{
			if (conflict->columns[i].is_sent)
				conflict->columns[i].fate = TIDE_COLUMN_KEPT;
		}
		finish(conflict, false);
		conflict->attempt->outcome->status = TIDE_PUSH_CONFLICT;
	}
	else if (conflict->attempt->mutation->op == TIDE_PUSH_INSERT)
		run_insert(conflict);
	else
		tide_attempt_reject_missing(conflict->target);
}

static void
run_insert(TideConflict *conflict)
{
	List	   *returned = list_concat(tide_conflict_clock_columns(conflict, false),
									   tide_conflict_sent_sets(conflict));
	uint64		nrows = run(conflict, tide_conflict_insert_text(conflict, returned));

	conflict->lsn = GetXLogInsertRecPtr();
	if (nrows == 0)
		return;					/* a trigger did something else */
	if (returned != NIL)
	{
		read_key(conflict, SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
				 conflict->target->nkeys);
		tide_conflict_note_inserted(conflict, returned, SPI_tuptable);
	}
}

/* the columns that are not kept into the locked row */
static void
run_update(TideConflict *conflict)
{
	List	   *returned = NIL;
	bool		any = false;
	uint64		nrows = 0;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->fate == TIDE_COLUMN_KEPT || column->fate == TIDE_COLUMN_ASIDE)
			continue;
		any = true;
		if (tide_policy_traits[column->policy].has_clock)
			returned = lappend_int(returned, column->attnum);
	}
	if (any)
	{
		nrows = run(conflict, tide_conflict_update_text(conflict, returned));
		if (nrows == 0)
			tide_attempt_check_unchanged(conflict->target, TIDE_PUSH_UPDATE);
	}
	if (nrows > 0 || !any)
		tide_conflict_note_updated(conflict, returned, nrows > 0 ? SPI_tuptable : NULL);
	finish(conflict, any);
}

static void
run_delete(TideConflict *conflict)
{
	bool		found = false;
	bool		any_kept = false;

	if (conflict->ncolumns > 0)
	{
		found = lock_or_reject(conflict);
		if (found)
			tide_conflict_decide(conflict);
	}
	if (!found)
		find_key(conflict);
	if (!found && conflict->ncolumns > 0)
	{
		tide_conflict_note_deleted(conflict, false);
		return;
	}
	for (int i = 0; i < conflict->ncolumns; i++)
		any_kept |= conflict->columns[i].fate == TIDE_COLUMN_KEPT;
	if (any_kept)
	{
		finish(conflict, false);
		return;
	}
	if (tide_attempt_delete(conflict->attempt, conflict->target))
		tide_conflict_note_deleted(conflict, found);
}

/* status and kept columns of the outcome */
static void
finish(TideConflict *conflict, bool any_written)
{
	TideAttempt *attempt = conflict->attempt;
	bool		merged = attempt->mutation->op == TIDE_PUSH_INSERT;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (column->fate == TIDE_COLUMN_KEPT)
			attempt->kept = lappend(attempt->kept, pstrdup(NameStr(column->att->attname)));
		else if (column->fate == TIDE_COLUMN_MERGED)
			merged = true;
	}
	if (attempt->kept != NIL)
		attempt->outcome->status = any_written ? TIDE_PUSH_MERGED : TIDE_PUSH_CONFLICT;
	else if (merged)
		attempt->outcome->status = TIDE_PUSH_MERGED;
}

static uint64
run(const TideConflict *conflict, const char *sql)
{
	const TideMutation *mutation = conflict->attempt->mutation;
	Jsonb	   *values = mutation->values ? mutation->values : mutation->key;
	Jsonb	   *computed = computed_values(conflict);

	return tide_statement_run_full(sql, JsonbPGetDatum(mutation->key),
								   JsonbPGetDatum(values),
								   mutation->base ? JsonbPGetDatum(mutation->base) : (Datum) 0,
								   computed ? JsonbPGetDatum(computed) : (Datum) 0);
}

/* $4: what set and custom made, by column; NULL if there is nothing */
static Jsonb *
computed_values(const TideConflict *conflict)
{
	JsonbParseState *state = NULL;
	bool		any = false;

	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];
		JsonbValue	name = {.type = jbvString};
		JsonbValue	value = {.type = jbvNull};

		if (column->fate != TIDE_COLUMN_MERGED || column->form != TIDE_FORM_JSON)
			continue;
		if (!any)
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		any = true;
		name.val.string.val = pstrdup(NameStr(column->att->attname));
		name.val.string.len = strlen(name.val.string.val);
		if (column->computed != NULL)
			JsonbToJsonbValue(column->computed, &value);
		pushJsonbValue(&state, WJB_KEY, &name);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return any ? JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)) : NULL;
}
