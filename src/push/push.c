/*
 * push.c
 *	  tide.push: a client's mutations onto the app's tables, exactly once.
 *
 * The order of work is what makes it exact:
 *
 *	1. who asks, and is the request well-formed: nothing is written yet;
 *	2. lock the client's row: pushes of one client run one after the other, and
 *	   each sees what the one before has committed;
 *	3. ids up to the row's last mutation id are answered from the mutation log,
 *	   the next ones must follow without a gap;
 *	4. the new mutations, as the caller, in subtransactions to be undone by;
 *	5. the mutation log, and last of all the client's row.
 *
 * All in the caller's transaction: after a crash either everything or nothing of it
 * has happened, and the same push sent again finds out which.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#include "auth/claims.h"
#include "auth/session.h"
#include "push/apply.h"
#include "push/deferrable.h"
#include "push/push.h"
#include "store/checkpoint.h"
#include "util/errors.h"
#include "util/guc.h"
#include "util/json_text.h"
#include "util/spi.h"
#include "util/subxact.h"

/* how soon, and how often, a push that other sessions hindered is tried again */
static const long retry_delays_ms[] = {5, 20, 80};

/* units that fail, each costing one more run, before all get a subtransaction */
#define MAX_FAILURES	3

typedef struct Push
{
	TidePushRequest *request;
	TideClient	client;			/* as the push found it */
	TideOutcome *outcomes;		/* of each mutation of the request */
	int		   *fresh;			/* indexes of mutations not taken before */
	int			nfresh;
	int64		first_id;		/* of the fresh ones */
	int64		last_id;		/* last mutation id of the client */
	bool	   *careful;		/* of fresh ones: in a subtransaction of its
								 * unit's own */
	int			nfailures;		/* units that were found to need one */
	int			running;		/* the fresh one that runs without, or -1 */
	bool		has_deferrable; /* the database has deferrable constraints */
	MemoryContext scratch;		/* of one mutation */
	TideApply	apply;
} Push;

/* fresh mutations that happen together or not at all */
typedef struct Unit
{
	Push	   *push;
	int			from;			/* into fresh */
	int			to;
	int64		stopped_at;		/* id of the rejected one, or 0 */
} Unit;

/* the mutation being applied, for functions it calls; client is NULL outside of a push */
static const pg_uuid_t *current_client = NULL;
static int64 current_id = 0;

static void check_size(Jsonb *request);
static void begin_push(Push *push, const char *subject);
static void sort_mutations(Push *push);
static void skip_lost(Push *push, int64 id);
static void refuse_gap(const Push *push, int64 id);
static void apply_fresh(Push *push);
static void apply_or_retry(Push *push);
static bool note_failure(Push *push);
static void wait_ms(long delay);
static void apply_units(void *arg);
static int	unit_end(const Push *push, int from);
static void run_unit(const Unit *unit);
static void apply_unit(Unit *unit);
static void apply_unit_body(void *arg);
static void reject_unit(const Unit *unit, const ErrorData *error);
static void apply_one(Push *push, int n, bool careful);
static void answer_repeats(Push *push);
static void finish_push(Push *push);
static text * answer(const Push *push);
static text * answer_expired(const Push *push);
static void append_outcome(StringInfo out, int64 id, const TideOutcome *outcome);

text *
tide_push(Jsonb *request)
{
	Push		push = {0};
	Jsonb	   *claims = tide_request_claims(request);
	TideSession session;

	tide_require_here();
	if (current_client != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a mutation cannot call tide.push")));
	check_size(request);
	push.request = tide_push_request_parse(request);
	push.outcomes = palloc0(sizeof(TideOutcome) * Max(push.request->nmutations, 1));
	push.fresh = palloc(sizeof(int) * Max(push.request->nmutations, 1));
	push.careful = palloc0(sizeof(bool) * Max(push.request->nmutations, 1));
	push.apply.context = CurrentMemoryContext;
	push.apply.client = &push.request->client;
	push.apply.request = push.request;
	push.apply.outcomes = push.outcomes;
	push.apply.claims = claims;

	begin_push(&push, tide_claims_subject(claims));
	if (push.client.expired)
		return answer_expired(&push);

	tide_session_begin(&session, request, claims);
	if (push.nfresh > 0)
		apply_fresh(&push);
	tide_session_end(&session);

	finish_push(&push);
	return answer(&push);
}

const pg_uuid_t *
tide_push_current(int64 *mutation_id)
{
	*mutation_id = current_id;
	return current_client;
}

static void
check_size(Jsonb *request)
{
	Size		size = VARSIZE(request);

	if (size > (Size) tide_max_push_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("push is larger than %d kB", tide_max_push_size),
				 errdetail("It takes %zu bytes as jsonb.", size),
				 errhint("Send fewer mutations at a time, or raise \"%s\".",
						 "tide.max_push_size")));
}

