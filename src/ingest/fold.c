/*
 * fold.c
 *	  Changes of a part of a batch folded into one before/after pair per row.
 *
 * The first change of a key looks up the row's shadow version; all later ones work on the
 * pair in memory. So an unchanged TOAST column always finds its value in the version
 * before it, within the chunk or in the shadow, and keeps its TOAST pointer.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "ingest/fold.h"
#include "util/compat.h"
#include "util/guc.h"

/* memory is looked at after so many bytes, or 64 changes */
#define MEASURE_BYTES	(64 * 1024)

/* the keys of one source met in this chunk */
typedef struct Fold
{
	TideWatch  *watch;
	TupleHashTable table;		/* additional: TideDelta * */
	TupleTableSlot *key_slot;
	HTAB	   *copies;			/* of CopyCount, of a source without key;
								 * NULL: none yet */
} Fold;

/* how many rows of the same content there are now */
typedef struct CopyCount
{
	pg_uuid_t	row;			/* hash key */
	int			count;
} CopyCount;

void
tide_chunk_init(TideChunk *chunk, TideIngest *in)
{
	memset(chunk, 0, sizeof(TideChunk));
	chunk->in = in;
	chunk->context = AllocSetContextCreate(CurrentMemoryContext, "tide chunk",
										   ALLOCSET_DEFAULT_SIZES);
}

void
tide_chunk_reset(TideChunk *chunk)
{
	ListCell   *lc;

	foreach(lc, chunk->folds)
		ExecDropSingleTupleTableSlot(((Fold *) lfirst(lc))->key_slot);
	MemoryContextReset(chunk->context);
	chunk->folds = NIL;
	chunk->deltas = NULL;
	chunk->ndeltas = chunk->max_deltas = 0;
}

/* by memory: half of the setting, for what applying the chunk adds to it */
bool
tide_chunk_is_full(TideChunk *chunk)
{
	if (chunk->nadded % 64 != 0 && chunk->unmeasured < MEASURE_BYTES)
		return false;
	chunk->unmeasured = 0;
	return MemoryContextMemAllocated(chunk->context, true) > (Size) tide_apply_memory * 512;
}

static Fold *
fold_create(TideChunk *chunk, TideWatch *watch)
{
	TideShadow *shadow = watch->shadow;
	Fold	   *fold = palloc(sizeof(Fold));
	AttrNumber *attnos = palloc(sizeof(AttrNumber) * shadow->nkeys);
	Oid		   *operators = palloc(sizeof(Oid) * shadow->nkeys);
	Oid		   *collations = palloc(sizeof(Oid) * shadow->nkeys);
	Oid		   *functions;
	FmgrInfo   *hashes;
	MemoryContext temp = AllocSetContextCreate(chunk->context, "tide fold hashing",
											   ALLOCSET_SMALL_SIZES);

	for (int i = 0; i < shadow->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(shadow->key_desc, i);

		attnos[i] = i + 1;
		operators[i] = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR)->eq_opr;
		collations[i] = att->attcollation;
	}
	execTuplesHashPrepare(shadow->nkeys, operators, &functions, &hashes);
	fold->watch = watch;
	fold->copies = NULL;
	fold->key_slot = MakeSingleTupleTableSlot(shadow->key_desc, &TTSOpsVirtual);
	fold->table = BuildTupleHashTable_compat(shadow->key_desc, shadow->nkeys, attnos,
											 functions, hashes, collations, 64,
											 chunk->context, chunk->context, temp);
	chunk->folds = lappend(chunk->folds, fold);
	return fold;
}

static TideDelta *
add_delta(TideChunk *chunk, TideWatch *watch)
{
	TideDelta  *delta = palloc0(sizeof(TideDelta));

	if (chunk->ndeltas == chunk->max_deltas)
	{
		chunk->max_deltas = Max(64, chunk->max_deltas * 2);
		chunk->deltas = chunk->deltas == NULL ?
			palloc(sizeof(TideDelta *) * chunk->max_deltas) :
			repalloc(chunk->deltas, sizeof(TideDelta *) * chunk->max_deltas);
	}
	chunk->deltas[chunk->ndeltas++] = delta;
	delta->watch = watch;
	return delta;
}

/* the shadow row in slot as the delta's before and, so far, after */
static void
set_before(TideDelta *delta, TupleTableSlot *slot)
{
	TupleDesc	desc = delta->watch->shadow->desc;
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);
	Size		values_size = sizeof(Datum) * desc->natts;
	Size		nulls_size = sizeof(bool) * desc->natts;

	delta->existed = delta->exists = true;
	delta->tid = slot->tts_tid;
	delta->before = palloc(values_size);
	delta->before_nulls = palloc(nulls_size);
	heap_deform_tuple(tuple, desc, delta->before, delta->before_nulls);
	delta->after = memcpy(palloc(values_size), delta->before, values_size);
	delta->after_nulls = memcpy(palloc(nulls_size), delta->before_nulls, nulls_size);
}

