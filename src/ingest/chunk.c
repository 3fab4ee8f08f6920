/*
 * chunk.c
 *	  Storing a chunk of a batch: shadow rows, change log, counts of buckets.
 *
 *	1. fold: one before/after pair per row (fold.c);
 *	2. membership: the shape nodes are asked, as their owners, for the bucket of each row after,
 *	   and before where _members does not tell because the shape was built since;
 *	3. plan: rows get op_ids in commit order, one per entry of the change log:
 *		 before	 after
 *		 -		 in		 enter
 *		 in		 in		 change if a column shown differs, else nothing
 *		 in		 -		 leave
 *	4. write: shadow rows, then the entries that point at them.
 * Entries that others supersede are removed on the way (compaction.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "ingest/apply.h"
#include "ingest/compaction.h"
#include "ingest/fold.h"
#include "ingest/limits.h"
#include "ingest/load.h"
#include "ingest/plan_group.h"
#include "ingest/tree.h"
#include "store/members.h"

/* entries of one source in a chunk, with the rows they point at */
typedef struct LogPlan
{
	TideWatch  *watch;
	TideLogEntry *entries;
	TideDelta **deltas;			/* by entry */
	int			n;
	int			max;
} LogPlan;

/* ask the nodes of the source for the buckets of all the chunk's rows */
static void
evaluate(TideChunk *chunk, TideWatch *watch)
{
	TideRowAsk *asks;
	int			n = 0;
	instr_time	begin;

	if (watch->groups == NULL)
		return;
	asks = palloc(sizeof(TideRowAsk) * 2 * Max(chunk->ndeltas, 1));
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (delta->watch != watch)
			continue;
		if (delta->exists)
			asks[n++] = (TideRowAsk)
		{
			delta->after, delta->after_nulls, 0, &delta->is
		};
		if (delta->existed)
			asks[n++] = (TideRowAsk)
		{
			delta->before, delta->before_nulls,
				Max(DatumGetInt64(delta->before[TIDE_SHADOW_OP - 1]), 1), &delta->was
		};
	}
	INSTR_TIME_SET_CURRENT(begin);
	tide_groups_ask(watch->groups, chunk->in->buckets, asks, n, &chunk->in->checkpoint.op_id);

	/* shapes with a plan in common have its cost in common */
	if (list_length(watch->evals) == 1)
		tide_load_add(chunk->in, TIDE_LOAD_SHAPE,
					  ((TideNodeEval *) linitial(watch->evals))->shape->shape_id, &begin);
	pfree(asks);
}

static void
plan_entry(TideChunk *chunk, LogPlan *plan, TideDelta *delta, TideBucket *bucket,
		   char kind, uint32 hash, const TideMember *old)
{
	TideLogEntry *entry;
	int64		op_id = ++chunk->in->checkpoint.op_id;

	if (plan->n == plan->max)
	{
		plan->max = Max(64, plan->max * 2);
		plan->entries = plan->entries == NULL ?
			palloc(sizeof(TideLogEntry) * plan->max) :
			repalloc(plan->entries, sizeof(TideLogEntry) * plan->max);
		plan->deltas = plan->deltas == NULL ?
			palloc(sizeof(TideDelta *) * plan->max) :
			repalloc(plan->deltas, sizeof(TideDelta *) * plan->max);
	}
	plan->deltas[plan->n] = delta;
	entry = &plan->entries[plan->n++];
	entry->bucket_id = bucket->bucket_id;
	entry->op_id = op_id;
	entry->kind = kind;
	entry->hash = hash;
	entry->old_op_id = old ? old->op_id : 0;
	entry->columns = (kind == TIDE_LOG_LEAVE ? delta->before : delta->after) +
		TIDE_SHADOW_FIXED;
	tide_bucket_count(chunk->in->buckets, bucket,
					  kind == TIDE_LOG_ENTER ? 1 : kind == TIDE_LOG_LEAVE ? -1 : 0,
					  hash, old ? old->hash : 0, op_id);
}