/* lock the client, tell old mutations from new, answer the old ones */
static void
begin_push(Push *push, const char *subject)
{
	TidePushRequest *request = push->request;
	TideSpiFrame frame;
	TideDeferrable deferrable;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_client_lock(&request->client, subject, request->nmutations > 0, &push->client);
	MemoryContextSwitchTo(push->apply.context);
	if (!push->client.expired)
	{
		sort_mutations(push);
		for (int i = 0; i < request->nmutations; i++)
		{
			if (request->mutations[i].id < push->first_id)
				tide_mutation_log_read(&request->client, request->mutations[i].id,
									   push->apply.context, &push->outcomes[i]);
		}
	}
	if (push->nfresh > 0)
	{
		push->apply.tables = tide_writable_read(push->apply.context);
		push->apply.guards = tide_guard_read(push->apply.context);
		deferrable = tide_deferrable_read();
		push->has_deferrable = deferrable.any;
		push->apply.fire_deferred = deferrable.all_deferred;
	}
	tide_spi_end(&frame);
}

/* which mutations are new; they must continue the ids taken so far, and no group */
static void
sort_mutations(Push *push)
{
	push->first_id = push->client.last_mutation_id + 1;
	push->last_id = push->client.last_mutation_id;
	for (int i = 0; i < push->request->nmutations; i++)
	{
		const TideMutation *mutation = &push->request->mutations[i];

		if (mutation->id <= push->last_id)
			continue;
		if (mutation->id > push->last_id + 1)
		{
			if (i > 0 || !tide_client_may_have_lost(&push->request->client))
				refuse_gap(push, mutation->id);
			skip_lost(push, mutation->id);
		}
		if (push->nfresh == 0 && mutation->tx != 0 && mutation->tx == push->client.last_tx)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("group " INT64_FORMAT " was part of an earlier push",
							mutation->tx),
					 errdetail("All mutations of a group must be in one push.")));
		push->last_id = mutation->id;
		push->fresh[push->nfresh++] = i;
	}
}

/*
 * The server that took them is no more: another's standby was promoted, a backup or a dump
 * restored. The client numbers on from what it was told, and to refuse it would be for ever.
 */
static void
skip_lost(Push *push, int64 id)
{
	ereport(LOG,
			(errmsg("client %s goes on with mutation " INT64_FORMAT " after " INT64_FORMAT,
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&push->request->client))),
					id, push->last_id),
			 errdetail("Those between were acknowledged by a server that this one is a copy of, or before it was put back in time, and are lost.")));
	push->first_id = id;
	push->last_id = id - 1;
}

static void
refuse_gap(const Push *push, int64 id)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("mutation ids have a gap before " INT64_FORMAT, id),
			 errdetail("The next id expected of this client is " INT64_FORMAT ".",
					   push->last_id + 1)));
}

static void
apply_fresh(Push *push)
{
	push->scratch = AllocSetContextCreate(push->apply.context, "tide mutation",
										  ALLOCSET_DEFAULT_SIZES);
	current_client = &push->request->client;
	PG_TRY();
	{
		apply_or_retry(push);
	}
	PG_FINALLY();
	{
		current_client = NULL;
		current_id = 0;
	}
	PG_END_TRY();
	MemoryContextDelete(push->scratch);
	answer_repeats(push);
}

/*
 * All of it in one subtransaction, as if nothing went wrong. Where something does, it
 * is undone and run again.
 *
 * A mutation that fails gets a subtransaction of its own in the next run, to be
 * rejected there. It has none from the start, not for its cost alone: once a
 * subtransaction is committed, whoever waits for one of its rows waits for the
 * whole transaction, and undoing the push would not let him go on. So only without
 * them does it end a deadlock.
 *
 * Where other sessions were in the way, the next run is the same. A transaction's
 * snapshot stays, so there a serialization failure would only repeat.
 */
