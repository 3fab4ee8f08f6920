/*
 * tree_pass.c
 *	  The pass of a joined node: rows are decided, and written where that changes anything.
 *
 * The rows of R (tree_gather.c) are recomputed; then what the parents' versions bring is added to
 * the others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "ingest/load.h"
#include "ingest/tree_pass.h"
#include "store/members.h"
#include "util/spi.h"

/* the node's bucket for each key tuple of the row below this parent's bucket, or of a root */
static void
count_keys(TideTreePass *pass, const TideBucket *above, List *tuples, int64 count)
{
	TideJoined *joined = pass->joined;
	int			nabove = above ? above->nparts : 0;
	const char **parts = palloc(sizeof(char *) * (nabove + joined->eval->nkeys + 1));
	ListCell   *lc;

	for (int i = 0; i < nabove; i++)
		parts[i] = above->parts[i];
	foreach(lc, tuples)
	{
		char	  **tuple = lfirst(lc);

		for (int i = 0; i < joined->eval->nkeys; i++)
			parts[nabove + i] = tuple[i];
		tide_tree_count(&pass->counts,
						tide_bucket_for_key(pass->in->buckets, joined->shape->shape_id,
											joined->node->node_id, parts,
											nabove + joined->eval->nkeys,
											&pass->in->checkpoint.op_id), count);
	}
}

/* add the buckets that a parent row, or one version of it, brings; parts of _members are texts here */
static void
count_parent(TideTreePass *pass, Datum members, int64 count)
{
	TideJoined *parent = pass->joined->parent;
	struct varlena *packed = PG_DETOAST_DATUM_PACKED(members);
	int			n = tide_members_count(packed);

	for (int i = 0; i < n; i++)
	{
		TideBucket *bucket = tide_bucket_by_id(pass->in->buckets,
											   tide_members_get(packed, i).bucket_id);

		if (bucket != NULL && bucket->shape_id == parent->shape->shape_id &&
			bucket->node_id == parent->node->node_id)
			tide_tree_count(&pass->counts, bucket, count);
	}
}

/* turn counts by parent bucket into counts by own bucket, as the row's own conditions say */
static void
apply_own_keys(TideTreePass *pass, TupleTableSlot *row)
{
	TideTreeCounts above = pass->counts;
	List	   *tuples = tide_node_eval_keys(pass->joined->eval, row->tts_values,
											 row->tts_isnull);

	memset(&pass->counts, 0, sizeof(TideTreeCounts));
	for (int i = 0; i < above.n; i++)
		if (above.counts[i].count != 0)
			count_keys(pass, above.counts[i].bucket, tuples, above.counts[i].count);
}

static void
start_row(TideTreePass *pass, ItemPointer tid)
{
	MemoryContextReset(pass->context);
	memset(&pass->counts, 0, sizeof(TideTreeCounts));
	pass->tid = *tid;
}

/* write the row whose results have come in */
static void
finish_row(TideTreePass *pass)
{
	TideSpiFrame frame;
	MemoryContext old;

	if (!ItemPointerIsValid(&pass->tid))
		return;
	old = MemoryContextSwitchTo(pass->context);
	tide_node_eval_begin(pass->joined->eval, &frame);
	if (pass->joined->parent != NULL)
	{
		TupleTableSlot *row = tide_tree_fetch(pass->joined, &pass->tid);

		apply_own_keys(pass, row);
	}
	tide_tree_write(pass->in, pass->joined, &pass->tid, &pass->counts, pass->absolute);
	tide_node_eval_end(pass->joined->eval, &frame);
	tide_evaluating_shape = pass->joined->shape->shape_id;

	/* at its new place it is still one that is done */
	if (pass->absolute)
	{
		TideTreeRow *row = hash_search(pass->joined->rows, &pass->tid, HASH_ENTER, NULL);

		row->holds = true;
	}
	MemoryContextSwitchTo(old);
	ItemPointerSetInvalid(&pass->tid);
	if (tide_buckets_are_many(pass->in->buckets))
	{
		tide_buckets_flush(pass->in->buckets);
		CommandCounterIncrement();
	}
}

