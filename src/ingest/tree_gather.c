/*
 * tree_gather.c
 *	  R: the rows of a joined node that are to be recomputed, and finding them.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "ingest/tree_pass.h"
#include "util/guc.h"

void
tide_tree_create_rows(TideIngest *in, TideJoined *joined)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(ItemPointerData);
	ctl.entrysize = sizeof(TideTreeRow);
	ctl.hcxt = in->tree_context;
	joined->rows = hash_create("tide rows to recompute", 256, &ctl,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

void
tide_tree_add_row(TideIngest *in, TideJoined *joined, ItemPointer tid)
{
	bool		found;
	TideTreeRow *row;

	if (joined->rows == NULL)
		tide_tree_create_rows(in, joined);
	row = hash_search(joined->rows, tid, HASH_ENTER, &found);
	if (!found)
		row->holds = false;
}

static void
add_found_row(void *arg, HeapTuple tuple, TupleDesc desc)
{
	TideTreePass *pass = arg;
	bool		isnull;
	Datum		tid = SPI_getbinval(tuple, desc, 1, &isnull);

	tide_tree_add_row(pass->in, pass->joined, (ItemPointer) DatumGetPointer(tid));
}

void
tide_tree_rows_input(TideJoined *joined, TideTreeInputs *inputs)
{
	HASH_SEQ_STATUS status;
	TideTreeRow *row;

	inputs->rows = tuplestore_begin_heap(false, false, tide_spool_memory);
	hash_seq_init(&status, joined->rows);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		Datum		value = PointerGetDatum(&row->tid);
		bool		isnull = false;

		tuplestore_putvalues(inputs->rows, tide_tree_rows_desc(), &value, &isnull);
		inputs->nrows++;
	}
}

/* rows of the node that changed themselves, where they are now */
static void
gather_own(TideIngest *in, TideJoined *joined)
{
	TideShadow *shadow = joined->watch->shadow;
	TideVersions *versions = joined->watch->versions;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(shadow->desc, &TTSOpsMinimalTuple);

	tuplestore_select_read_pointer(versions->store, 0);
	tuplestore_rescan(versions->store);
	while (tuplestore_gettupleslot(versions->store, true, false, slot))
	{
		Datum		key[INDEX_MAX_KEYS];
		int64		sign;

		slot_getallattrs(slot);
		sign = DatumGetInt64(slot->tts_values[TIDE_SHADOW_OP - 1]);
		if (sign < 0 || ((sign >> 1) & (INT64CONST(1) << joined->bit)) == 0)
			continue;
		for (int i = 0; i < shadow->nkeys; i++)
			key[i] = slot->tts_values[TIDE_SHADOW_FIXED + shadow->key_pos[i]];
		if (tide_shadow_fetch(shadow, key))
			tide_tree_add_row(in, joined, &shadow->fetched->tts_tid);
	}
	tide_shadow_end_fetch(shadow);
	ExecDropSingleTupleTableSlot(slot);
}

/* rows whose window a rival or a parent may have changed */
static void
gather_limited(TideTreePass *pass)
{
	TideIngest *in = pass->in;
	TideJoined *joined = pass->joined;
	TideTreeInputs inputs = {0};
	TideVersions none = {0};

	inputs.versions = tide_tree_has_versions(joined->watch) ? joined->watch->versions : &none;
	inputs.versions_of = joined->watch;
	if (inputs.versions == &none && hash_get_num_entries(joined->rows) == 0)
		return;
	if (none.store == NULL && inputs.versions == &none)
		none.store = tuplestore_begin_heap(false, false, tide_spool_memory);
	tide_tree_rows_input(joined, &inputs);
	tide_tree_run(in, joined, joined->limit_sql, &joined->limit_plan, &inputs, add_found_row,
				  pass);
	tuplestore_end(inputs.rows);
	tide_tree_end_versions(&none);
}

/* children in the windows of parents that came, went or changed */
static void
gather_by_parent(TideTreePass *pass, TideVersions *versions)
{
	TideIngest *in = pass->in;
	TideJoined *joined = pass->joined;
	TideTreeInputs inputs = {0};

	if (versions == NULL || versions->n == 0)
		return;
	inputs.versions = versions;
	inputs.versions_of = joined->parent->watch;
	inputs.nrivals = (joined->watch->versions ? joined->watch->versions->n : 0) +
		hash_get_num_entries(joined->rows);
	tide_tree_run(in, joined, joined->add_sql, &joined->add_plan, &inputs, add_found_row,
				  pass);
}

void
tide_tree_gather(TideTreePass *pass)
{
	TideIngest *in = pass->in;
	TideJoined *joined = pass->joined;
	ListCell   *lc;

	if (!joined->is_direct && tide_tree_has_versions(joined->watch))
		gather_own(in, joined);
	foreach(lc, joined->reaches)
	{
		TideReach  *reach = lfirst(lc);
		TideTreeInputs inputs = {0};

		if (!tide_tree_has_versions(reach->from))
			continue;
		inputs.versions = reach->from->versions;
		inputs.versions_of = reach->from;
		tide_tree_run(in, joined, reach->sql, &reach->plan, &inputs, add_found_row, pass);
	}
	if (joined->window_sql != NULL && in->last_now != in->checkpoint.now)
	{
		TideTreeInputs inputs = {0};

		tide_tree_run(in, joined, joined->window_sql, &joined->window_plan, &inputs,
					  add_found_row, pass);
	}
	if (joined->node->row_limit > 0)
	{
		gather_limited(pass);
		if (joined->parent != NULL)
		{
			gather_by_parent(pass, joined->parent->watch->versions);
			gather_by_parent(pass, &joined->parent->moved);
		}
	}
}
