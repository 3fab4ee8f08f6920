/*
 * tree_write.c
 *	  Memberships of one row in a joined node's buckets.
 *
 * What chunk.c does for the changes of a chunk, for a row that has not changed itself: its _members
 * and the entries of the change log that follow from them. A change of a count alone has no entry.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/tableam.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ingest/compaction.h"
#include "ingest/tree.h"
#include "store/members.h"
#include "util/compat.h"
#include "util/guc.h"

/* a row being written */
typedef struct RowWrite
{
	TideIngest *in;
	TideJoined *joined;
	ItemPointer tid;			/* set to where it is then */
	TupleTableSlot *slot;
	TideMember *members;		/* those to be */
	int			n;
	TideLogEntry *entries;
	int			nentries;
	bool		moved;			/* the set of the node's buckets is another */
	bool		counted;		/* or a count */
} RowWrite;

void
tide_tree_count(TideTreeCounts *counts, TideBucket *bucket, int64 count)
{
	for (int i = 0; i < counts->n; i++)
		if (counts->counts[i].bucket == bucket)
		{
			counts->counts[i].count += count;
			return;
		}
	if (counts->n == counts->max)
	{
		counts->max = Max(8, counts->max * 2);
		counts->counts = counts->counts == NULL ?
			palloc(sizeof(TideTreeCount) * counts->max) :
			repalloc(counts->counts, sizeof(TideTreeCount) * counts->max);
	}
	counts->counts[counts->n].bucket = bucket;
	counts->counts[counts->n++].count = count;
}

TupleTableSlot *
tide_tree_fetch(TideJoined *joined, ItemPointer tid)
{
	TideShadow *shadow = joined->watch->shadow;

	if (!table_tuple_fetch_row_version(shadow->heap, tid, SnapshotSelf, shadow->fetched))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row (%u,%u) of relation \"tide_shadow.t%d\" is gone",
						ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid),
						shadow->source->source_id)));
	slot_getallattrs(shadow->fetched);
	return shadow->fetched;
}

void
tide_tree_put_version(TideIngest *in, TideVersions *versions, TideWatch *watch,
					  int64 sign, const Datum *values, const bool *nulls)
{
	TupleDesc	desc = watch->shadow->desc;
	Datum	   *kept = palloc(sizeof(Datum) * desc->natts);
	bool	   *kept_nulls = palloc(sizeof(bool) * desc->natts);

	for (int i = 0; i < desc->natts; i++)
	{
		bool		used = i < TIDE_SHADOW_FIXED || watch->joins[i - TIDE_SHADOW_FIXED];

		kept_nulls[i] = nulls[i] || !used;
		kept[i] = values[i];
		if (!kept_nulls[i] && TupleDescAttr(desc, i)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			kept[i] = PointerGetDatum(detoast_external_attr((struct varlena *)
															DatumGetPointer(values[i])));
	}
	kept[TIDE_SHADOW_OP - 1] = Int64GetDatum(sign);
	kept_nulls[TIDE_SHADOW_OP - 1] = false;
	if (versions->store == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(in->tree_context);

		versions->store = tuplestore_begin_heap(false, false, tide_spool_memory);
		MemoryContextSwitchTo(old);
	}
	tuplestore_putvalues(versions->store, desc, kept, kept_nulls);
	versions->n++;
}

static void
add_entry(RowWrite *w, TideBucket *bucket, char kind, uint32 hash, uint32 old_hash,
		  int64 old_op_id)
{
	TideLogEntry *entry = &w->entries[w->nentries++];
	int64		op_id = ++w->in->checkpoint.op_id;

	entry->bucket_id = bucket->bucket_id;
	entry->op_id = op_id;
	entry->kind = kind;
	entry->hash = hash;
	entry->old_op_id = old_op_id;
	entry->columns = w->slot->tts_values + TIDE_SHADOW_FIXED;
	tide_bucket_count(w->in->buckets, bucket,
					  kind == TIDE_LOG_ENTER ? 1 : kind == TIDE_LOG_LEAVE ? -1 : 0,
					  hash, old_hash, op_id);
}

/* the row's members but those of buckets that are gone */
static void
read_members(RowWrite *w, int room)
{
	struct varlena *packed = NULL;
	int			n = 0;

	if (!w->slot->tts_isnull[TIDE_SHADOW_MEMBERS - 1])
	{
		packed = PG_DETOAST_DATUM_PACKED(w->slot->tts_values[TIDE_SHADOW_MEMBERS - 1]);
		n = tide_members_count(packed);
	}
	w->members = palloc(sizeof(TideMember) * (n + room));
	w->entries = palloc(sizeof(TideLogEntry) * (2 * n + room));
	for (int i = 0; i < n; i++)
	{
		TideMember	member = tide_members_get(packed, i);

		if (tide_bucket_by_id(w->in->buckets, member.bucket_id) != NULL)
			w->members[w->n++] = member;
	}
}

static TideMember *
find_member(RowWrite *w, int64 bucket_id)
{
	for (int i = 0; i < w->n; i++)
		if (w->members[i].bucket_id == bucket_id)
			return &w->members[i];
	return NULL;
}

static void
set_count(RowWrite *w, TideBucket *bucket, int64 count)
{
	TideMember *member = find_member(w, bucket->bucket_id);

	/* rows that are still to be decided anew may be off */
	if (count < 0 && w->joined->shape->redefined)
		count = 0;
	if (count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("row of relation \"tide_shadow.t%d\" would be in bucket " INT64_FORMAT " " INT64_FORMAT " times",
						w->joined->watch->shadow->source->source_id,
						bucket->bucket_id, count),
				 errhint("tide.replace_shape() with the same definition builds shape \"%s\" anew.",
						 w->joined->shape->name)));
	if (member == NULL && count > 0)
	{
		member = &w->members[w->n++];
		member->bucket_id = bucket->bucket_id;
		member->hash = tide_node_eval_hash(w->joined->eval, w->slot->tts_values,
										   w->slot->tts_isnull, NULL);
		member->count = count;
		add_entry(w, bucket, TIDE_LOG_ENTER, member->hash, 0, 0);
		member->op_id = w->in->checkpoint.op_id;
		w->moved = true;
	}
	else if (member != NULL && count == 0)
	{
		add_entry(w, bucket, TIDE_LOG_LEAVE, 0, member->hash, member->op_id);
		*member = w->members[--w->n];
		w->moved = true;
	}
	else if (member != NULL && member->count != count)
	{
		member->count = count;
		w->counted = true;
	}
}