/* a row of R and a parent of it: (tid, _members) by tid */
static void
take_parent(void *arg, HeapTuple tuple, TupleDesc desc)
{
	TideTreePass *pass = arg;
	bool		isnull;
	ItemPointer tid = (ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 1, &isnull));
	Datum		members = SPI_getbinval(tuple, desc, 2, &isnull);
	TideTreeRow *row = hash_search(pass->joined->rows, tid, HASH_FIND, NULL);
	MemoryContext old;

	if (row == NULL)
		return;
	row->holds = true;
	if (!ItemPointerIsValid(&pass->tid) || !ItemPointerEquals(&pass->tid, tid))
	{
		finish_row(pass);
		start_row(pass, tid);
	}
	old = MemoryContextSwitchTo(pass->context);
	count_parent(pass, members, 1);
	MemoryContextSwitchTo(old);
}

/* a row not in R and a version of a parent: (tid, sign, _members) by tid */
static void
take_version(void *arg, HeapTuple tuple, TupleDesc desc)
{
	TideTreePass *pass = arg;
	bool		isnull;
	ItemPointer tid = (ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 1, &isnull));
	int64		sign = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
	Datum		members = SPI_getbinval(tuple, desc, 3, &isnull);
	MemoryContext old;

	if (hash_search(pass->joined->rows, tid, HASH_FIND, NULL) != NULL)
		return;
	if (!ItemPointerIsValid(&pass->tid) || !ItemPointerEquals(&pass->tid, tid))
	{
		finish_row(pass);
		start_row(pass, tid);
	}
	old = MemoryContextSwitchTo(pass->context);
	count_parent(pass, members, sign < 0 ? -1 : 1);
	MemoryContextSwitchTo(old);
}

/* a row of R that satisfies the subfilter, or is in the window */
static void
take_holds(void *arg, HeapTuple tuple, TupleDesc desc)
{
	TideTreePass *pass = arg;
	bool		isnull;
	Datum		tid = SPI_getbinval(tuple, desc, 1, &isnull);
	TideTreeRow *row = hash_search(pass->joined->rows, DatumGetPointer(tid), HASH_FIND, NULL);

	if (row != NULL)
		row->holds = true;
}

/* rows of R by place, so that shadow pages are visited in order */
static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

/* write the rows of R that no parent was found for; of a root, all */
static void
write_rest(TideTreePass *pass)
{
	TideJoined *joined = pass->joined;
	int			n = hash_get_num_entries(joined->rows);
	ItemPointerData *tids = palloc(sizeof(ItemPointerData) * Max(n, 1));
	HASH_SEQ_STATUS status;
	TideTreeRow *row;

	n = 0;
	hash_seq_init(&status, joined->rows);
	while ((row = hash_seq_search(&status)) != NULL)
		if (joined->parent == NULL || !row->holds)
			tids[n++] = row->tid;
	qsort(tids, n, sizeof(ItemPointerData), compare_tids);
	for (int i = 0; i < n; i++)
	{
		start_row(pass, &tids[i]);
		row = hash_search(joined->rows, &tids[i], HASH_FIND, NULL);
		if (joined->parent == NULL && row->holds)
		{
			MemoryContext old = MemoryContextSwitchTo(pass->context);
			TideSpiFrame frame;
			TupleTableSlot *slot;

			tide_node_eval_begin(joined->eval, &frame);
			slot = tide_tree_fetch(joined, &tids[i]);
			count_keys(pass, NULL,
					   tide_node_eval_keys(joined->eval, slot->tts_values, slot->tts_isnull), 1);
			tide_node_eval_end(joined->eval, &frame);
			for (int c = 0; c < pass->counts.n; c++)
				pass->counts.counts[c].count = 1;
			ItemPointerCopy(&tids[i], &pass->tid);
			MemoryContextSwitchTo(old);
		}
		finish_row(pass);
	}
	pfree(tids);
}

static void
recompute(TideTreePass *pass)
{
	TideJoined *joined = pass->joined;
	TideTreeInputs inputs = {0};

	if (hash_get_num_entries(joined->rows) == 0)
		return;
	pass->absolute = true;
	ItemPointerSetInvalid(&pass->tid);
	if (joined->recompute_sql != NULL)
	{
		tide_tree_rows_input(joined, &inputs);
		tide_tree_run(pass->in, joined, joined->recompute_sql, &joined->recompute_plan,
					  &inputs, joined->parent ? take_parent : take_holds, pass);
		finish_row(pass);
		tuplestore_end(inputs.rows);
	}
	else
	{
		HASH_SEQ_STATUS status;
		TideTreeRow *row;

		hash_seq_init(&status, joined->rows);
		while ((row = hash_seq_search(&status)) != NULL)
			row->holds = true;
	}
	write_rest(pass);
}

