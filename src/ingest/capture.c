/*
 * capture.c
 *	  Decoding callbacks of the ingest: changes into the batch.
 *
 * Runs under a historic snapshot: only catalogs may be read and nothing written. Called
 * for whole committed transactions, in commit order. Rows of sources go to the batch's
 * tuplestore; rows of tide_internal.clients tell what has been acknowledged; a change to
 * tide_internal.shapes ends the batch and has the shapes read anew.
 *
 * A change that does not fit the source's columns (ALTER TABLE), or has no key
 * (REPLICA IDENTITY changed) breaks the source: it is rebuilt before reading on.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "replication/origin.h"
#include "replication/output_plugin.h"
#include "replication/reorderbuffer.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "ingest/altered.h"
#include "ingest/batch.h"
#include "ingest/capture.h"
#include "ingest/ddl_message.h"
#include "ingest/ingest.h"
#include "util/compat.h"

/* columns of tide_internal.clients */
#define CLIENTS_ID			0
#define CLIENTS_LAST_ID		1

static void capture_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options,
							bool is_init);
static void capture_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void capture_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						   XLogRecPtr commit_lsn);
static void capture_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						   Relation rel, ReorderBufferChange *change);
static void capture_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							 int nrelations, Relation relations[],
							 ReorderBufferChange *change);
static void capture_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							XLogRecPtr message_lsn, bool transactional,
							const char *prefix, Size size, const char *message);
static bool capture_skip_origin(LogicalDecodingContext *ctx, RepOriginId origin);
static void check_altered(TideIngest *in, ReorderBufferTXN *txn);

void
tide_capture_callbacks(OutputPluginCallbacks *cb)
{
	cb->startup_cb = capture_startup;
	cb->begin_cb = capture_begin;
	cb->change_cb = capture_change;
	cb->truncate_cb = capture_truncate;
	cb->commit_cb = capture_commit;
	cb->message_cb = capture_message;
	cb->filter_by_origin_cb = capture_skip_origin;
}

static void
capture_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
}

/* the ingest's own writes */
static bool
capture_skip_origin(LogicalDecodingContext *ctx, RepOriginId origin)
{
	return origin == DoNotReplicateId;
}

static void
capture_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideIngest *in = ctx->output_plugin_private;

	txn->output_plugin_private = NULL;
	in->saw_ddl = false;
}

static void
capture_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	TideIngest *in = ctx->output_plugin_private;

	check_altered(in, txn);
	/* set by capture_change when the transaction left something in the batch */
	if (txn->output_plugin_private == NULL)
		return;
	in->batch->ntransactions++;
	in->batch->at = txn->xact_time.commit_time;
}

/* whether the initial copy's snapshot saw the transaction; as XidInMVCCSnapshot() */
static bool
copy_has_seen(const TideWatch *watch, const ReorderBufferTXN *txn)
{
	TransactionId xid = txn->xid;

	if (XLogRecPtrIsInvalid(watch->copy_lsn) || txn->final_lsn >= watch->copy_lsn)
		return false;
	if (TransactionIdPrecedes(xid, watch->copy_xmin))
		return true;
	if (TransactionIdFollowsOrEquals(xid, watch->copy_xmax))
		return false;
	return bsearch(&xid, watch->copy_xip, watch->copy_nxip, sizeof(TransactionId),
				   xidComparator) == NULL;
}

bool
tide_source_matches(const TideSource *source, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (n >= source->ncolumns || source->columns[n] != att->attnum ||
			source->column_types[n] != att->atttypid ||
			strcmp(source->column_names[n], NameStr(att->attname)) != 0)
			return false;
		n++;
	}
	return n == source->ncolumns;
}

/* with a batch to store it: what follows for the source is lost on the next ingest else */
static void
break_source(TideIngest *in, TideWatch *watch)
{
	watch->is_broken = true;
	in->needs_reload = true;
	in->batch->is_asked_for = true;
	tide_ingest_break(in, watch->shadow->source->source_id);
}

/*
 * After DDL, at the next change or the end of the transaction: sources that cannot go on
 * break here, and failed shapes may have what they lack.
 */
static void
check_altered(TideIngest *in, ReorderBufferTXN *txn)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;
	ListCell   *lc;

	if (!in->saw_ddl)
		return;
	in->saw_ddl = false;
	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
	{
		if (!watch->is_broken && watch->relid == watch->shadow->source->relid &&
			!copy_has_seen(watch, txn) && !tide_altered_still_serves(watch))
			break_source(in, watch);
		watch->rewrite_from = InvalidOid;
	}
	foreach(lc, in->shapes)
		if (((TideShape *) lfirst(lc))->state == TIDE_SHAPE_FAILED)
			in->needs_reload = in->retry_failed = true;
}

