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
 *	4. each new mutation in a subtransaction, as the caller;
 *	5. the mutation log, and last of all the client's row.
 *
 * All in the caller's transaction: after a crash either everything or nothing of it
 * has happened, and the same push sent again finds out which.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "auth/claims.h"
#include "auth/session.h"
#include "push/apply.h"
#include "push/push.h"
#include "util/errors.h"
#include "util/json_text.h"
#include "util/spi.h"
#include "util/subxact.h"

typedef struct Push
{
	TidePushRequest *request;
	TideOutcome *outcomes;		/* of each mutation of the request */
	int		   *fresh;			/* indexes of mutations not taken before */
	int			nfresh;
	int64		first_id;		/* of the fresh ones */
	int64		last_id;		/* last mutation id of the client */
	int64		stopped_at;		/* id that ended an atomic push, or 0 */
	TideApply	apply;
} Push;

static void begin_push(Push *push, const char *subject);
static void sort_mutations(Push *push, int64 taken);
static void refuse_gap(const Push *push, int64 id);
static bool has_deferrable_constraints(void);
static void apply_all(Push *push);
static void apply_all_body(void *arg);
static void reject_all(Push *push, const ErrorData *error);
static void apply_one(Push *push, int i, MemoryContext scratch);
static void answer_repeats(Push *push);
static void finish_push(Push *push);
static text *answer(const Push *push);
static void append_outcome(StringInfo out, int64 id, const TideOutcome *outcome);

text *
tide_push(Jsonb *request)
{
	Push		push = {0};
	Jsonb	   *claims = tide_request_claims(request);
	TideSession session;

	push.request = tide_push_request_parse(request);
	push.outcomes = palloc0(sizeof(TideOutcome) * Max(push.request->nmutations, 1));
	push.fresh = palloc(sizeof(int) * Max(push.request->nmutations, 1));
	push.apply.context = CurrentMemoryContext;

	begin_push(&push, tide_claims_subject(claims));

	tide_session_begin(&session, request, claims);
	if (push.nfresh > 0)
		apply_all(&push);
	tide_session_end(&session, push.apply.check_deferred);

	if (push.nfresh > 0)
	{
		answer_repeats(&push);
		finish_push(&push);
	}
	return answer(&push);
}

/* lock the client, tell old mutations from new, answer the old ones */
static void
begin_push(Push *push, const char *subject)
{
	TidePushRequest *request = push->request;
	TideSpiFrame frame;
	int64		taken;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	taken = tide_client_lock(&request->client, subject, request->nmutations > 0);
	MemoryContextSwitchTo(push->apply.context);
	sort_mutations(push, taken);

	for (int i = 0; i < request->nmutations; i++)
	{
		if (request->mutations[i].id <= taken)
			tide_mutation_log_read(&request->client, request->mutations[i].id,
								   push->apply.context, &push->outcomes[i]);
	}
	if (push->nfresh > 0)
	{
		push->apply.tables = tide_writable_read(push->apply.context);
		push->apply.check_deferred = has_deferrable_constraints();
	}
	tide_spi_end(&frame);
}

/* which mutations are new; they must continue the ids taken so far */
static void
sort_mutations(Push *push, int64 taken)
{
	push->first_id = taken + 1;
	push->last_id = taken;
	for (int i = 0; i < push->request->nmutations; i++)
	{
		int64		id = push->request->mutations[i].id;

		if (id <= push->last_id)
			continue;
		if (id > push->last_id + 1)
			refuse_gap(push, id);
		push->last_id = id;
		push->fresh[push->nfresh++] = i;
	}
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

/* if there are none, nothing can be deferred and nobody needs to look */
static bool
has_deferrable_constraints(void)
{
	static SPIPlanPtr plan = NULL;

	tide_spi_run(&plan,
				 "SELECT FROM pg_catalog.pg_constraint WHERE condeferrable",
				 0, NULL, NULL, NULL, false, 1);
	return SPI_processed > 0;
}

static void
apply_all(Push *push)
{
	ErrorData  *error;

	if (!push->request->atomic)
	{
		apply_all_body(push);
		return;
	}

	error = tide_subxact_run(apply_all_body, push);
	if (error != NULL && push->stopped_at == 0)
		ReThrowError(error);
	if (error != NULL)
		reject_all(push, error);
}

/* the first rejection ends an atomic push, by an error for all to be undone */
static void
apply_all_body(void *arg)
{
	Push	   *push = arg;
	MemoryContext scratch = AllocSetContextCreate(push->apply.context,
												  "tide mutation", ALLOCSET_DEFAULT_SIZES);

	for (int n = 0; n < push->nfresh; n++)
	{
		int			i = push->fresh[n];

		push->apply.is_first = n == 0;
		apply_one(push, i, scratch);
		if (push->request->atomic && push->outcomes[i].status == TIDE_PUSH_REJECTED)
		{
			push->stopped_at = push->request->mutations[i].id;
			ereport(ERROR,
					(errcode(ERRCODE_IN_FAILED_SQL_TRANSACTION),
					 errmsg("mutation " INT64_FORMAT " of the same atomic push was rejected",
							push->stopped_at)));
		}
	}
	MemoryContextDelete(scratch);
}

/*
 * What is left of an atomic push: all its mutations are rejected with the one
 * that was. Their ids are taken all the same, for the queue to go on.
 */
static void
reject_all(Push *push, const ErrorData *error)
{
	for (int n = 0; n < push->nfresh; n++)
	{
		int			i = push->fresh[n];
		TideOutcome *outcome = &push->outcomes[i];

		if (push->request->mutations[i].id == push->stopped_at)
			continue;
		if (outcome->table_name == NULL)
			outcome->table_name = push->request->mutations[i].table;
		tide_outcome_reject(&push->apply, outcome, error->sqlerrcode, error->message);
	}
}

static void
apply_one(Push *push, int i, MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);

	tide_mutation_apply(&push->apply, &push->request->mutations[i], &push->outcomes[i]);
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
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
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	for (int n = 0; n < push->nfresh; n++)
	{
		int			i = push->fresh[n];

		tide_mutation_log_write(&request->client, &request->mutations[i],
								&push->outcomes[i]);
	}
	tide_client_advance(&request->client, push->last_id);
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