/*
 * The buckets that held the row before: those of _members, and those that its
 * version before implies for shapes built since. op_id 0 in the latter.
 */
static int
old_members(TideChunk *chunk, TideDelta *delta, TideMember **members)
{
	struct varlena *packed = NULL;
	int			n = 0;

	if (!delta->existed)
		return 0;
	if (!delta->before_nulls[TIDE_SHADOW_MEMBERS - 1])
		packed = PG_DETOAST_DATUM_PACKED(delta->before[TIDE_SHADOW_MEMBERS - 1]);
	*members = palloc(sizeof(TideMember) * ((packed ? tide_members_count(packed) : 0) +
											delta->was.n + 1));
	for (int i = 0; packed && i < tide_members_count(packed); i++)
		(*members)[n++] = tide_members_get(packed, i);
	for (int i = 0; i < delta->was.n; i++)
	{
		TideHit    *hit = &delta->was.hits[i];

		(*members)[n].bucket_id = hit->bucket->bucket_id;
		(*members)[n].op_id = 0;
		(*members)[n].count = 1;
		(*members)[n].hash = tide_node_eval_hash(hit->eval, delta->before,
												 delta->before_nulls, NULL);
		n++;
	}
	return n;
}

/*
 * Entry, if one is due, for a bucket that holds the row now; old is its membership
 * before or NULL. Returns the membership after.
 */
static TideMember
plan_member(TideChunk *chunk, TideDelta *delta, LogPlan *plan, TideNodeEval *eval,
			TideBucket *bucket, const TideMember *old)
{
	TideMember	member;

	member.bucket_id = bucket->bucket_id;
	member.count = 1;
	if (old == NULL)
	{
		member.hash = tide_node_eval_hash(eval, delta->after, delta->after_nulls, NULL);
		plan_entry(chunk, plan, delta, bucket, TIDE_LOG_ENTER, member.hash, NULL);
	}
	else if (old->op_id > 0 && !tide_node_eval_shows_change(eval, delta->changed))
		return *old;
	else
	{
		/*
		 * op_id 0: the build's entry is superseded by writing _members, so
		 * write anew
		 */
		member.hash = old->hash +
			tide_node_eval_hash(eval, delta->after, delta->after_nulls, delta->changed) -
			tide_node_eval_hash(eval, delta->before, delta->before_nulls, delta->changed);
		plan_entry(chunk, plan, delta, bucket, TIDE_LOG_CHANGE, member.hash, old);
	}
	member.op_id = chunk->in->checkpoint.op_id;
	return member;
}

/* a bucket held by a joined node: the row stays in it until the end of the batch decides */
static TideNodeEval *
joined_eval(const TideDelta *delta, const TideBucket *bucket)
{
	TideJoined *joined = delta->watch->joined == NIL ? NULL :
	tide_tree_of_bucket(delta->watch, bucket);

	return joined == NULL || joined->is_direct ? NULL : joined->eval;
}

/*
 * Place of a bucket among the old memberships, or -1. The search begins at *at, which is set behind
 * what was found: both sides are mostly in the same order.
 */
static int
find_old(const TideMember *old, int nold, int64 bucket_id, int *at)
{
	for (int n = 0; n < nold; n++)
	{
		int			i = (*at + n) % nold;

		if (old[i].bucket_id == bucket_id)
		{
			*at = i + 1;
			return i;
		}
	}
	return -1;
}