static Fold *
fold_of_watch(TideChunk *chunk, TideWatch *watch)
{
	ListCell   *lc;

	foreach(lc, chunk->folds)
	{
		if (((Fold *) lfirst(lc))->watch == watch)
			return lfirst(lc);
	}
	return fold_create(chunk, watch);
}

/* how many copies of a row there are, looked up at the first change of one */
static int *
copies_of_row(TideChunk *chunk, TideWatch *watch, Datum row)
{
	Fold	   *fold = fold_of_watch(chunk, watch);
	CopyCount  *copies;
	bool		found;

	if (fold->copies == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(pg_uuid_t);
		ctl.entrysize = sizeof(CopyCount);
		ctl.hcxt = chunk->context;
		fold->copies = hash_create("tide copies", 64, &ctl,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	copies = hash_search(fold->copies, DatumGetUUIDP(row), HASH_ENTER, &found);
	if (!found)
		copies->count = tide_shadow_count_copies(watch->shadow, row);
	return &copies->count;
}

/* of a source without key: the last copy goes, a new one is added behind it */
static void
number_copies(TideChunk *chunk, TideWatch *watch, TideChangeKind kind, Datum *old_key,
			  Datum *columns)
{
	const TideShadow *shadow = watch->shadow;
	int		   *count;

	if (kind != TIDE_CHANGE_PUT)
	{
		count = copies_of_row(chunk, watch, old_key[0]);
		if (*count == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a changed row of table with OID %u is not in its shadow table",
							watch->relid),
					 errhint("Use tide.reset() and tide.start() to rebuild.")));
		old_key[1] = Int32GetDatum((*count)--);
	}
	if (kind != TIDE_CHANGE_DELETE)
	{
		count = copies_of_row(chunk, watch, columns[shadow->key_pos[0]]);
		columns[shadow->key_pos[1]] = Int32GetDatum(++(*count));
	}
}

/* the delta of a key, made from its shadow row if this is the first change */
static TideDelta *
delta_of_key(TideChunk *chunk, TideWatch *watch, const Datum *key)
{
	Fold	   *fold = fold_of_watch(chunk, watch);
	TupleHashEntry entry;
	TideDelta  *delta;
	bool		is_new;

	ExecClearTuple(fold->key_slot);
	memcpy(fold->key_slot->tts_values, key, sizeof(Datum) * watch->shadow->nkeys);
	memset(fold->key_slot->tts_isnull, false, watch->shadow->nkeys);
	ExecStoreVirtualTuple(fold->key_slot);
	entry = LookupTupleHashEntry(fold->table, fold->key_slot, &is_new, NULL);
	if (!is_new)
		return *TupleHashEntryData_compat(fold->table, entry, TideDelta *);

	delta = add_delta(chunk, watch);
	*TupleHashEntryData_compat(fold->table, entry, TideDelta *) = delta;
	if (tide_shadow_fetch(watch->shadow, key))
		set_before(delta, watch->shadow->fetched);
	return delta;
}

/* set the delta's columns; those marked unchanged come from base's version */
static void
set_after(TideDelta *delta, const TideDelta *base, const Datum *columns,
		  const bool *nulls, const bits8 *unchanged)
{
	TideShadow *shadow = delta->watch->shadow;

	if (unchanged != NULL && !base->exists)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("an updated row of table with OID %u is not in its shadow table",
						delta->watch->relid),
				 errhint("Use tide.reset() and tide.start() to rebuild.")));
	if (delta->after == NULL)
	{
		delta->after = palloc0(sizeof(Datum) * shadow->desc->natts);
		delta->after_nulls = palloc(sizeof(bool) * shadow->desc->natts);
	}
	for (int i = 0; i < shadow->ncolumns; i++)
	{
		int			a = i + TIDE_SHADOW_FIXED;

		if (unchanged != NULL && (unchanged[i / 8] & (1 << (i % 8))) != 0)
		{
			delta->after[a] = base->after[a];
			delta->after_nulls[a] = base->after_nulls[a];
		}
		else
		{
			delta->after[a] = columns[i];
			delta->after_nulls[a] = nulls[i];
		}
	}
	delta->exists = true;
}

