/*
 * apply.c
 *	  One mutation onto the app's tables, as the current user.
 *
 * Everything a mutation does, down to looking up its table, happens in a
 * subtransaction (its own, or that of the push), as the caller of tide.push and under his search_path: grants,
 * row-level security, constraints and triggers see ordinary statements. Policy
 * overwrite, by operation and what the caller can see:
 *
 *				key's row visible		not visible
 *	insert		UPDATE, "merged"		INSERT, "applied"
 *	update		UPDATE, "applied"		rejected, P0002
 *	delete		DELETE, "applied"		nothing to do, "applied"
 *
 * An UPDATE or DELETE of a visible row that touches none was kept from it by a
 * policy, and is rejected with 42501: the client must not believe in a change
 * that was not allowed. (Unless another session deleted or inserted it in between, which is
 * tried again.) But where a BEFORE trigger or a rule may have put something else
 * in its place (a soft delete, say), that is the app's own way to apply it.
 *
 * Insert looks before it leaps, where ON CONFLICT would be shorter: that would fire
 * BEFORE INSERT triggers for rows that exist, ask for SELECT rights and policies
 * where a plain INSERT needs none, and refuse deferrable keys. If another
 * session inserts the key in between, the mutation is run a second time and
 * then finds the row. Under a transaction's snapshot it never would: that is a
 * serialization failure, and no rejection.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/table_key.h"
#include "push/apply.h"
#include "push/attempt.h"
#include "push/conflict.h"
#include "push/mutator.h"
#include "push/signature.h"
#include "push/statement.h"
#include "util/errors.h"
#include "util/spi.h"
#include "util/subxact.h"

static void begin_outcome(TideAttempt *attempt);
static bool try_again(TideAttempt *attempt, ErrorData *error);
static void look_for_key(void *arg);
static void check_not_hidden(const TideAttempt *attempt);
static void apply_body(void *arg);
static void fire_deferred(void *arg);
static void set_constraints(bool deferred);
static void open_target(Oid relid, const char *name, TideTarget *target);
static void load_key(TideTarget *target, Oid indexid);
static void check_key(const TideTarget *target, Jsonb *key);
static void run_mutation(TideAttempt *attempt, const TideTarget *target);
static void run_insert(const TideAttempt *attempt, const TideTarget *target, const List *columns);
static void run_update(const TideAttempt *attempt, const TideTarget *target, const List *columns);

void
tide_mutation_apply(const TideApply *apply, const TideMutation *mutation,
					TideOutcome *outcome)
{
	TideAttempt attempt = {apply, mutation, outcome};

	for (;;)
	{
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		begin_outcome(&attempt);
		error = tide_subxact_run(apply_body, &attempt);
		if (error == NULL)
			return;
		if (!try_again(&attempt, error))
		{
			tide_outcome_reject(apply, outcome, error->sqlerrcode, error->message);
			return;
		}
		FreeErrorData(error);
	}
}

void
tide_mutation_run(const TideApply *apply, const TideMutation *mutation,
				  TideOutcome *outcome)
{
	TideAttempt attempt = {apply, mutation, outcome};

	begin_outcome(&attempt);
	apply_body(&attempt);
}

static void
begin_outcome(TideAttempt *attempt)
{
	memset(attempt->outcome, 0, sizeof(TideOutcome));
	attempt->outcome->status = TIDE_PUSH_APPLIED;
	attempt->outcome->table_name = attempt->mutation->table;
	attempt->kept = NIL;
}

void
tide_outcome_reject(const TideApply *apply, TideOutcome *outcome,
					int sqlerrcode, const char *message)
{
	outcome->status = TIDE_PUSH_REJECTED;
	outcome->code = MemoryContextStrdup(apply->context, unpack_sql_state(sqlerrcode));
	outcome->message = MemoryContextStrdup(apply->context, message ? message : "");
	outcome->result = NULL;
}

bool
tide_error_is_transient(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

/*
 * Whether to run the mutation again after this error; throws it if it is not
 * an outcome. What other sessions hindered is thrown: locks of the mutations before
 * stay, so only the push as a whole can be tried again.
 */