/* which old memberships go on; a key with other bits is another key to clients: leave, then enter */
static bool *
kept_members(TideChunk *chunk, TideDelta *delta, TideMember *old, int nold)
{
	bool	   *kept = palloc0(sizeof(bool) * (nold + 1));
	int			at = 0;

	for (int h = 0; delta->exists && !delta->key_changed && h < delta->is.n; h++)
	{
		int			i = find_old(old, nold, delta->is.hits[h].bucket->bucket_id, &at);

		if (i >= 0)
			kept[i] = true;
	}
	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = kept[i] ? NULL :
		tide_bucket_by_id(chunk->in->buckets, old[i].bucket_id);

		if (bucket != NULL && delta->exists && !delta->key_changed &&
			joined_eval(delta, bucket) != NULL)
			kept[i] = true;
	}
	return kept;
}

/* members of joined nodes, with an entry if what they show has changed */
static int
plan_joined(TideChunk *chunk, TideDelta *delta, LogPlan *plan, TideMember *old, int nold,
			const bool *kept, bytea *packed)
{
	int			n = 0;

	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = kept[i] ?
		tide_bucket_by_id(chunk->in->buckets, old[i].bucket_id) : NULL;
		TideNodeEval *eval = bucket ? joined_eval(delta, bucket) : NULL;
		TideMember	member;

		if (eval == NULL)
			continue;
		member = plan_member(chunk, delta, plan, eval, bucket, &old[i]);
		member.count = old[i].count;
		tide_members_put(VARDATA(packed), n++, &member);
	}
	return n;
}

/* op_ids and entries of one row, and what its shadow row says of them */
static void
plan_delta(TideChunk *chunk, TideDelta *delta, LogPlan *plan)
{
	TideMember *old = NULL;
	int			nold = old_members(chunk, delta, &old);
	bytea	   *packed = palloc(VARHDRSZ + TIDE_MEMBER_SIZE * (nold + delta->is.n + 1));
	bool	   *kept = kept_members(chunk, delta, old, nold);
	int			nnew = 0;
	int			at = 0;

	delta->buckets_differ = false;
	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = kept[i] ? NULL :
		tide_bucket_by_id(chunk->in->buckets, old[i].bucket_id);

		if (bucket != NULL)
			plan_entry(chunk, plan, delta, bucket, TIDE_LOG_LEAVE, 0, &old[i]);
		delta->buckets_differ |= !kept[i];
	}
	if (delta->watch->joined != NIL && delta->exists)
		nnew = plan_joined(chunk, delta, plan, old, nold, kept, packed);
	for (int h = 0; delta->exists && h < delta->is.n; h++)
	{
		TideHit    *hit = &delta->is.hits[h];
		int			i = find_old(old, nold, hit->bucket->bucket_id, &at);
		const TideMember *was = i >= 0 && kept[i] ? &old[i] : NULL;
		TideMember	member;

		delta->buckets_differ |= was == NULL;
		member = plan_member(chunk, delta, plan, hit->eval, hit->bucket, was);
		tide_members_put(VARDATA(packed), nnew++, &member);
	}
	if (delta->exists)
	{
		SET_VARSIZE(packed, VARHDRSZ + TIDE_MEMBER_SIZE * nnew);
		delta->after[TIDE_SHADOW_MEMBERS - 1] = PointerGetDatum(packed);
		delta->after_nulls[TIDE_SHADOW_MEMBERS - 1] = nnew == 0;
		delta->after[TIDE_SHADOW_OP - 1] = Int64GetDatum(chunk->in->checkpoint.op_id);
		delta->after_nulls[TIDE_SHADOW_OP - 1] = false;
	}
}

/* insert the rows gathered in the shadow's slots */
static void
flush_inserts(TideShadow *shadow, TideDelta **inserted, int *n)
{
	tide_shadow_insert(shadow, *n, 0);
	for (int i = 0; i < *n; i++)
		inserted[i]->tid = shadow->slots[i]->tts_tid;
	*n = 0;
}

static void
fill_slot(TupleTableSlot *slot, const TideDelta *delta)
{
	int			natts = slot->tts_tupleDescriptor->natts;

	memcpy(slot->tts_values, delta->after, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, delta->after_nulls, sizeof(bool) * natts);
	ExecStoreVirtualTuple(slot);
}

