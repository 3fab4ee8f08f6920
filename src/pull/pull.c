/*
 * pull.c
 *	  tide.pull: one page of what a client lacks.
 *
 * One snapshot, the active one, gives the checkpoint, the buckets and their logs, so
 * a page is exact as of its checkpoint. Buckets are served one after the other, those with
 * the oldest position first, so that a busy bucket does not starve the others. A bucket at
 * the checkpoint is not touched at all. The write checkpoint moves only when every
 * bucket served has reached the checkpoint: before, the effects are not all there.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "auth/claims.h"
#include "pull/change_writer.h"
#include "pull/client_log.h"
#include "pull/cookie.h"
#include "pull/entitled.h"
#include "pull/pull.h"
#include "pull/request.h"
#include "store/checkpoint.h"
#include "util/guc.h"
#include "util/json_text.h"
#include "util/spi.h"

/* entries counted, over all buckets, to say how much is still to come */
#define TIDE_REMAINING_COUNTED	10000

typedef struct Pull
{
	TidePullRequest *request;
	Snapshot	snapshot;
	TideCheckpoint checkpoint;
	TideState	state;
	TideClientState client;
	TideCookie *cookie;
	TideEntitled *entitled;
	bool		lagging;		/* the client has been at a newer checkpoint */
	bool		at_checkpoint;	/* all buckets served are */
	int64		remaining;
	int			nchanges;
	StringInfoData changes;		/* elements of the array */
	int64		acked;			/* what is told of the client's mutations */
} Pull;

static bool is_ahead(Pull *pull);
static void match_positions(Pull *pull);
static void serve_buckets(Pull *pull);
static text * write_answer(Pull *pull);

text *
tide_pull(Jsonb *request)
{
	Pull		pull = {0};
	int			nest_level = tide_settings_push();
	Jsonb	   *claims;
	text	   *answer;

	pull.request = tide_pull_request_parse(request);
	pull.snapshot = GetActiveSnapshot();
	claims = tide_request_claims(request);
	if (pull.request->has_client)
		tide_client_check(&pull.request->client, claims, pull.snapshot, &pull.client);
	tide_checkpoint_read(&pull.checkpoint);
	tide_require_here();
	tide_state_read(&pull.state);
	pull.cookie = tide_cookie_parse(pull.request->cookie, &pull.state.epoch,
									pull.request->has_client ? &pull.request->client : NULL);
	pull.entitled = tide_entitled_resolve(pull.request, claims, pull.checkpoint.now,
										  pull.snapshot);
	initStringInfo(&pull.changes);

	pull.lagging = is_ahead(&pull);
	if (!pull.lagging)
	{
		match_positions(&pull);
		serve_buckets(&pull);
	}
	pull.acked = pull.cookie->last_mutation_id;
	if (pull.client.expired)
		pull.acked = pull.client.last_mutation_id;
	else if (pull.at_checkpoint && pull.request->has_client)
		pull.acked = tide_client_acked(&pull.request->client, pull.snapshot);

	answer = write_answer(&pull);
	tide_settings_pop(nest_level);
	return answer;
}

/*
 * Whether the client has seen a newer checkpoint than this snapshot has: of the primary
 * when this is a standby that lags (and may not know of a promotion yet), or of a later transaction
 * when the snapshot is old. If the newest checkpoint of a primary is older still, the cookie is of a history
 * that was lost (a restored backup), so not of this server.
 */
static bool
is_ahead(Pull *pull)
{
	TideCheckpoint newest;

	if (pull->cookie->later && RecoveryInProgress())
		return true;
	if (!pull->cookie->valid || pull->cookie->newest <= pull->checkpoint.op_id)
		return false;
	if (RecoveryInProgress())
		return true;
	PushActiveSnapshot(GetLatestSnapshot());
	tide_checkpoint_read(&newest);
	PopActiveSnapshot();
	if (pull->cookie->newest <= newest.op_id)
		return true;
	pull->cookie->valid = false;
	pull->cookie->last_mutation_id = 0;
	pull->cookie->reported = 0;
	return false;
}

/* the positions of buckets to be sent again from the start are not kept */
static void
note_resync(Pull *pull)
{
	for (int i = 0; i < pull->request->nresync; i++)
	{
		bool		found;
		TidePosition *position = hash_search(pull->cookie->positions,
											 &pull->request->resync[i],
											 HASH_ENTER, &found);

		/* before any entry: not to be gone on from */
		position->cursor = -1;
		position->keep = false;
	}
}

/*
 * Whether what the client lacks is still in the log. In its first sync it needs no leaves of
 * before its begin.
 */
