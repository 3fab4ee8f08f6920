/*
 * carry.c
 *	  An altered table copied anew, with the buckets its shapes have.
 *
 * Used when a source broke but its table and its key are the same: columns came, went, were
 * renamed or changed their type, or rows were rewritten. The table is copied into a new shadow
 * under one snapshot, as for a new source, and each row is compared with the one in the
 * old shadow, as old and new form of each shape see both:
 *
 *	 old bucket	 new bucket
 *	 -			 b			 enter
 *	 b			 b			 change if the JSON shown differs, else nothing
 *	 b			 c			 leave b, enter c
 *	 b			 -			 leave (also rows that are gone)
 *
 * A row without new entries keeps its _op and _members, so what clients have stays valid.
 * The new source has an id of its own: a pull that still reads by an older snapshot must not
 * find the new tables under the old names. The change log is copied along; the tids in
 * it are hints that will miss.
 *
 * The copy is newer than the checkpoint, so the shapes stay "building" until the checkpoint
 * has caught up; pulls leave their buckets as they are meanwhile.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ingest/apply.h"
#include "ingest/build.h"
#include "ingest/carry.h"
#include "ingest/membership.h"
#include "ingest/source_scan.h"
#include "store/members.h"
#include "store/shadow.h"
#include "util/json_writer.h"
#include "util/spi.h"

/* rows of a new table are seen by nobody before it is committed */
#define COPY_OPTIONS	(TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN)

/* a shape's node in both forms */
typedef struct CarryNode
{
	TideNodeEval *was;
	TideNodeEval *is;
	bool		is_same_view;	/* same columns, names and types */
	TideRowWriter *was_writer;
	TideRowWriter *is_writer;
	TideBucket *was_buckets[TIDE_MULTI_INSERT]; /* NULL where _members tells */
	TideBucket *is_buckets[TIDE_MULTI_INSERT];
} CarryNode;

/* a row in the old or new shadow's layout, in the chunk's memory */
typedef struct CarryRow
{
	Datum	   *values;			/* NULL: there is none */
	bool	   *nulls;
} CarryRow;

typedef struct Carry
{
	TideIngest *in;
	TideShadow *old;
	TideShadow *new;
	List	   *nodes;			/* of CarryNode */
	int64		base_op_id;
	MemoryContext chunk;		/* reset after each flush */
	int			nrows;
	CarryRow	olds[TIDE_MULTI_INSERT];
	CarryRow	news[TIDE_MULTI_INSERT];
	TideLogEntry *entries;		/* in the chunk's memory */
	int		   *rows;			/* of the entries */
	int			nentries;
	int			max_entries;
} Carry;

/* what becomes of a row in one node */
typedef enum Fate
{
	FATE_OUT,
	FATE_KEPT,
	FATE_CHANGED,
	FATE_ENTERED
} Fate;

static void carry_nodes(Carry *carry, List *shapes);
static void carry_rows(Carry *carry, Snapshot snapshot);
static void carry_gone(Carry *carry);
static void carry_finish(Carry *carry, List *shapes, int old_id);
static void carry_flush(Carry *carry);
static void carry_evaluate(Carry *carry, bool has_new);
static void plan_row(Carry *carry, int row);

/* one integer from a statement about one integer, as the extension's owner */
static int
run_for(const char *sql, int id)
{
	TideSpiFrame frame;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(id)};
	bool		isnull = true;
	Datum		result = (Datum) 0;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	if (SPI_tuptable != NULL && SPI_processed > 0)
		result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	tide_spi_end(&frame);
	return isnull ? 0 : DatumGetInt32(result);
}

int
tide_carry_begin(const TideSource *source)
{
	return run_for("UPDATE tide_internal.sources SET source_id = DEFAULT"
				   " WHERE source_id = $1 RETURNING source_id", source->source_id);
}