/* shadow rows of one source; each key occurs once, so the order does not matter */
static void
write_rows(TideChunk *chunk, TideWatch *watch)
{
	TideShadow *shadow = watch->shadow;
	TideDelta  *inserted[TIDE_MULTI_INSERT];
	int			ninserted = 0;

	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (delta->watch != watch)
			continue;
		if (delta->existed && !delta->exists)
		{
			tide_shadow_delete(shadow, &delta->tid);
			ItemPointerSetInvalid(&delta->tid);
		}
		else if (!delta->existed)
		{
			fill_slot(tide_shadow_slot(shadow, ninserted), delta);
			inserted[ninserted++] = delta;
			if (ninserted == TIDE_MULTI_INSERT)
				flush_inserts(shadow, inserted, &ninserted);
		}
	}
	flush_inserts(shadow, inserted, &ninserted);
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (delta->watch == watch && delta->existed && delta->exists)
		{
			TupleTableSlot *slot = tide_shadow_slot(shadow, 0);

			fill_slot(slot, delta);
			tide_shadow_update(shadow, &delta->tid, slot);
			delta->tid = slot->tts_tid;
			ExecClearTuple(slot);
		}
	}
}

static void
write_log(TideIngest *in, LogPlan *plan)
{
	tide_compact_superseded(in, plan->watch->shadow, plan->entries, plan->n);
	for (int i = 0; i < plan->n; i++)
		plan->entries[i].tid = plan->deltas[i]->tid;
	tide_log_append(plan->watch->shadow, plan->entries, plan->n, 0);
	tide_compact_appended(in, plan->entries, plan->n);
}

/* watches of the chunk's deltas, each once */
static List *
chunk_watches(const TideChunk *chunk)
{
	List	   *watches = NIL;

	for (int i = 0; i < chunk->ndeltas; i++)
		if (i == 0 || chunk->deltas[i]->watch != chunk->deltas[i - 1]->watch)
			watches = list_append_unique_ptr(watches, chunk->deltas[i]->watch);
	return watches;
}

void
tide_chunk_apply(TideChunk *chunk)
{
	MemoryContext old;
	List	   *watches;
	LogPlan    *plans;
	instr_time	begin;
	ListCell   *lc;

	tide_chunk_finish(chunk);
	old = MemoryContextSwitchTo(chunk->context);
	watches = chunk_watches(chunk);
	plans = palloc0(sizeof(LogPlan) * Max(list_length(watches), 1));
	INSTR_TIME_SET_CURRENT(begin);
	foreach(lc, watches)
	{
		TideWatch  *watch = lfirst(lc);

		plans[foreach_current_index(lc)].watch = watch;
		evaluate(chunk, watch);
		tide_load_add(chunk->in, TIDE_LOAD_SOURCE, watch->shadow->source->source_id, &begin);
	}
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		LogPlan    *plan = plans;

		while (plan->watch != chunk->deltas[i]->watch)
			plan++;
		plan_delta(chunk, chunk->deltas[i], plan);
	}
	INSTR_TIME_SET_CURRENT(begin);
	foreach(lc, watches)
	{
		TideWatch  *watch = lfirst(lc);

		write_rows(chunk, watch);
		write_log(chunk->in, &plans[foreach_current_index(lc)]);
		tide_load_add(chunk->in, TIDE_LOAD_SOURCE, watch->shadow->source->source_id, &begin);
	}
	for (int i = 0; i < chunk->ndeltas; i++)
		if (chunk->deltas[i]->watch->joins != NULL)
			tide_tree_note_delta(chunk->in, chunk->deltas[i]);
	MemoryContextSwitchTo(old);
	tide_chunk_reset(chunk);
	if (tide_buckets_are_many(chunk->in->buckets))
		tide_limits_flush(chunk->in);
	CommandCounterIncrement();
}