static void
add_versions(TideTreePass *pass, TideVersions *versions)
{
	TideTreeInputs inputs = {0};

	if (versions == NULL || versions->n == 0)
		return;
	pass->absolute = false;
	ItemPointerSetInvalid(&pass->tid);
	inputs.versions = versions;
	inputs.versions_of = pass->joined->parent->watch;
	tide_tree_run(pass->in, pass->joined, pass->joined->add_sql, &pass->joined->add_plan,
				  &inputs, take_version, pass);
	finish_row(pass);
	CommandCounterIncrement();
}

void
tide_tree_pass(TideIngest *in, TideJoined *joined)
{
	TideTreePass pass = {.in = in,.joined = joined};
	TideShadow *shadow = joined->watch->shadow;
	MemoryContext old = MemoryContextSwitchTo(in->tree_context);
	instr_time	begin;

	pass.context = AllocSetContextCreate(in->tree_context, "tide row of a tree",
										 ALLOCSET_SMALL_SIZES);
	tide_shadow_open(shadow, true);
	if (joined->rows == NULL)
		tide_tree_create_rows(in, joined);
	INSTR_TIME_SET_CURRENT(begin);
	tide_tree_gather(&pass);
	recompute(&pass);
	CommandCounterIncrement();
	if (joined->parent != NULL && joined->node->row_limit == 0)
	{
		add_versions(&pass, joined->parent->watch->versions);
		add_versions(&pass, &joined->parent->moved);
	}
	tide_shadow_close(shadow);
	tide_load_add(in, TIDE_LOAD_SHAPE, joined->shape->shape_id, &begin);
	hash_destroy(joined->rows);
	joined->rows = NULL;
	MemoryContextDelete(pass.context);
	MemoryContextSwitchTo(old);
}

/* a row and its entry that counts: (tid, bucket_id, op_id, hash) */
static void
take_implied(void *arg, HeapTuple tuple, TupleDesc desc)
{
	TideTreePass *pass = arg;
	bool		isnull;
	ItemPointer tid = (ItemPointer) DatumGetPointer(SPI_getbinval(tuple, desc, 1, &isnull));
	MemoryContext old = MemoryContextSwitchTo(pass->context);
	TideMember	member;

	member.bucket_id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
	member.op_id = DatumGetInt64(SPI_getbinval(tuple, desc, 3, &isnull));
	member.hash = (uint32) DatumGetInt64(SPI_getbinval(tuple, desc, 4, &isnull));
	member.count = 1;
	tide_tree_write_member(pass->joined, tid, &member);
	MemoryContextSwitchTo(old);
	MemoryContextReset(pass->context);
}

void
tide_tree_make_explicit(TideIngest *in, TideJoined *joined)
{
	TideTreePass pass = {.in = in,.joined = joined};
	TideShadow *shadow = joined->watch->shadow;
	TideSource *source = shadow->source;
	SPIPlanPtr	plan = NULL;
	TideTreeInputs inputs = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT DISTINCT ON (t.ctid) t.ctid, l.bucket_id, l.op_id, l.hash"
					 " FROM tide_internal.buckets b JOIN tide_shadow.log%d l USING (bucket_id)"
					 " JOIN tide_shadow.t%d t ON true", source->source_id, source->source_id);
	for (int i = 0; i < source->nkeys; i++)
		appendStringInfo(&sql, " AND t.c%d = l.k%d", source->keys[i], i + 1);
	appendStringInfo(&sql, " WHERE b.shape_id = %d AND b.node_id = %d AND l.kind <> 'l' AND l.op_id > t._op"
					 " ORDER BY t.ctid, l.op_id DESC", joined->shape->shape_id,
					 joined->node->node_id);
	pass.context = AllocSetContextCreate(in->tree_context, "tide row of a tree",
										 ALLOCSET_SMALL_SIZES);
	tide_shadow_open(shadow, true);
	tide_tree_run(in, joined, sql.data, &plan, &inputs, take_implied, &pass);
	tide_shadow_close(shadow);
	MemoryContextDelete(pass.context);
	CommandCounterIncrement();
}