/* whether the node's own buckets include this one */
static bool
is_of_node(const TideJoined *joined, const TideBucket *bucket)
{
	return bucket != NULL && bucket->shape_id == joined->shape->shape_id &&
		bucket->node_id == joined->node->node_id;
}

/* another definition may show other columns */
static void
rehash(RowWrite *w)
{
	uint32		hash = tide_node_eval_hash(w->joined->eval, w->slot->tts_values,
										   w->slot->tts_isnull, NULL);

	for (int i = 0; i < w->n; i++)
	{
		TideMember *member = &w->members[i];
		TideBucket *bucket = tide_bucket_by_id(w->in->buckets, member->bucket_id);

		if (!is_of_node(w->joined, bucket) || member->hash == hash)
			continue;
		add_entry(w, bucket, TIDE_LOG_CHANGE, hash, member->hash, member->op_id);
		member->hash = hash;
		member->op_id = w->in->checkpoint.op_id;
		w->counted = true;
	}
}

static void
set_counts(RowWrite *w, const TideTreeCounts *counts, bool absolute)
{
	for (int i = 0; i < counts->n; i++)
	{
		TideBucket *bucket = counts->counts[i].bucket;
		TideMember *member = find_member(w, bucket->bucket_id);
		int64		before = absolute || member == NULL ? 0 : member->count;

		set_count(w, bucket, before + counts->counts[i].count);
	}
	if (!absolute)
		return;
	if (w->joined->shape->redefined && w->joined->shape->reshown)
		rehash(w);
	for (int i = w->n - 1; i >= 0; i--)
	{
		TideBucket *bucket = tide_bucket_by_id(w->in->buckets, w->members[i].bucket_id);
		bool		found = false;

		if (!is_of_node(w->joined, bucket))
			continue;
		for (int c = 0; c < counts->n && !found; c++)
			found = counts->counts[c].bucket == bucket;
		if (!found)
			set_count(w, bucket, 0);
	}
}

/*
 * Plain shapes that were built since the row was last written have its entries without
 * _members, which stop counting once the row is written: write them anew.
 */
static void
adopt_built(RowWrite *w)
{
	int64		row_op = DatumGetInt64(w->slot->tts_values[TIDE_SHADOW_OP - 1]);
	TideHits	hits = {0};
	TideRowAsk	ask = {w->slot->tts_values, w->slot->tts_isnull, Max(row_op, 1), &hits};

	tide_groups_ask(w->joined->watch->groups, w->in->buckets, &ask, 1,
					&w->in->checkpoint.op_id);
	tide_evaluating_shape = w->joined->shape->shape_id;
	if (hits.n == 0)
		return;
	w->members = repalloc(w->members, sizeof(TideMember) * (w->n + hits.n));
	w->entries = repalloc(w->entries, sizeof(TideLogEntry) * (w->nentries + hits.n));
	for (int i = 0; i < hits.n; i++)
	{
		TideBucket *bucket = hits.hits[i].bucket;
		TideMember *member = &w->members[w->n++];

		member->bucket_id = bucket->bucket_id;
		member->hash = tide_node_eval_hash(hits.hits[i].eval, w->slot->tts_values,
										   w->slot->tts_isnull, NULL);
		member->count = 1;
		add_entry(w, bucket, TIDE_LOG_CHANGE, member->hash, member->hash, 0);
		member->op_id = w->in->checkpoint.op_id;
	}
}