static bool
can_go_on(const TidePosition *position, const TideBucketInfo *info)
{
	int64		reached = position->first_sync ?
	Max(position->cursor, position->init) : position->cursor;

	return position->cursor >= info->first_op_id && reached >= info->forgotten_op_id;
}

/* the client keeps its buckets of a shape of which nobody can tell now which ones it may have */
static void
keep_unresolved(Pull *pull, TideServedShape *shape)
{
	TideBucketReader *reader = tide_bucket_reader_open(pull->snapshot);
	HASH_SEQ_STATUS status;
	TidePosition *position;
	TideBucketInfo info;

	hash_seq_init(&status, pull->cookie->positions);
	while ((position = hash_seq_search(&status)) != NULL)
	{
		TideServedBucket *bucket;

		if (position->keep || !tide_bucket_reader_by_id(reader, position->bucket_id, &info) ||
			info.shape_id != shape->shape->shape_id || !can_go_on(position, &info))
			continue;
		position->keep = true;
		bucket = palloc0(sizeof(TideServedBucket));
		bucket->info = info;
		bucket->shape = shape;
		bucket->position = *position;
		bucket->has_position = true;
		pull->entitled->buckets = lappend(pull->entitled->buckets, bucket);
	}
	tide_bucket_reader_close(reader);
}

/* where the client is in each bucket it asks for */
static void
match_positions(Pull *pull)
{
	ListCell   *lc;

	note_resync(pull);
	foreach(lc, pull->cookie->valid ? pull->entitled->shapes : NIL)
	{
		TideServedShape *shape = lfirst(lc);

		if (shape->unresolved)
			keep_unresolved(pull, shape);
	}
	foreach(lc, pull->entitled->buckets)
	{
		TideServedBucket *bucket = lfirst(lc);
		TidePosition *position = hash_search(pull->cookie->positions,
											 &bucket->info.bucket_id, HASH_FIND, NULL);

		if (pull->cookie->valid && position != NULL && can_go_on(position, &bucket->info))
		{
			position->keep = true;
			bucket->position = *position;
			bucket->has_position = true;
			continue;
		}
		bucket->position.bucket_id = bucket->info.bucket_id;
		bucket->position.cursor = bucket->info.first_op_id;
		bucket->position.first_sync = true;
		bucket->position.init = pull->checkpoint.op_id;
	}
}

/* first syncs under way, then the oldest position first */
static int
compare_buckets(const ListCell *a, const ListCell *b)
{
	const TideServedBucket *x = lfirst(a);
	const TideServedBucket *y = lfirst(b);
	bool		x_begun = x->has_position && x->position.first_sync;
	bool		y_begun = y->has_position && y->position.first_sync;

	if (x_begun != y_begun)
		return y_begun - x_begun;
	if (x->position.cursor != y->position.cursor)
		return x->position.cursor < y->position.cursor ? -1 : 1;
	return (x->info.bucket_id > y->info.bucket_id) - (x->info.bucket_id < y->info.bucket_id);
}

/* whether a table the shape depends on is not of one moment with the checkpoint */
static bool
is_held(const Pull *pull, const TideShape *shape)
{
	List	   *relids = NIL;
	ListCell   *lc;

	foreach(lc, pull->entitled->sources)
	{
		const TideSource *source = lfirst(lc);

		if (!tide_source_is_held(source, pull->checkpoint.lsn))
			continue;
		if (relids == NIL)
			relids = tide_shape_relids(shape);
		if (list_member_oid(relids, source->relid))
			return true;
	}
	return false;
}

static void
hold_shapes(Pull *pull)
{
	ListCell   *lc;

	if (pull->entitled->sources == NIL)
		pull->entitled->sources = tide_catalog_sources();
	foreach(lc, pull->entitled->shapes)
	{
		TideServedShape *served = lfirst(lc);

		served->held = served->live && is_held(pull, served->shape);
		if (served->held)
			pull->at_checkpoint = false;
	}
}

static bool
page_is_full(const Pull *pull)
{
	return pull->nchanges >= pull->request->limit ||
		pull->changes.len >= (Size) tide_max_page_size * 1024;
}

/* whether the bucket may have anything after the client's position */
static bool
is_pending(const TideServedBucket *bucket)
{
	if (bucket->position.first_sync && !bucket->has_position)
		return bucket->info.row_count > 0;
	return bucket->info.last_op_id > bucket->position.cursor;
}

static TideChangeWriter *
bucket_writer(Pull *pull, TideServedBucket *bucket)
{
	TideServedNode *node = bucket->node;
	ListCell   *lc;

	if (node->writer != NULL)
		return node->writer;
	foreach(lc, pull->entitled->sources)
	{
		const TideSource *source = lfirst(lc);

		if (source->source_id == node->node->source_id && source->live)
			node->writer = tide_change_writer_create(node->node, source, pull->snapshot);
	}
	if (node->writer == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("shape \"%s\" has no shadow table",
						bucket->shape->shape->name)));
	return node->writer;
}