/* the rows of a table are about to be rewritten: look at it when that is done */
static void
capture_rewrite(TideIngest *in, Oid relid)
{
	TideWatch  *watch = hash_search(in->watches, &relid, HASH_FIND, NULL);

	if (watch == NULL || OidIsValid(watch->rewrite_from))
		return;
	tide_altered_note_rewrite(watch);
	in->saw_ddl = true;
}

static void
capture_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr message_lsn,
				bool transactional, const char *prefix, Size size, const char *message)
{
	TideIngest *in = ctx->output_plugin_private;
	Oid			relid;

	if (!transactional && strcmp(prefix, TIDE_SYNC_PREFIX) == 0)
		in->batch->is_asked_for = true;
	else if (transactional && strcmp(prefix, TIDE_DDL_PREFIX) == 0)
		in->saw_ddl = true;
	else if (transactional && strcmp(prefix, TIDE_REWRITE_PREFIX) == 0 &&
			 size == sizeof(relid))
	{
		memcpy(&relid, message, sizeof(relid));
		capture_rewrite(in, relid);
	}
}

/*
 * Columns of a decoded row to values in the spool's order; unchanged TOAST is left out
 * and marked in the bitmap. Values that the reorder buffer put together are copied flat.
 */
static bool
spool_columns(const TideWatch *watch, Relation rel, HeapTuple tuple, HeapTuple full_old,
			  Datum *values, bool *nulls, bits8 *unchanged)
{
	const TideSource *source = watch->shadow->source;
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *row = palloc(sizeof(Datum) * desc->natts);
	bool	   *row_nulls = palloc(sizeof(bool) * desc->natts);
	Datum	   *old_row = NULL;
	bool	   *old_nulls = NULL;
	bool		any = false;

	heap_deform_tuple(tuple, desc, row, row_nulls);
	for (int i = 0; i < source->ncolumns; i++)
	{
		int			a = source->columns[i] - 1;
		struct varlena *value;

		if (tide_altered_is_lost(watch, rel, i))
			continue;			/* nobody uses it, and it stays NULL */
		values[i] = row[a];
		nulls[i] = row_nulls[a];
		if (nulls[i] || TupleDescAttr(desc, a)->attlen != -1)
			continue;
		value = (struct varlena *) DatumGetPointer(values[i]);
		if (VARATT_IS_EXTERNAL_ONDISK(value) && full_old != NULL)
		{
			/* REPLICA IDENTITY FULL has the old value in full */
			if (old_row == NULL)
			{
				old_row = palloc(sizeof(Datum) * desc->natts);
				old_nulls = palloc(sizeof(bool) * desc->natts);
				heap_deform_tuple(full_old, desc, old_row, old_nulls);
			}
			if (!old_nulls[a])
				value = (struct varlena *) DatumGetPointer(values[i] = old_row[a]);
		}
		if (VARATT_IS_EXTERNAL_ONDISK(value))
		{
			unchanged[i / 8] |= 1 << (i % 8);
			nulls[i] = true;
			any = true;
		}
		else if (VARATT_IS_EXTERNAL(value))
			values[i] = PointerGetDatum(detoast_external_attr(value));
	}
	return any;
}

/* old key from the WAL's old row; false if it is not all there */
static bool
spool_old_key(const TideWatch *watch, Relation rel, HeapTuple old, Datum *values,
			  bool *nulls)
{
	const TideSource *source = watch->shadow->source;

	for (int i = 0; i < source->nkeys; i++)
	{
		values[i] = heap_getattr(old, source->keys[i], RelationGetDescr(rel), &nulls[i]);
		if (nulls[i])
			return false;
		if (TupleDescAttr(RelationGetDescr(rel), source->keys[i] - 1)->attlen == -1 &&
			VARATT_IS_EXTERNAL(DatumGetPointer(values[i])))
			values[i] = PointerGetDatum(detoast_external_attr((struct varlena *)
															  DatumGetPointer(values[i])));
	}
	return true;
}