void
tide_carry_source(TideIngest *in, TideSource *source, int new_id, Snapshot snapshot,
				  List *shapes)
{
	TideSource *new_source = palloc(sizeof(TideSource));
	Carry	   *carry = palloc0(sizeof(Carry));
	Relation	rel = table_open(source->relid, NoLock);

	*new_source = *source;
	tide_build_describe(new_source, rel);
	table_close(rel, NoLock);
	new_source->source_id = new_id;
	tide_shadow_create(new_source);
	CommandCounterIncrement();
	(void) run_for(psprintf("INSERT INTO tide_shadow.log%d SELECT * FROM tide_shadow.log%d"
							" WHERE $1 = 0", new_source->source_id, source->source_id), 0);

	carry->in = in;
	carry->old = tide_shadow_load(CurrentMemoryContext, source);
	carry->new = tide_shadow_load(CurrentMemoryContext, new_source);
	carry->chunk = AllocSetContextCreate(CurrentMemoryContext, "tide carry",
										 ALLOCSET_DEFAULT_SIZES);
	carry->base_op_id = ++in->checkpoint.op_id;
	carry_nodes(carry, shapes);
	tide_shadow_open(carry->old, true);
	tide_shadow_open(carry->new, false);
	carry_rows(carry, snapshot);
	tide_shadow_close(carry->new);
	UnregisterSnapshot(snapshot);

	tide_shadow_create_indexes(new_source);
	CommandCounterIncrement();
	tide_shadow_open(carry->new, true);
	carry_gone(carry);
	tide_shadow_close(carry->new);
	tide_shadow_close(carry->old);
	carry_finish(carry, shapes, source->source_id);
}

static const char *
name_of(const TideSource *source, AttrNumber attnum)
{
	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum)
			return source->column_names[i];
	elog(ERROR, "source %d has no column %d", source->source_id, attnum);
}

/* writer of the columns a node shows, of rows in its shadow's layout */
static TideRowWriter *
node_writer(const TideNodeEval *eval)
{
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * eval->ncolumns);
	const char **names = palloc(sizeof(char *) * eval->ncolumns);

	for (int i = 0; i < eval->ncolumns; i++)
	{
		attnums[i] = eval->positions[i] + 1 + TIDE_SHADOW_FIXED;
		names[i] = name_of(eval->shadow->source, eval->node->columns[i]);
	}
	return tide_row_writer_create(CurrentMemoryContext, eval->shadow->desc, attnums, names,
								  eval->ncolumns, NULL);
}

static bool
is_same_view(const TideNodeEval *was, const TideNodeEval *is)
{
	if (was->ncolumns != is->ncolumns)
		return false;
	for (int i = 0; i < is->ncolumns; i++)
	{
		AttrNumber	attnum = is->node->columns[i];
		int			w = was->positions[i] + TIDE_SHADOW_FIXED;
		int			n = is->positions[i] + TIDE_SHADOW_FIXED;

		if (was->node->columns[i] != attnum ||
			TupleDescAttr(was->shadow->desc, w)->atttypid !=
			TupleDescAttr(is->shadow->desc, n)->atttypid ||
			strcmp(name_of(was->shadow->source, attnum),
				   name_of(is->shadow->source, attnum)) != 0)
			return false;
	}
	return true;
}

static void
carry_nodes(Carry *carry, List *shapes)
{
	ListCell   *lc;

	foreach(lc, shapes)
	{
		TideCarried *carried = lfirst(lc);
		CarryNode  *node = palloc0(sizeof(CarryNode));

		node->was = tide_node_eval_create(CurrentMemoryContext, carried->was,
										  linitial(carried->was->nodes), carry->old);
		node->is = tide_node_eval_create(CurrentMemoryContext, carried->is,
										 linitial(carried->is->nodes), carry->new);
		node->is_same_view = is_same_view(node->was, node->is);
		node->was_writer = node_writer(node->was);
		node->is_writer = node_writer(node->is);
		carry->nodes = lappend(carry->nodes, node);

		/* a bucket that holds whatever there is, rows or not */
		if (((TideShapeNode *) linitial(carried->is->nodes))->key_parts == NIL)
			(void) tide_bucket_for_key(carry->in->buckets, carried->is->shape_id, NULL, 0,
									   &carry->in->checkpoint.op_id);
	}
}