/* a bucket that lags behind its log has something up to the checkpoint, we do not know what */
static void
look_for_news(Pull *pull, TideServedBucket *bucket)
{
	bucket->info.may_lag = bucket->info.may_lag && pull->checkpoint.lagging &&
		tide_change_writer_lags(bucket_writer(pull, bucket), &bucket->info);
	if (bucket->info.may_lag)
		bucket->info.last_op_id = pull->checkpoint.op_id;
}

/* the client is at the checkpoint: what its rows must come to */
static void
settle_buckets(Pull *pull)
{
	ListCell   *lc;

	foreach(lc, pull->entitled->buckets)
	{
		TideServedBucket *bucket = lfirst(lc);

		if (bucket->info.may_lag && bucket->shape->live)
			tide_change_writer_settle(bucket_writer(pull, bucket), &bucket->info);
	}
}

/* changes of one bucket until its end, or until the page is full */
static void
serve_bucket(Pull *pull, TideServedBucket *bucket)
{
	TideChangeWriter *writer = bucket_writer(pull, bucket);
	TidePosition *position = &bucket->position;
	int64		leaves_after = position->first_sync ? position->init : 0;
	TideLogItem item;

	tide_change_writer_start(writer, position->bucket_id, position->cursor);
	bucket->has_position = true;
	while (is_pending(bucket) && !page_is_full(pull))
	{
		if (!tide_change_writer_fetch(writer, leaves_after, &item))
		{
			position->cursor = pull->checkpoint.op_id;
			break;
		}
		if (pull->nchanges++ > 0)
			tide_json_char(&pull->changes, ',');
		tide_change_writer_put(writer, &pull->changes, &item);
		position->cursor = item.op_id;
		position->sent += item.is_put;
	}
}

/* about how many changes are still to come for a bucket */
static int64
bucket_remaining(Pull *pull, TideServedBucket *bucket, int64 *budget)
{
	TidePosition *position = &bucket->position;
	int64		counted;

	if (position->first_sync)
		return Max(bucket->info.row_count - position->sent, 0);
	if (*budget == 0)
		return 1;
	counted = tide_change_writer_count(bucket_writer(pull, bucket),
									   position->bucket_id, position->cursor, *budget);
	*budget -= counted;
	return *budget > 0 ? counted : bucket->info.last_op_id - position->cursor;
}

static void
serve_buckets(Pull *pull)
{
	int64		budget = TIDE_REMAINING_COUNTED;
	ListCell   *lc;

	pull->at_checkpoint = true;
	hold_shapes(pull);
	list_sort(pull->entitled->buckets, compare_buckets);
	foreach(lc, pull->entitled->buckets)
	{
		TideServedBucket *bucket = lfirst(lc);

		if (!bucket->shape->live || bucket->shape->held)
		{
			/* what the client has of it waits where it is */
			pull->at_checkpoint &= !bucket->has_position && !bucket->shape->held;
			pull->remaining += bucket->shape->held;
			continue;
		}
		look_for_news(pull, bucket);
		if (is_pending(bucket) && !page_is_full(pull))
			serve_bucket(pull, bucket);
		if (is_pending(bucket))
		{
			pull->at_checkpoint = false;
			pull->remaining += bucket_remaining(pull, bucket, &budget);
			continue;
		}
		bucket->position.cursor = pull->checkpoint.op_id;
		bucket->position.first_sync = false;
		bucket->has_position = true;
	}
	if (pull->at_checkpoint)
		settle_buckets(pull);
	foreach(lc, pull->entitled->shapes)
	{
		TideServedShape *shape = lfirst(lc);

		for (int i = 0; i < list_length(shape->shape->nodes); i++)
			if (shape->nodes[i].writer != NULL)
				tide_change_writer_close(shape->nodes[i].writer);
	}
}

static void
write_cookie(StringInfo out, Pull *pull)
{
	int64		reported = pull->at_checkpoint ? pull->acked : pull->cookie->reported;
	TidePosition **positions;
	int			n = 0;
	ListCell   *lc;

	if (pull->lagging)
	{
		(void) JsonbToCString(out, &pull->request->cookie->root, -1);
		return;
	}
	positions = palloc(sizeof(TidePosition *) *
					   (list_length(pull->entitled->buckets) + 1));
	foreach(lc, pull->entitled->buckets)
	{
		TideServedBucket *bucket = lfirst(lc);

		if (bucket->has_position)
			positions[n++] = &bucket->position;
	}
	tide_cookie_write(out, pull->cookie->n + 1, &pull->state.epoch,
					  pull->request->has_client ? &pull->request->client : NULL,
					  positions, n, pull->acked, reported);
}