/* whether old key and new columns hold the same key, bit for bit */
static bool
same_key(const TideWatch *watch, const Datum *key, const Datum *columns)
{
	const TideShadow *shadow = watch->shadow;

	for (int i = 0; i < shadow->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(shadow->key_desc, i);

		if (!datum_image_eq(key[i], columns[shadow->key_pos[i]], att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* one row's change into the batch */
static void
capture_row(TideIngest *in, TideWatch *watch, Relation rel, HeapTuple old, HeapTuple new)
{
	TideShadow *shadow = watch->shadow;
	int			natts = watch->spool_desc->natts;
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	Datum	   *columns = values + TIDE_SPOOL_FIXED + shadow->nkeys;
	int			mask_len = (shadow->ncolumns + 7) / 8;
	bytea	   *mask = palloc0(VARHDRSZ + mask_len);
	TideChangeKind kind = new == NULL ? TIDE_CHANGE_DELETE : TIDE_CHANGE_PUT;
	bool		has_key = false;

	memset(nulls, true, natts);
	if (old != NULL)
		has_key = spool_old_key(watch, rel, old, values + TIDE_SPOOL_FIXED,
								nulls + TIDE_SPOOL_FIXED);
	if (new == NULL && !has_key)
	{
		break_source(in, watch);	/* a delete that does not say of which row */
		return;
	}
	if (new != NULL)
	{
		HeapTuple	full_old = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL ? old : NULL;

		if (spool_columns(watch, rel, new, full_old, columns,
						  nulls + TIDE_SPOOL_FIXED + shadow->nkeys,
						  (bits8 *) VARDATA(mask)))
		{
			SET_VARSIZE(mask, VARHDRSZ + mask_len);
			values[TIDE_SPOOL_UNCHANGED] = PointerGetDatum(mask);
			nulls[TIDE_SPOOL_UNCHANGED] = false;
		}
		if (has_key && !same_key(watch, values + TIDE_SPOOL_FIXED, columns))
			kind = TIDE_CHANGE_MOVE;
	}
	tide_batch_put(in->batch, watch, kind, values, nulls);
}

/* a client's last mutation id, as its push left it */
static void
capture_client(TideIngest *in, Relation rel, HeapTuple new)
{
	bool		isnull;
	Datum		id;
	Datum		last;

	if (new == NULL)
		return;
	id = heap_getattr(new, CLIENTS_ID + 1, RelationGetDescr(rel), &isnull);
	last = heap_getattr(new, CLIENTS_LAST_ID + 1, RelationGetDescr(rel), &isnull);
	if (DatumGetInt64(last) > 0)
		tide_batch_ack(in->batch, DatumGetUUIDP(id), DatumGetInt64(last));
}

static void
capture_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
			   ReorderBufferChange *change)
{
	TideIngest *in = ctx->output_plugin_private;
	Oid			relid = RelationGetRelid(rel);
	HeapTuple	old = TIDE_CHANGE_TUPLE(change->data.tp.oldtuple);
	HeapTuple	new = TIDE_CHANGE_TUPLE(change->data.tp.newtuple);
	TideWatch  *watch;
	MemoryContext old_context;

	check_altered(in, txn);
	if (relid == in->shapes_relid)
		in->needs_reload = true;
	else if (relid == in->clients_relid)
		capture_client(in, rel, new);
	else
	{
		watch = hash_search(in->watches, &relid, HASH_FIND, NULL);
		if (watch == NULL || watch->is_broken || copy_has_seen(watch, txn))
			return;
		if (!tide_altered_fits(watch, rel))
		{
			break_source(in, watch);
			return;
		}
		old_context = MemoryContextSwitchTo(in->scratch);
		capture_row(in, watch, rel, old, new);
		MemoryContextSwitchTo(old_context);
		MemoryContextReset(in->scratch);
	}
	txn->output_plugin_private = in;
}

static void
capture_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
				 Relation relations[], ReorderBufferChange *change)
{
	TideIngest *in = ctx->output_plugin_private;

	check_altered(in, txn);
	for (int i = 0; i < nrelations; i++)
	{
		Oid			relid = RelationGetRelid(relations[i]);
		TideWatch  *watch = hash_search(in->watches, &relid, HASH_FIND, NULL);
		Datum	   *values;
		bool	   *nulls;

		if (watch == NULL || watch->is_broken || copy_has_seen(watch, txn))
			continue;
		values = palloc0(sizeof(Datum) * watch->spool_desc->natts);
		nulls = palloc(sizeof(bool) * watch->spool_desc->natts);
		memset(nulls, true, watch->spool_desc->natts);
		tide_batch_put(in->batch, watch, TIDE_CHANGE_TRUNCATE, values, nulls);
		txn->output_plugin_private = in;
	}
}