static void
make_row(CarryRow *row, int natts)
{
	row->values = palloc(sizeof(Datum) * natts);
	row->nulls = palloc(sizeof(bool) * natts);
}

/* the old shadow's row in slot */
static void
take_old(Carry *carry, CarryRow *row, TupleTableSlot *slot)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	make_row(row, carry->old->desc->natts);
	heap_deform_tuple(ExecCopySlotHeapTuple(slot), carry->old->desc, row->values, row->nulls);
	MemoryContextSwitchTo(context);
}

/* the table's row in slot, in the new shadow's layout */
static void
take_new(Carry *carry, CarryRow *row, TupleTableSlot *slot)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	make_row(row, carry->new->desc->natts);
	heap_deform_tuple(ExecCopySlotHeapTuple(slot), carry->new->desc, row->values, row->nulls);
	row->values[TIDE_SHADOW_OP - 1] = Int64GetDatum(carry->base_op_id);
	row->nulls[TIDE_SHADOW_OP - 1] = false;
	row->values[TIDE_SHADOW_MEMBERS - 1] = (Datum) 0;
	row->nulls[TIDE_SHADOW_MEMBERS - 1] = true;
	MemoryContextSwitchTo(context);
}

/* the table's rows, each beside the old one with its key */
static void
carry_rows(Carry *carry, Snapshot snapshot)
{
	TideSourceScan *scan = tide_source_scan_begin(carry->in, carry->new, snapshot, false);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(carry->new->desc, &TTSOpsVirtual);
	Datum		key[INDEX_MAX_KEYS];

	while (tide_source_scan_next(scan, slot))
	{
		CarryRow   *new = &carry->news[carry->nrows];
		CarryRow   *old = &carry->olds[carry->nrows];

		take_new(carry, new, slot);
		for (int i = 0; i < carry->new->nkeys; i++)
			key[i] = new->values[carry->new->key_pos[i] + TIDE_SHADOW_FIXED];
		old->values = NULL;
		if (tide_shadow_fetch(carry->old, key))
			take_old(carry, old, carry->old->fetched);
		if (++carry->nrows == TIDE_MULTI_INSERT)
			carry_flush(carry);
	}
	carry_flush(carry);
	tide_shadow_end_fetch(carry->old);
	ExecDropSingleTupleTableSlot(slot);
	tide_source_scan_end(scan);
}

/* which nodes' buckets hold a row, in both forms; each node as its shape's owner */
static void
carry_evaluate(Carry *carry, bool has_new)
{
	ListCell   *lc;

	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);
		int64	   *op_id = &carry->in->checkpoint.op_id;
		TideSpiFrame frame;

		tide_node_eval_begin(node->is, &frame);
		for (int i = 0; i < carry->nrows; i++)
			node->is_buckets[i] = !has_new ? NULL :
				tide_node_eval_bucket(node->is, carry->in->buckets,
									  carry->news[i].values, carry->news[i].nulls, op_id);
		tide_node_eval_end(node->is, &frame);

		tide_node_eval_begin(node->was, &frame);
		for (int i = 0; i < carry->nrows; i++)
		{
			CarryRow   *old = &carry->olds[i];

			node->was_buckets[i] = NULL;
			if (old->values != NULL && node->was->shape->built_op_id >=
				DatumGetInt64(old->values[TIDE_SHADOW_OP - 1]))
				node->was_buckets[i] = tide_node_eval_bucket(node->was, carry->in->buckets,
															 old->values, old->nulls, op_id);
		}
		tide_node_eval_end(node->was, &frame);
	}
}