static void
write_checkpoint(StringInfo out, const TideCheckpoint *checkpoint)
{
	appendStringInfo(out, "{\"op_id\":" INT64_FORMAT ",\"lsn\":\"%X/%X\",\"at\":",
					 checkpoint->op_id, LSN_FORMAT_ARGS(checkpoint->lsn));
	tide_json_timestamptz(out, checkpoint->at);
	appendStringInfoChar(out, '}');
}

static void
write_bucket(StringInfo out, const TideAskedBucket *asked, bool complete)
{
	const TideServedBucket *bucket = asked->bucket;

	if (bucket == NULL)
		appendStringInfoString(out, "{\"bucket\":null");
	else
		appendStringInfo(out, "{\"bucket\":" INT64_FORMAT, bucket->info.bucket_id);
	appendStringInfoString(out, ",\"shape\":");
	tide_json_cstring(out, asked->shape->shape->name);
	if (bucket != NULL && bucket->node->node->path[0] != '\0')
	{
		appendStringInfoString(out, ",\"path\":");
		tide_json_cstring(out, bucket->node->node->path);
	}
	appendStringInfoString(out, ",\"params\":");
	(void) JsonbToCString(out, &asked->params->root, -1);
	if (complete)
		appendStringInfo(out, ",\"count\":" INT64_FORMAT ",\"checksum\":%u",
						 bucket ? bucket->info.row_count : INT64CONST(0),
						 bucket ? bucket->info.checksum : 0);
	appendStringInfoChar(out, '}');
}

static int
compare_int64(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* ids of the buckets the client has to forget, before it applies the changes */
static void
write_drop(StringInfo out, Pull *pull)
{
	int64	   *ids;
	int			n = 0;
	HASH_SEQ_STATUS status;
	TidePosition *position;

	if (pull->lagging)
		return;
	ids = palloc(sizeof(int64) * (hash_get_num_entries(pull->cookie->positions) + 1));
	hash_seq_init(&status, pull->cookie->positions);
	while ((position = hash_seq_search(&status)) != NULL)
		if (!position->keep)
			ids[n++] = position->bucket_id;
	qsort(ids, n, sizeof(int64), compare_int64);
	for (int i = 0; i < n; i++)
		appendStringInfo(out, i == 0 ? INT64_FORMAT : "," INT64_FORMAT, ids[i]);
}

static void
write_mutations(StringInfo out, Pull *pull)
{
	if (!pull->request->has_client)
	{
		appendStringInfoString(out, ",\"last_mutation_id\":null,\"rejected\":[]");
		return;
	}
	appendStringInfo(out, ",\"last_mutation_id\":" INT64_FORMAT ",\"rejected\":[",
					 pull->acked);
	if (pull->at_checkpoint)
		tide_client_write_rejected(out, &pull->request->client,
								   Max(pull->cookie->reported, pull->client.rejected_seen),
								   pull->acked, pull->snapshot);
	appendStringInfoChar(out, ']');
	if (!pull->client.expired)
		return;

	/*
	 * it names whom it means: an answer may come when the client has begun
	 * anew
	 */
	appendStringInfoString(out, ",\"expired\":true,\"client\":");
	tide_json_uuid(out, pull->request->client.data);
}

/* the whole answer, as a text that is built in place */
static text *
write_answer(Pull *pull)
{
	bool		complete = pull->at_checkpoint && pull->entitled->all_live;
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	enlargeStringInfo(&out, pull->changes.len + 1024);
	out.len = VARHDRSZ;
	appendStringInfoString(&out, "{\"cookie\":");
	write_cookie(&out, pull);
	appendStringInfoString(&out, ",\"checkpoint\":");
	write_checkpoint(&out, &pull->checkpoint);
	appendStringInfo(&out, ",\"complete\":%s,\"remaining\":" INT64_FORMAT ",\"changes\":[",
					 complete ? "true" : "false", pull->remaining);
	appendBinaryStringInfo(&out, pull->changes.data, pull->changes.len);
	appendStringInfoString(&out, "],\"buckets\":[");
	foreach(lc, pull->entitled->asked)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(&out, ',');
		write_bucket(&out, lfirst(lc), complete);
	}
	appendStringInfoString(&out, "],\"drop\":[");
	write_drop(&out, pull);
	appendStringInfoChar(&out, ']');
	write_mutations(&out, pull);
	appendStringInfoChar(&out, '}');
	SET_VARSIZE(out.data, out.len);
	return (text *) out.data;
}
