/*
 * tree.c
 *	  Joined nodes: loading them, and their part of each batch.
 *
 * doc/shapes.md has the method. Per batch: apply.c notes the versions of rows that came and
 * went (tide_tree_note_delta), then each node, parents first, gathers the rows to
 * recompute, recomputes them, and adds what its parents' versions bring to the others. All
 * statements read the shadow tables as of the batch's end and go through indexes, so
 * that their cost is that of what they find.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ingest/build.h"
#include "ingest/load.h"
#include "ingest/tree.h"
#include "store/members.h"
#include "util/guc.h"
#include "util/spi.h"

/* rows taken from a cursor at a time */
#define FETCH_ROWS		1000

/* bits of own changes there are; later nodes of a table share the last */
#define OWN_BITS		60

/* a statement's named relations and arguments */
typedef struct Inputs
{
	TideVersions *versions;		/* "tide_versions", or NULL */
	TideWatch  *versions_of;	/* whose layout they have */
	Tuplestorestate *rows;		/* "tide_rows", or NULL */
	int64		nrows;
	int64		nrivals;		/* $3: how many rows may have come before another */
} Inputs;

/* $1: time of the checkpoint, $2: of the one before, $3: see nrivals */
#define NARGS			3
static Oid	arg_types[NARGS] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};

typedef void (*ResultCallback) (void *arg, HeapTuple tuple, TupleDesc desc);

/* the pass of one node */
typedef struct Pass
{
	TideIngest *in;
	TideJoined *joined;
	MemoryContext context;		/* of one row */
	TideTreeCounts counts;		/* of the row whose results are coming in */
	ItemPointerData tid;		/* that row */
	bool		absolute;		/* counts are new ones, not to be added */
} Pass;

static HTAB *create_rows(TideIngest *in);
static TupleDesc rows_desc(void);

/* ---- loading ---- */

static TideWatch *
watch_of_relid(TideIngest *in, Oid relid)
{
	return hash_search(in->watches, &relid, HASH_FIND, NULL);
}

/* have versions of the table's rows noted */
void
tide_tree_use(TideWatch *watch, int position)
{
	TideShadow *shadow = watch->shadow;

	if (watch->joins == NULL)
	{
		watch->joins = palloc0(sizeof(bool) * Max(shadow->ncolumns, 1));
		watch->versions = palloc0(sizeof(TideVersions));
		for (int i = 0; i < shadow->nkeys; i++)
			watch->joins[shadow->key_pos[i]] = true;
	}
	if (position >= 0)
		watch->joins[position] = true;
}

static TideJoined *
make_joined(TideIngest *in, TideShape *shape, TideShapeNode *node, List *before)
{
	TideJoined *joined = palloc0(sizeof(TideJoined));
	ListCell   *lc;

	joined->shape = shape;
	joined->node = node;
	joined->watch = watch_of_relid(in, node->relid);
	joined->eval = tide_node_eval_create(in->watch_context, shape, node,
										 joined->watch->shadow);
	joined->is_direct = tide_node_is_direct(node);
	foreach(lc, before)
	{
		TideJoined *other = lfirst(lc);

		if (other->node->node_id == node->parent_id)
		{
			joined->parent = other;
			other->has_children = true;
			tide_tree_use(other->watch, -1);
		}
	}
	joined->bit = Min(list_length(joined->watch->joined), OWN_BITS - 1);
	joined->watch->joined = lappend(joined->watch->joined, joined);
	joined->decides = palloc0(sizeof(bool) * Max(joined->watch->shadow->ncolumns, 1));
	return joined;
}

void
tide_tree_load(TideIngest *in, TideShape *shape)
{
	List	   *joined = NIL;
	ListCell   *lc;

	foreach(lc, shape->nodes)
		joined = lappend(joined, make_joined(in, shape, lfirst(lc), joined));
	tide_evaluating_shape = shape->shape_id;
	foreach(lc, joined)
		tide_tree_make_sql(in, lfirst(lc));
	tide_evaluating_shape = 0;
	foreach(lc, joined)
	{
		TideJoined *node = lfirst(lc);

		if (node->is_direct)
			tide_watch_add_eval(in, node->watch, node->eval);
	}
	in->trees = list_concat(in->trees, joined);
}

void
tide_tree_unload(TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->tree_plans)
		SPI_freeplan(lfirst(lc));
	list_free(in->tree_plans);
	in->tree_plans = NIL;
	in->trees = NIL;
}