static void
carry_flush(Carry *carry)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	CHECK_FOR_INTERRUPTS();
	if (carry->nrows > 0)
		carry_evaluate(carry, true);
	for (int i = 0; i < carry->nrows; i++)
	{
		TupleTableSlot *slot = tide_shadow_slot(carry->new, i);
		int			natts = carry->new->desc->natts;

		plan_row(carry, i);
		memcpy(slot->tts_values, carry->news[i].values, sizeof(Datum) * natts);
		memcpy(slot->tts_isnull, carry->news[i].nulls, sizeof(bool) * natts);
		ExecStoreVirtualTuple(slot);
	}
	tide_shadow_insert(carry->new, carry->nrows, COPY_OPTIONS);
	for (int i = 0; i < carry->nentries; i++)
		carry->entries[i].tid = carry->new->slots[carry->rows[i]]->tts_tid;
	tide_log_append(carry->new, carry->entries, carry->nentries, COPY_OPTIONS);
	MemoryContextSwitchTo(context);
	MemoryContextReset(carry->chunk);
	carry->entries = NULL;
	carry->nrows = carry->nentries = carry->max_entries = 0;
	if (tide_buckets_are_many(carry->in->buckets))
	{
		tide_buckets_flush(carry->in->buckets);
		CommandCounterIncrement();
	}
}

/* old: the membership it replaces, or NULL */
static int64
add_entry(Carry *carry, int row, TideBucket *bucket, char kind, uint32 hash,
		  const TideMember *old, Datum *columns)
{
	TideLogEntry *entry;

	if (carry->entries == NULL)
	{
		carry->max_entries = TIDE_MULTI_INSERT;
		carry->entries = palloc(sizeof(TideLogEntry) * carry->max_entries);
		carry->rows = palloc(sizeof(int) * carry->max_entries);
	}
	else if (carry->nentries == carry->max_entries)
	{
		carry->max_entries *= 2;
		carry->entries = repalloc(carry->entries, sizeof(TideLogEntry) * carry->max_entries);
		carry->rows = repalloc(carry->rows, sizeof(int) * carry->max_entries);
	}
	carry->rows[carry->nentries] = row;
	entry = &carry->entries[carry->nentries++];
	entry->bucket_id = bucket->bucket_id;
	entry->op_id = ++carry->in->checkpoint.op_id;
	entry->kind = kind;
	entry->hash = hash;
	ItemPointerSetInvalid(&entry->tid);
	entry->columns = columns;
	tide_bucket_count(carry->in->buckets, bucket,
					  kind == TIDE_LOG_ENTER ? 1 : kind == TIDE_LOG_LEAVE ? -1 : 0,
					  hash, old ? old->hash : 0, entry->op_id);
	return entry->op_id;
}

/* the buckets that held the row: those of _members, and (op_id 0) those it implies */
static int
old_members(Carry *carry, int row, TideMember **members)
{
	CarryRow   *old = &carry->olds[row];
	struct varlena *packed = NULL;
	int			n = 0;
	ListCell   *lc;

	if (old->values == NULL)
		return 0;
	if (!old->nulls[TIDE_SHADOW_MEMBERS - 1])
		packed = PG_DETOAST_DATUM_PACKED(old->values[TIDE_SHADOW_MEMBERS - 1]);
	*members = palloc(sizeof(TideMember) * ((packed ? tide_members_count(packed) : 0) +
											list_length(carry->nodes) + 1));
	for (int i = 0; packed && i < tide_members_count(packed); i++)
		(*members)[n++] = tide_members_get(packed, i);
	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);

		if (node->was_buckets[row] == NULL)
			continue;
		(*members)[n].bucket_id = node->was_buckets[row]->bucket_id;
		(*members)[n].op_id = 0;
		(*members)[n++].hash = tide_node_eval_hash(node->was, old->values, old->nulls, NULL);
	}
	return n;
}