static void
apply_or_retry(Push *push)
{
	int			retries = 0;

	for (;;)
	{
		ErrorData  *error;

		push->running = -1;
		error = tide_subxact_run(apply_units, push);
		if (error == NULL)
			return;
		if (tide_error_is_transient(error->sqlerrcode))
		{
			if (retries >= lengthof(retry_delays_ms) ||
				(error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE &&
				 IsolationUsesXactSnapshot()))
				ReThrowError(error);
			wait_ms(retry_delays_ms[retries++]);
		}
		else if (!note_failure(push))
			ReThrowError(error);
		FreeErrorData(error);
		MemoryContextReset(push->scratch);
	}
}

/* the unit that was running needs care; false if none was */
static bool
note_failure(Push *push)
{
	int			to = 0;

	if (push->running < 0)
		return false;
	push->nfailures++;
	for (int from = 0; from < push->nfresh; from = to)
	{
		to = unit_end(push, from);
		if (push->nfailures < MAX_FAILURES &&
			(push->running < from || push->running >= to))
			continue;
		for (int n = from; n < to; n++)
			push->careful[n] = true;
	}
	return true;
}

static void
wait_ms(long delay)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 delay, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
apply_units(void *arg)
{
	Push	   *push = arg;
	Unit		unit = {push};

	for (unit.from = 0; unit.from < push->nfresh; unit.from = unit.to)
	{
		unit.to = unit_end(push, unit.from);
		unit.stopped_at = 0;
		/* what is deferred is due at the end of the unit */
		push->apply.check_deferred = push->has_deferrable && unit.to - unit.from == 1;
		if (!push->careful[unit.from])
			run_unit(&unit);
		else if (unit.to - unit.from == 1)
			apply_one(push, unit.from, true);
		else
			apply_unit(&unit);
	}
}

/* an atomic push is one unit, else a group is, else a mutation */
static int
unit_end(const Push *push, int from)
{
	const TideMutation *mutations = push->request->mutations;
	int64		tx = mutations[push->fresh[from]].tx;
	int			to = from + 1;

	if (push->request->atomic)
		return push->nfresh;
	while (tx != 0 && to < push->nfresh && mutations[push->fresh[to]].tx == tx)
		to++;
	return to;
}

/* in the subtransaction of the push: any error ends this run */
static void
run_unit(const Unit *unit)
{
	Push	   *push = unit->push;

	for (int n = unit->from; n < unit->to; n++)
	{
		push->running = n;
		apply_one(push, n, false);
	}
	if (unit->to - unit->from > 1 && push->has_deferrable)
		tide_check_deferred(&push->apply);
	push->running = -1;
}

static void
apply_unit(Unit *unit)
{
	ErrorData  *error = tide_subxact_run(apply_unit_body, unit);

	if (error == NULL)
		return;
	if (tide_error_is_transient(error->sqlerrcode))
		ReThrowError(error);
	reject_unit(unit, error);
}

/* the first rejection ends a unit, by an error for all to be undone */
static void
apply_unit_body(void *arg)
{
	Unit	   *unit = arg;
	Push	   *push = unit->push;

	for (int n = unit->from; n < unit->to; n++)
	{
		int			i = push->fresh[n];

		apply_one(push, n, true);
		if (push->outcomes[i].status == TIDE_PUSH_REJECTED)
		{
			unit->stopped_at = push->request->mutations[i].id;
			ereport(ERROR,
					(errcode(ERRCODE_IN_FAILED_SQL_TRANSACTION),
					 errmsg("mutation " INT64_FORMAT " of the same %s was rejected",
							unit->stopped_at,
							push->request->atomic ? "atomic push" : "group")));
		}
	}
	if (push->has_deferrable)
		tide_check_deferred(&push->apply);
}

/*
 * What is left of a unit: all its mutations are rejected with the one that was,
 * or with the last one if only what was deferred failed. Their ids are taken all the
 * same, for the queue to go on.
 */