TideJoined *
tide_tree_of_bucket(const TideWatch *watch, const TideBucket *bucket)
{
	ListCell   *lc;

	foreach(lc, watch->joined)
	{
		TideJoined *joined = lfirst(lc);

		if (joined->shape->shape_id == bucket->shape_id &&
			joined->node->node_id == bucket->node_id)
			return joined;
	}
	return NULL;
}

/* ---- versions ---- */

/* bits of the nodes whose rows it concerns */
static int64
own_mask(const TideDelta *delta)
{
	int64		mask = 0;
	ListCell   *lc;

	foreach(lc, delta->watch->joined)
	{
		TideJoined *joined = lfirst(lc);
		bool		concerned = !delta->existed || delta->key_changed;


		if (joined->is_direct)
			continue;
		for (int i = 0; !concerned && i < delta->watch->shadow->ncolumns; i++)
			concerned = joined->decides[i] && delta->changed[i];
		if (concerned)
			mask |= INT64CONST(1) << joined->bit;
	}
	return mask;
}

void
tide_tree_note_delta(TideIngest *in, const TideDelta *delta)
{
	TideWatch  *watch = delta->watch;
	bool		differs = delta->buckets_differ || !delta->existed || !delta->exists ||
		delta->key_changed;

	for (int i = 0; !differs && i < watch->shadow->ncolumns; i++)
		differs = watch->joins[i] && delta->changed[i];
	if (!differs)
		return;
	if (delta->existed)
		tide_tree_put_version(in, watch->versions, watch, -1, delta->before,
							  delta->before_nulls);
	if (delta->exists)
		tide_tree_put_version(in, watch->versions, watch, 1 + (own_mask(delta) << 1),
							  delta->after, delta->after_nulls);
}

static void
end_versions(TideVersions *versions)
{
	if (versions != NULL && versions->store != NULL)
	{
		tuplestore_end(versions->store);
		versions->store = NULL;
		versions->n = 0;
	}
}

void
tide_tree_reset(TideIngest *in)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	ListCell   *lc;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
		end_versions(watch->versions);
	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		end_versions(&joined->moved);
		joined->rows = NULL;
	}
	MemoryContextReset(in->tree_context);
}

/* ---- statements ---- */

int
tide_tree_settings_push(void)
{
	static const char *const off[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin",
	"enable_material", "enable_memoize", "jit"};
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("plan_cache_mode", "force_generic_plan", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

static void
name_relation(const char *name, TupleDesc desc, Tuplestorestate *store, int64 n)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = n;
	enr->reldata = store;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"%s\"", name);
}

static void
name_relations(const Inputs *inputs)
{
	/* few rows are assumed: the statements go through indexes whatever their number */
	if (inputs->versions != NULL)
		name_relation("tide_versions", inputs->versions_of->shadow->desc,
					  inputs->versions->store, 10);
	if (inputs->rows != NULL)
		name_relation("tide_rows", rows_desc(), inputs->rows, 10);
}