static void
store_row(RowWrite *w)
{
	TideShadow *shadow = w->joined->watch->shadow;
	TupleTableSlot *new = tide_shadow_slot(shadow, 0);
	bytea	   *packed = palloc(VARHDRSZ + TIDE_MEMBER_SIZE * Max(w->n, 1));
	int			natts = shadow->desc->natts;

	SET_VARSIZE(packed, VARHDRSZ + TIDE_MEMBER_SIZE * w->n);
	for (int i = 0; i < w->n; i++)
		tide_members_put(VARDATA(packed), i, &w->members[i]);
	memcpy(new->tts_values, w->slot->tts_values, sizeof(Datum) * natts);
	memcpy(new->tts_isnull, w->slot->tts_isnull, sizeof(bool) * natts);
	new->tts_values[TIDE_SHADOW_OP - 1] = Int64GetDatum(w->in->checkpoint.op_id);
	new->tts_values[TIDE_SHADOW_MEMBERS - 1] = PointerGetDatum(packed);
	new->tts_isnull[TIDE_SHADOW_MEMBERS - 1] = w->n == 0;
	ExecStoreVirtualTuple(new);
	if (w->moved && w->joined->has_children)
	{
		tide_tree_put_version(w->in, &w->joined->moved, w->joined->watch, -1,
							  w->slot->tts_values, w->slot->tts_isnull);
		tide_tree_put_version(w->in, &w->joined->moved, w->joined->watch, 1,
							  new->tts_values, new->tts_isnull);
	}
	tide_compact_superseded(w->in, shadow, w->entries, w->nentries);
	tide_shadow_update(shadow, &w->slot->tts_tid, new);
	*w->tid = new->tts_tid;
	for (int i = 0; i < w->nentries; i++)
		w->entries[i].tid = new->tts_tid;
	tide_log_append(shadow, w->entries, w->nentries, 0);
	tide_compact_appended(w->in, w->entries, w->nentries);
	ExecClearTuple(new);
}

void
tide_tree_write(TideIngest *in, TideJoined *joined, ItemPointer tid,
				const TideTreeCounts *counts, bool absolute)
{
	RowWrite	w = {.in = in,.joined = joined,.tid = tid};

	w.slot = tide_tree_fetch(joined, tid);
	read_members(&w, counts->n);
	set_counts(&w, counts, absolute);
	if (w.moved || w.counted)
	{
		adopt_built(&w);
		store_row(&w);
	}
	ExecClearTuple(w.slot);
}

void
tide_tree_write_member(TideJoined *joined, ItemPointer tid, const TideMember *member)
{
	TideShadow *shadow = joined->watch->shadow;
	TupleTableSlot *slot = tide_tree_fetch(joined, tid);
	TupleTableSlot *new = tide_shadow_slot(shadow, 0);
	struct varlena *packed = NULL;
	bytea	   *longer;
	int			natts = shadow->desc->natts;
	int			n = 0;

	if (!slot->tts_isnull[TIDE_SHADOW_MEMBERS - 1])
	{
		packed = PG_DETOAST_DATUM_PACKED(slot->tts_values[TIDE_SHADOW_MEMBERS - 1]);
		n = tide_members_count(packed);
	}
	if (n == 0 || tide_members_find(packed, member->bucket_id) < 0)
	{
		longer = palloc(VARHDRSZ + TIDE_MEMBER_SIZE * (n + 1));
		SET_VARSIZE(longer, VARHDRSZ + TIDE_MEMBER_SIZE * (n + 1));
		if (n > 0)
			memcpy(VARDATA(longer), VARDATA_ANY(packed), (Size) TIDE_MEMBER_SIZE * n);
		tide_members_put(VARDATA(longer), n, member);
		memcpy(new->tts_values, slot->tts_values, sizeof(Datum) * natts);
		memcpy(new->tts_isnull, slot->tts_isnull, sizeof(bool) * natts);
		new->tts_values[TIDE_SHADOW_MEMBERS - 1] = PointerGetDatum(longer);
		new->tts_isnull[TIDE_SHADOW_MEMBERS - 1] = false;
		ExecStoreVirtualTuple(new);
		tide_shadow_update(shadow, &slot->tts_tid, new);
		ExecClearTuple(new);
	}
	ExecClearTuple(slot);
}