static bool
try_again(TideAttempt *attempt, ErrorData *error)
{
	if (tide_error_is_transient(error->sqlerrcode))
		ReThrowError(error);

	/* the key may have been inserted since we looked for it */
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION ||
		attempt->mutation->op != TIDE_PUSH_INSERT || attempt->duplicates++ > 0)
		return false;
	if (!IsolationUsesXactSnapshot())
		return true;
	check_not_hidden(attempt);
	return false;
}

/* a row's key: whether it is there for the caller, if not for his transaction */
typedef struct HiddenKey
{
	const TideAttempt *attempt;
	bool		is_hidden;
}			HiddenKey;

static void
look_for_key(void *arg)
{
	HiddenKey  *hidden = arg;
	const TideAttempt *attempt = hidden->attempt;
	const TideMutation *mutation = attempt->mutation;
	TideTarget	target;
	TideSpiFrame frame;

	open_target(tide_writable_resolve(attempt->apply->tables, mutation->table),
				mutation->table, &target);
	tide_spi_begin(&frame, TIDE_AS_CALLER);
	hidden->is_hidden = tide_attempt_can_probe(&target) &&
		tide_attempt_run(attempt, &target, TIDE_STATEMENT_PROBE, NIL) == 0 &&
		tide_statement_run_latest(tide_statement_text(&target, TIDE_STATEMENT_PROBE, NIL),
								  JsonbPGetDatum(mutation->key),
								  JsonbPGetDatum(mutation->key)) > 0;
	tide_spi_end(&frame);
	table_close(target.rel, NoLock);
}

/* ERROR 40001 if the key is a row's that the transaction's snapshot is too old for */
static void
check_not_hidden(const TideAttempt *attempt)
{
	HiddenKey	hidden = {attempt};

	(void) tide_subxact_run(look_for_key, &hidden);
	if (hidden.is_hidden)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
}

/* all of a mutation, in its subtransaction */
static void
apply_body(void *arg)
{
	TideAttempt *attempt = arg;
	const TideMutation *mutation = attempt->mutation;
	TideSpiFrame frame;
	TideTarget	target;
	MemoryContext old;

	if (mutation->op == TIDE_PUSH_CALL)
	{
		if (mutation->signature != NULL)
			tide_signature_check(attempt->apply->client, attempt->apply->claims, mutation);
		tide_mutator_call(attempt->apply, mutation, attempt->outcome);
		return;
	}
	open_target(tide_writable_resolve(attempt->apply->tables, mutation->table),
				mutation->table, &target);

	old = MemoryContextSwitchTo(attempt->apply->context);
	attempt->outcome->relid = RelationGetRelid(target.rel);
	attempt->outcome->table_name =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target.rel)),
								   RelationGetRelationName(target.rel));
	MemoryContextSwitchTo(old);

	check_key(&target, mutation->key);
	tide_guard_check(attempt->apply->guards, attempt->apply->client, attempt->apply->claims,
					 mutation, target.rel);
	tide_spi_begin(&frame, TIDE_AS_CALLER);
	run_mutation(attempt, &target);
	if (attempt->apply->check_deferred)
		tide_check_deferred(attempt->apply);
	if (attempt->outcome->status == TIDE_PUSH_MERGED ||
		attempt->outcome->status == TIDE_PUSH_CONFLICT)
		attempt->outcome->result = tide_attempt_result(attempt, &target);
	tide_spi_end(&frame);

	/* the lock stays until the transaction ends */
	table_close(target.rel, NoLock);
}

/*
 * SET CONSTRAINTS ALL fires for good what is pending, and only that: checking all of the
 * push anew after each mutation would take time by the square of their number. There is
 * no other way back to the modes from before than to what is declared, if that is one
 * for all, or a rollback, and then the triggers fire once more at commit.
 */
void
tide_check_deferred(const TideApply *apply)
{
	if (!apply->fire_deferred)
	{
		tide_subxact_rehearse(fire_deferred, NULL);
		return;
	}
	fire_deferred(NULL);
	set_constraints(true);
}

static void
fire_deferred(void *arg)
{
	set_constraints(false);
}

static void
set_constraints(bool deferred)
{
	ConstraintsSetStmt *stmt = makeNode(ConstraintsSetStmt);

	stmt->deferred = deferred;
	AfterTriggerSetState(stmt);
}