/* whether what the node shows of the row differs, as JSON */
static bool
shows_change(Carry *carry, CarryNode *node, int row)
{
	CarryRow   *old = &carry->olds[row];
	CarryRow   *new = &carry->news[row];
	StringInfoData was;
	StringInfoData is;
	bool		any = false;

	for (int i = 0; node->is_same_view && i < node->is->ncolumns; i++)
	{
		int			w = node->was->positions[i] + TIDE_SHADOW_FIXED;
		int			n = node->is->positions[i] + TIDE_SHADOW_FIXED;
		Form_pg_attribute att = TupleDescAttr(carry->new->desc, n);

		any |= old->nulls[w] != new->nulls[n] ||
			(!old->nulls[w] && !datum_image_eq(old->values[w], new->values[n],
											   att->attbyval, att->attlen));
	}
	if (node->is_same_view)
		return any;
	initStringInfo(&was);
	initStringInfo(&is);
	tide_row_writer_write(node->was_writer, &was, old->values, old->nulls, NULL);
	tide_row_writer_write(node->is_writer, &is, new->values, new->nulls, NULL);
	return was.len != is.len || memcmp(was.data, is.data, is.len) != 0;
}

/* *was: the membership that goes on, or NULL */
static Fate
fate_in_node(Carry *carry, CarryNode *node, int row, TideMember *old, int nold,
			 TideMember **was)
{
	CarryRow   *new = &carry->news[row];

	*was = NULL;
	if (node->is_buckets[row] == NULL)
		return FATE_OUT;
	for (int i = 0; i < nold; i++)
		if (old[i].bucket_id == node->is_buckets[row]->bucket_id)
			*was = &old[i];
	if (*was == NULL)
		return FATE_ENTERED;
	if (shows_change(carry, node, row))
		return FATE_CHANGED;

	/* what is implied must be so by the new form as well, hash included */
	if ((*was)->op_id == 0 && (*was)->hash !=
		tide_node_eval_hash(node->is, new->values, new->nulls, NULL))
		return FATE_CHANGED;
	return FATE_KEPT;
}

/* columns of the new layout that hold the old row's key */
static Datum *
old_key(Carry *carry, int row)
{
	Datum	   *columns = palloc0(sizeof(Datum) * carry->new->ncolumns);

	for (int i = 0; i < carry->new->nkeys; i++)
		columns[carry->new->key_pos[i]] =
			carry->olds[row].values[carry->old->key_pos[i] + TIDE_SHADOW_FIXED];
	return columns;
}