/* run a statement of a node, prepared once, and hand its rows to the callback */
static void
run_statement(TideIngest *in, TideJoined *joined, const char *sql, SPIPlanPtr *plan,
			  Inputs *inputs, ResultCallback callback, void *arg)
{
	TideSpiFrame frame;
	Portal		portal;
	Datum		args[NARGS] = {TimestampTzGetDatum(in->checkpoint.at),
		TimestampTzGetDatum(in->last_at), Int64GetDatum(inputs->nrivals)};

	tide_evaluating_shape = joined->shape->shape_id;
	PushActiveSnapshot(GetLatestSnapshot());
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	name_relations(inputs);
	if (*plan == NULL)
	{
		MemoryContext old;
		SPIPlanPtr	prepared = SPI_prepare(sql, NARGS, arg_types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
		*plan = prepared;
		old = MemoryContextSwitchTo(in->context);
		in->tree_plans = lappend(in->tree_plans, prepared);
		MemoryContextSwitchTo(old);
	}
	portal = SPI_cursor_open(NULL, *plan, args, NULL, true);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
			callback(arg, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		if (SPI_processed == 0)
			break;
		SPI_freetuptable(SPI_tuptable);
	} while (true);
	SPI_cursor_close(portal);
	tide_spi_end(&frame);
	PopActiveSnapshot();
	tide_evaluating_shape = 0;
}

/* ---- R ---- */

static HTAB *
create_rows(TideIngest *in)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(ItemPointerData);
	ctl.entrysize = sizeof(TideTreeRow);
	ctl.hcxt = in->tree_context;
	return hash_create("tide rows to recompute", 256, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static TupleDesc
rows_desc(void)
{
	static TupleDesc desc = NULL;

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		desc = CreateTemplateTupleDesc(1);
		TupleDescInitEntry(desc, 1, "tid", TIDOID, -1, 0);
		MemoryContextSwitchTo(old);
	}
	return desc;
}

void
tide_tree_add_row(TideIngest *in, TideJoined *joined, ItemPointer tid)
{
	bool		found;
	TideTreeRow *row;

	if (joined->rows == NULL)
		joined->rows = create_rows(in);
	row = hash_search(joined->rows, tid, HASH_ENTER, &found);
	if (!found)
		row->holds = false;
}

static void
add_found_row(void *arg, HeapTuple tuple, TupleDesc desc)
{
	Pass	   *pass = arg;
	bool		isnull;
	Datum		tid = SPI_getbinval(tuple, desc, 1, &isnull);

	tide_tree_add_row(pass->in, pass->joined, (ItemPointer) DatumGetPointer(tid));
}

/* R as a relation */
static void
rows_input(TideJoined *joined, Inputs *inputs)
{
	HASH_SEQ_STATUS status;
	TideTreeRow *row;

	inputs->rows = tuplestore_begin_heap(false, false, tide_spool_memory);
	hash_seq_init(&status, joined->rows);
	while ((row = hash_seq_search(&status)) != NULL)
	{
		Datum		value = PointerGetDatum(&row->tid);
		bool		isnull = false;

		tuplestore_putvalues(inputs->rows, rows_desc(), &value, &isnull);
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

static bool
has_versions(const TideWatch *watch)
{
	return watch->versions != NULL && watch->versions->n > 0;
}

/* rows whose window a rival or a parent may have changed */
static void
gather_limited(Pass *pass)
{
	TideIngest *in = pass->in;
	TideJoined *joined = pass->joined;
	Inputs		inputs = {0};
	TideVersions none = {0};

	inputs.versions = has_versions(joined->watch) ? joined->watch->versions : &none;
	inputs.versions_of = joined->watch;
	if (inputs.versions == &none && hash_get_num_entries(joined->rows) == 0)
		return;
	if (none.store == NULL && inputs.versions == &none)
		none.store = tuplestore_begin_heap(false, false, tide_spool_memory);
	rows_input(joined, &inputs);
	run_statement(in, joined, joined->limit_sql, &joined->limit_plan, &inputs, add_found_row,
				  pass);
	tuplestore_end(inputs.rows);
	end_versions(&none);
}

/* children in the windows of parents that came, went or changed */
static void
gather_by_parent(Pass *pass, TideVersions *versions)
{
	TideIngest *in = pass->in;
	TideJoined *joined = pass->joined;
	Inputs		inputs = {0};

	if (versions == NULL || versions->n == 0)
		return;
	inputs.versions = versions;
	inputs.versions_of = joined->parent->watch;
	inputs.nrivals = (joined->watch->versions ? joined->watch->versions->n : 0) +
		hash_get_num_entries(joined->rows);
	run_statement(in, joined, joined->add_sql, &joined->add_plan, &inputs, add_found_row,
				  pass);
}

static void
gather(Pass *pass)
{
	TideIngest *in = pass->in;
	TideJoined *joined = pass->joined;
	ListCell   *lc;

	if (!joined->is_direct && has_versions(joined->watch))
		gather_own(in, joined);
	foreach(lc, joined->reaches)
	{
		TideReach  *reach = lfirst(lc);
		Inputs		inputs = {0};

		if (!has_versions(reach->from))
			continue;
		inputs.versions = reach->from->versions;
		inputs.versions_of = reach->from;
		run_statement(in, joined, reach->sql, &reach->plan, &inputs, add_found_row, pass);
	}
	if (joined->window_sql != NULL && in->last_at != in->checkpoint.at)
	{
		Inputs		inputs = {0};

		run_statement(in, joined, joined->window_sql, &joined->window_plan, &inputs,
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

/* ---- the pass of a node ---- */

/* the node's bucket for each key tuple of the row below this parent's bucket, or of a root */
static void
count_keys(Pass *pass, const TideBucket *above, List *tuples, int64 count)
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
count_parent(Pass *pass, Datum members, int64 count)
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
apply_own_keys(Pass *pass, TupleTableSlot *row)
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
start_row(Pass *pass, ItemPointer tid)
{
	MemoryContextReset(pass->context);
	memset(&pass->counts, 0, sizeof(TideTreeCounts));
	pass->tid = *tid;
}

/* write the row whose results have come in */
static void
finish_row(Pass *pass)
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
	Pass	   *pass = arg;
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
	Pass	   *pass = arg;
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
	Pass	   *pass = arg;
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
write_rest(Pass *pass)
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
recompute(Pass *pass)
{
	TideJoined *joined = pass->joined;
	Inputs		inputs = {0};

	if (hash_get_num_entries(joined->rows) == 0)
		return;
	pass->absolute = true;
	ItemPointerSetInvalid(&pass->tid);
	if (joined->recompute_sql != NULL)
	{
		rows_input(joined, &inputs);
		run_statement(pass->in, joined, joined->recompute_sql, &joined->recompute_plan,
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
add_versions(Pass *pass, TideVersions *versions)
{
	Inputs		inputs = {0};

	if (versions == NULL || versions->n == 0)
		return;
	pass->absolute = false;
	ItemPointerSetInvalid(&pass->tid);
	inputs.versions = versions;
	inputs.versions_of = pass->joined->parent->watch;
	run_statement(pass->in, pass->joined, pass->joined->add_sql, &pass->joined->add_plan,
				  &inputs, take_version, pass);
	finish_row(pass);
	CommandCounterIncrement();
}

void
tide_tree_pass(TideIngest *in, TideJoined *joined)
{
	Pass		pass = {.in = in, .joined = joined};
	TideShadow *shadow = joined->watch->shadow;
	MemoryContext old = MemoryContextSwitchTo(in->tree_context);
	instr_time	begin;

	pass.context = AllocSetContextCreate(in->tree_context, "tide row of a tree",
										 ALLOCSET_SMALL_SIZES);
	tide_shadow_open(shadow, true);
	if (joined->rows == NULL)
		joined->rows = create_rows(in);
	INSTR_TIME_SET_CURRENT(begin);
	gather(&pass);
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
	Pass	   *pass = arg;
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
	Pass		pass = {.in = in, .joined = joined};
	TideShadow *shadow = joined->watch->shadow;
	TideSource *source = shadow->source;
	SPIPlanPtr	plan = NULL;
	Inputs		inputs = {0};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT DISTINCT ON (t.ctid) t.ctid, l.bucket_id, l.op_id, l.hash"
					 " FROM tide_internal.buckets b JOIN tide_shadow.log%d l USING (bucket_id)"
					 " JOIN tide_shadow.t%d t ON true", source->source_id, source->source_id);
	for (int i = 0; i < source->nkeys; i++)
		appendStringInfo(&sql, " AND t.c%d = l.k%d", source->keys[i], i + 1);
	appendStringInfo(&sql, " WHERE b.shape_id = %d AND l.kind <> 'l' AND l.op_id > t._op"
					 " ORDER BY t.ctid, l.op_id DESC", joined->shape->shape_id);
	pass.context = AllocSetContextCreate(in->tree_context, "tide row of a tree",
										 ALLOCSET_SMALL_SIZES);
	tide_shadow_open(shadow, true);
	run_statement(in, joined, sql.data, &plan, &inputs, take_implied, &pass);
	tide_shadow_close(shadow);
	MemoryContextDelete(pass.context);
	CommandCounterIncrement();
}

/* whether anything in the batch may concern the node */
static bool
is_concerned(const TideIngest *in, const TideJoined *joined)
{
	ListCell   *lc;

	if (joined->is_direct)
		return false;
	if (has_versions(joined->watch) ||
		(joined->window_sql != NULL && in->last_at != in->checkpoint.at))
		return true;
	if (joined->parent != NULL &&
		(has_versions(joined->parent->watch) || joined->parent->moved.n > 0))
		return true;
	foreach(lc, joined->reaches)
		if (has_versions(((TideReach *) lfirst(lc))->from))
			return true;
	return false;
}

void
tide_tree_apply(TideIngest *in)
{
	int			nest_level = 0;
	ListCell   *lc;

	foreach(lc, in->trees)
	{
		TideJoined *joined = lfirst(lc);

		if (!is_concerned(in, joined))
			continue;
		if (nest_level == 0)
			nest_level = tide_tree_settings_push();
		tide_tree_pass(in, joined);
	}
	if (nest_level != 0)
		AtEOXact_GUC(false, nest_level);
	tide_tree_reset(in);
}