static void
open_target(Oid relid, const char *name, TideTarget *target)
{
	Relation	rel = try_table_open(relid, RowExclusiveLock);
	Oid			indexid;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", name)));

	indexid = tide_primary_key_index(rel);
	if (!OidIsValid(indexid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key", name)));
	target->rel = rel;
	load_key(target, indexid);
}

/* key columns and their equality operators, from the index */
static void
load_key(TideTarget *target, Oid indexid)
{
	Relation	index = index_open(indexid, AccessShareLock);

	target->nkeys = IndexRelationGetNumberOfKeyAttributes(index);
	target->keys = palloc(sizeof(AttrNumber) * target->nkeys);
	target->equals = palloc(sizeof(Oid) * target->nkeys);
	for (int i = 0; i < target->nkeys; i++)
	{
		Oid			type = index->rd_opcintype[i];

		target->keys[i] = index->rd_index->indkey.values[i];
		target->equals[i] = get_opfamily_member(index->rd_opfamily[i], type, type,
												BTEqualStrategyNumber);
		if (!OidIsValid(target->equals[i]))
			elog(ERROR, "missing equality operator of index %u", indexid);
	}
	index_close(index, AccessShareLock);
}

/* the key names the primary key columns, all of them and nothing else */
static void
check_key(const TideTarget *target, Jsonb *key)
{
	TupleDesc	desc = RelationGetDescr(target->rel);
	int			found = 0;
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < target->nkeys; i++)
	{
		const char *name = NameStr(TupleDescAttr(desc, target->keys[i] - 1)->attname);
		JsonbValue	value;

		if (getKeyJsonValueFromContainer(&key->root, name, strlen(name), &value) != NULL)
			found++;
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", name);
	}
	if (found != target->nkeys || JB_ROOT_COUNT(key) != target->nkeys)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("the key of table \"%s\" is (%s)",
						RelationGetRelationName(target->rel), names.data)));
}

static void
run_mutation(TideAttempt *attempt, const TideTarget *target)
{
	List	   *columns = tide_attempt_value_columns(target, attempt->mutation);
	const TideTablePolicies *policies = tide_writable_policies(attempt->apply->tables,
															   RelationGetRelid(target->rel));

	if (policies != NULL && tide_conflict_apply(attempt, target, policies, columns))
		return;
	switch (attempt->mutation->op)
	{
		case TIDE_PUSH_INSERT:
			run_insert(attempt, target, columns);
			break;
		case TIDE_PUSH_UPDATE:
			run_update(attempt, target, columns);
			break;
		case TIDE_PUSH_DELETE:
			(void) tide_attempt_delete(attempt, target);
			break;
		case TIDE_PUSH_CALL:
			break;
	}
}

static void
run_insert(const TideAttempt *attempt, const TideTarget *target, const List *columns)
{
	for (int tries = 0; tries < TIDE_ATTEMPT_TRIES; tries++)
	{
		if (!tide_attempt_can_probe(target) ||
			tide_attempt_run(attempt, target, TIDE_STATEMENT_PROBE, NIL) == 0)
		{
			tide_attempt_run(attempt, target, TIDE_STATEMENT_INSERT, columns);
			return;
		}
		attempt->outcome->status = TIDE_PUSH_MERGED;
		if (columns == NIL ||
			tide_attempt_run(attempt, target, TIDE_STATEMENT_UPDATE, columns) > 0 ||
			tide_attempt_may_replace(target, TIDE_PUSH_UPDATE))
			return;
		attempt->outcome->status = TIDE_PUSH_APPLIED;
	}
	tide_attempt_reject_policy(target);
}

/* an update of no columns changes nothing, but still asks for the row */
static void
run_update(const TideAttempt *attempt, const TideTarget *target, const List *columns)
{
	for (int tries = 0; tries < TIDE_ATTEMPT_TRIES; tries++)
	{
		if (columns != NIL &&
			tide_attempt_run(attempt, target, TIDE_STATEMENT_UPDATE, columns) > 0)
			return;
		if (tide_attempt_run(attempt, target, TIDE_STATEMENT_PROBE, NIL) == 0)
			tide_attempt_reject_missing(target);
		if (columns == NIL || tide_attempt_may_replace(target, TIDE_PUSH_UPDATE))
			return;
	}
	tide_attempt_reject_policy(target);
}