/* whether old and new row have the same key bit for bit: else it is another to clients */
static bool
is_same_key(Carry *carry, int row)
{
	for (int i = 0; i < carry->new->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(carry->new->key_desc, i);

		if (!datum_image_eq(carry->olds[row].values[carry->old->key_pos[i] + TIDE_SHADOW_FIXED],
							carry->news[row].values[carry->new->key_pos[i] + TIDE_SHADOW_FIXED],
							att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* entries for the buckets the row is in no more; whether there were any */
static bool
plan_leaves(Carry *carry, int row, TideMember *old, int nold, TideMember **kept, int nkept,
			Datum *columns)
{
	bool		any = false;

	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket;
		bool		stays = false;

		for (int e = 0; e < nkept; e++)
			stays |= kept[e] == &old[i];
		bucket = stays ? NULL : tide_bucket_by_id(carry->in->buckets, old[i].bucket_id);
		if (bucket == NULL)
			continue;
		(void) add_entry(carry, row, bucket, TIDE_LOG_LEAVE, 0, &old[i], columns);
		any = true;
	}
	return any;
}

/* entries of one row, and what its shadow row says of them */
static void
plan_row(Carry *carry, int row)
{
	CarryRow   *after = &carry->news[row];
	CarryRow   *before = &carry->olds[row];
	int			n = list_length(carry->nodes);
	Fate	   *fates = palloc(sizeof(Fate) * (n + 1));
	TideMember **was = palloc0(sizeof(TideMember *) * (n + 1));
	bytea	   *packed = palloc(VARHDRSZ + TIDE_MEMBER_SIZE * (n + 1));
	Datum	   *columns = after->values + TIDE_SHADOW_FIXED;
	TideMember *old = NULL;
	int			nold = old_members(carry, row, &old);
	int			nnew = 0;
	bool		any = false;
	bool		goes_on = before->values != NULL && is_same_key(carry, row);

	for (int e = 0; e < n; e++)
	{
		fates[e] = fate_in_node(carry, list_nth(carry->nodes, e), row, old,
								goes_on ? nold : 0, &was[e]);
		any |= fates[e] > FATE_KEPT;
	}
	if (nold > 0)
		any |= plan_leaves(carry, row, old, nold, was, n, old_key(carry, row));
	if (!any)
	{
		if (before->values != NULL)
		{
			after->values[TIDE_SHADOW_OP - 1] = before->values[TIDE_SHADOW_OP - 1];
			after->values[TIDE_SHADOW_MEMBERS - 1] = before->values[TIDE_SHADOW_MEMBERS - 1];
			after->nulls[TIDE_SHADOW_MEMBERS - 1] = before->nulls[TIDE_SHADOW_MEMBERS - 1];
		}
		return;
	}
	for (int e = 0; e < n; e++)
	{
		CarryNode  *node = list_nth(carry->nodes, e);
		TideMember	member;

		if (fates[e] == FATE_OUT)
			continue;
		if (fates[e] == FATE_KEPT && was[e]->op_id > 0)
			member = *was[e];
		else
		{
			/* op_id 0: an implied one is superseded by writing _members */
			member.bucket_id = node->is_buckets[row]->bucket_id;
			member.hash = tide_node_eval_hash(node->is, after->values, after->nulls,
											  NULL);
			member.op_id = add_entry(carry, row, node->is_buckets[row],
									 was[e] ? TIDE_LOG_CHANGE : TIDE_LOG_ENTER,
									 member.hash, was[e], columns);
		}
		tide_members_put(VARDATA(packed), nnew++, &member);
	}
	SET_VARSIZE(packed, VARHDRSZ + TIDE_MEMBER_SIZE * nnew);
	after->values[TIDE_SHADOW_MEMBERS - 1] = PointerGetDatum(packed);
	after->nulls[TIDE_SHADOW_MEMBERS - 1] = nnew == 0;
	after->values[TIDE_SHADOW_OP - 1] = Int64GetDatum(carry->in->checkpoint.op_id);
}

/* leaves of the rows gathered, which the new shadow has not */
static void
gone_flush(Carry *carry)
{
	MemoryContext context = MemoryContextSwitchTo(carry->chunk);

	if (carry->nrows > 0)
		carry_evaluate(carry, false);
	for (int i = 0; i < carry->nrows; i++)
	{
		TideMember *old = NULL;
		int			nold = old_members(carry, i, &old);

		(void) plan_leaves(carry, i, old, nold, NULL, 0, old_key(carry, i));
	}
	tide_log_append(carry->new, carry->entries, carry->nentries, 0);
	MemoryContextSwitchTo(context);
	MemoryContextReset(carry->chunk);
	carry->entries = NULL;
	carry->nrows = carry->nentries = carry->max_entries = 0;
}

static void
carry_gone(Carry *carry)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(carry->old->heap, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(carry->old->heap, NULL);
	Datum		key[INDEX_MAX_KEYS];

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		for (int i = 0; i < carry->old->nkeys; i++)
			key[i] = slot->tts_values[carry->old->key_pos[i] + TIDE_SHADOW_FIXED];
		if (tide_shadow_fetch(carry->new, key))
			continue;
		take_old(carry, &carry->olds[carry->nrows], slot);
		if (++carry->nrows == TIDE_MULTI_INSERT)
		{
			tide_shadow_end_fetch(carry->new);
			gone_flush(carry);
		}
	}
	tide_shadow_end_fetch(carry->new);
	gone_flush(carry);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/* the new source takes the old one's place; the checkpoint's LSN has not moved */
static void
carry_finish(Carry *carry, List *shapes, int old_id)
{
	ListCell   *lc;

	(void) tide_shadow_drop(old_id);
	tide_buckets_flush(carry->in->buckets);
	tide_catalog_set_source_live(carry->new->source);
	foreach(lc, shapes)
	{
		TideShape  *is = ((TideCarried *) lfirst(lc))->is;

		tide_catalog_set_shape_state(is->shape_id, TIDE_SHAPE_BUILDING, is->built_op_id, NULL);
	}
	tide_checkpoint_store(carry->in);
}