static void
reject_unit(const Unit *unit, const ErrorData *error)
{
	Push	   *push = unit->push;
	const TideMutation *mutations = push->request->mutations;
	int64		last_id = mutations[push->fresh[unit->to - 1]].id;
	const char *message = error->message;

	if (unit->stopped_at == 0)
		message = psprintf("mutation " INT64_FORMAT " of the same %s was rejected", last_id,
						   push->request->atomic ? "atomic push" : "group");
	for (int n = unit->from; n < unit->to; n++)
	{
		int			i = push->fresh[n];
		TideOutcome *outcome = &push->outcomes[i];

		if (mutations[i].id == unit->stopped_at)
			continue;
		if (outcome->table_name == NULL)
			outcome->table_name = mutations[i].table;
		if (unit->stopped_at == 0 && mutations[i].id == last_id)
			tide_outcome_reject(&push->apply, outcome, error->sqlerrcode, error->message);
		else
			tide_outcome_reject(&push->apply, outcome, ERRCODE_IN_FAILED_SQL_TRANSACTION,
								message);
	}
}

static void
apply_one(Push *push, int n, bool careful)
{
	MemoryContext old = MemoryContextSwitchTo(push->scratch);
	const TideMutation *mutation = &push->request->mutations[push->fresh[n]];
	TideOutcome *outcome = &push->outcomes[push->fresh[n]];

	CHECK_FOR_INTERRUPTS();
	current_id = mutation->id;
	if (careful)
		tide_mutation_apply(&push->apply, mutation, outcome);
	else
		tide_mutation_run(&push->apply, mutation, outcome);
	MemoryContextSwitchTo(old);
	MemoryContextReset(push->scratch);
}

/* ids that came twice in this request: the second is answered like the first */
static void
answer_repeats(Push *push)
{
	int			next = 0;

	for (int i = 0; i < push->request->nmutations; i++)
	{
		int64		id = push->request->mutations[i].id;

		if (next < push->nfresh && push->fresh[next] == i)
			next++;
		else if (id >= push->first_id)
			push->outcomes[i] = push->outcomes[push->fresh[id - push->first_id]];
	}
}

static void
finish_push(Push *push)
{
	TidePushRequest *request = push->request;
	int64		tx = push->client.last_tx;
	TideSpiFrame frame;

	if (push->nfresh == 0 && request->rejected_seen <= push->client.rejected_seen)
		return;
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (push->nfresh > 0)
	{
		tide_mutation_log_write(request, push->outcomes, push->fresh, push->nfresh);
		tx = request->mutations[push->fresh[push->nfresh - 1]].tx;
	}
	tide_client_advance(&request->client, push->last_id, tx, request->rejected_seen);
	tide_spi_end(&frame);
}

static text *
answer(const Push *push)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"last_mutation_id\":" INT64_FORMAT ",\"results\":[",
					 push->last_id);
	for (int i = 0; i < push->request->nmutations; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		append_outcome(&out, push->request->mutations[i].id, &push->outcomes[i]);
	}
	appendStringInfoString(&out, "]}");
	return cstring_to_text_with_len(out.data, out.len);
}

/* the client is to begin anew under another id, with what it has beyond the last one */
static text *
answer_expired(const Push *push)
{
	Datum		client = DirectFunctionCall1(uuid_out, UUIDPGetDatum(&push->request->client));

	return cstring_to_text(psprintf("{\"last_mutation_id\":" INT64_FORMAT
									",\"results\":[],\"expired\":true,\"client\":\"%s\"}",
									push->client.last_mutation_id,
									DatumGetCString(client)));
}

/* {"id":1,"status":"…"}, then code and message, then what result holds */
static void
append_outcome(StringInfo out, int64 id, const TideOutcome *outcome)
{
	appendStringInfo(out, "{\"id\":" INT64_FORMAT ",\"status\":\"%s\"",
					 id, tide_push_status_name(outcome->status));
	if (outcome->code != NULL)
	{
		appendStringInfoString(out, ",\"code\":");
		tide_json_cstring(out, outcome->code);
	}
	if (outcome->message != NULL)
	{
		appendStringInfoString(out, ",\"message\":");
		tide_json_cstring(out, outcome->message);
	}
	if (outcome->result != NULL)
	{
		char	   *members = JsonbToCString(NULL, &outcome->result->root,
											 VARSIZE(outcome->result));

		/* an object's members follow its opening brace */
		appendStringInfo(out, ",%s", members + 1);
	}
	else
		appendStringInfoChar(out, '}');
}