void
tide_chunk_add(TideChunk *chunk, TideWatch *watch, HeapTuple spooled)
{
	MemoryContext old = MemoryContextSwitchTo(chunk->context);
	TideShadow *shadow = watch->shadow;
	int			natts = watch->spool_desc->natts;
	HeapTuple	tuple = heap_copytuple(spooled);
	Datum	   *values = palloc(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	Datum	   *old_key = values + TIDE_SPOOL_FIXED;
	Datum	   *columns = old_key + shadow->nkeys;
	bool	   *column_nulls = nulls + TIDE_SPOOL_FIXED + shadow->nkeys;
	const bits8 *unchanged = NULL;
	Datum		key[INDEX_MAX_KEYS];
	TideDelta  *delta = NULL;
	TideDelta  *base = NULL;
	TideChangeKind kind;

	chunk->nadded++;
	chunk->unmeasured += tuple->t_len;
	heap_deform_tuple(tuple, watch->spool_desc, values, nulls);
	kind = (TideChangeKind) DatumGetChar(values[TIDE_SPOOL_KIND]);
	if (!nulls[TIDE_SPOOL_UNCHANGED])
		unchanged = (const bits8 *)
			VARDATA_ANY((struct varlena *) DatumGetPointer(values[TIDE_SPOOL_UNCHANGED]));
	if (shadow->is_keyless)
		number_copies(chunk, watch, kind, old_key, columns);
	if (kind != TIDE_CHANGE_PUT)
	{
		base = delta_of_key(chunk, watch, old_key);
		base->seq = ++chunk->seq;
	}
	if (kind != TIDE_CHANGE_DELETE)
	{
		for (int i = 0; i < shadow->nkeys; i++)
			key[i] = columns[shadow->key_pos[i]];
		delta = delta_of_key(chunk, watch, key);
		delta->seq = ++chunk->seq;
		set_after(delta, base ? base : delta, columns, column_nulls, unchanged);
	}
	if (base != NULL && base != delta)
		base->exists = false;
	MemoryContextSwitchTo(old);
}

void
tide_chunk_add_row(TideChunk *chunk, TideWatch *watch, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(chunk->context);
	TideShadow *shadow = watch->shadow;
	HeapTuple	tuple = ExecCopySlotHeapTuple(slot);
	Datum	   *values = palloc(sizeof(Datum) * shadow->desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * shadow->desc->natts);
	Datum		key[INDEX_MAX_KEYS];
	TideDelta  *delta;

	chunk->nadded++;
	chunk->unmeasured += tuple->t_len;
	heap_deform_tuple(tuple, shadow->desc, values, nulls);
	for (int i = 0; i < shadow->nkeys; i++)
		key[i] = values[shadow->key_pos[i] + TIDE_SHADOW_FIXED];
	delta = delta_of_key(chunk, watch, key);
	delta->seq = ++chunk->seq;
	set_after(delta, delta, values + TIDE_SHADOW_FIXED, nulls + TIDE_SHADOW_FIXED, NULL);
	MemoryContextSwitchTo(old);
}

void
tide_chunk_add_delete(TideChunk *chunk, TideWatch *watch, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(chunk->context);
	TideDelta  *delta = add_delta(chunk, watch);

	chunk->nadded++;
	delta->seq = ++chunk->seq;
	set_before(delta, slot);
	delta->exists = false;
	MemoryContextSwitchTo(old);
}

/*
 * Mark the columns that differ, and let those that do not keep the old value with its
 * TOAST pointer. Returns whether any differs.
 */
static bool
mark_changed(TideDelta *delta)
{
	TideShadow *shadow = delta->watch->shadow;
	bool		any = false;

	delta->changed = palloc0(sizeof(bool) * shadow->ncolumns);
	for (int i = 0; i < shadow->ncolumns; i++)
	{
		int			a = i + TIDE_SHADOW_FIXED;
		Form_pg_attribute att = TupleDescAttr(shadow->desc, a);

		if (delta->before_nulls[a] || delta->after_nulls[a])
			delta->changed[i] = delta->before_nulls[a] != delta->after_nulls[a];
		else if (delta->before[a] == delta->after[a])
			delta->changed[i] = false;
		else if (datum_image_eq(delta->before[a], delta->after[a], att->attbyval, att->attlen))
			delta->after[a] = delta->before[a];
		else
			delta->changed[i] = true;
		any |= delta->changed[i];
	}
	for (int i = 0; i < shadow->nkeys; i++)
		delta->key_changed |= delta->changed[shadow->key_pos[i]];
	return any;
}

static int
compare_seq(const void *a, const void *b)
{
	int64		x = (*(TideDelta *const *) a)->seq;
	int64		y = (*(TideDelta *const *) b)->seq;

	return x < y ? -1 : x > y;
}

void
tide_chunk_finish(TideChunk *chunk)
{
	MemoryContext old = MemoryContextSwitchTo(chunk->context);
	int			n = 0;
	ListCell   *lc;

	foreach(lc, chunk->folds)
		tide_shadow_end_fetch(((Fold *) lfirst(lc))->watch->shadow);
	for (int i = 0; i < chunk->ndeltas; i++)
	{
		TideDelta  *delta = chunk->deltas[i];

		if (!delta->existed && !delta->exists)
			continue;			/* came and went */
		if (delta->existed && delta->exists && !mark_changed(delta))
			continue;			/* came back to what it was */
		chunk->deltas[n++] = delta;
	}
	chunk->ndeltas = n;
	if (n > 1)
		qsort(chunk->deltas, n, sizeof(TideDelta *), compare_seq);
	MemoryContextSwitchTo(old);
}
