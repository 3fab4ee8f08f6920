/*
 * capture.c
 *	  Decoding callbacks of the ingest: changes into the batch.
 *
 * Runs under a historic snapshot: only catalogs may be read and nothing written. Called
 * for whole committed transactions, in commit order. Rows of sources go to the batch's
 * tuplestore; rows of tide_internal.clients tell what has been acknowledged; a change to
 * tide_internal.shapes ends the batch and has the shapes read anew.
 *
 * A change that does not fit the source's columns (ALTER TABLE), or does not tell which row
 * it concerns (REPLICA IDENTITY) breaks the source: it is copied again, or rebuilt, before
 * reading on.
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

#include "catalog/table_key.h"
#include "ingest/altered.h"
#include "ingest/batch.h"
#include "ingest/capture.h"
#include "ingest/ddl_message.h"
#include "ingest/failed.h"
#include "ingest/ingest.h"
#include "ingest/recheck.h"
#include "ingest/route.h"
#include "ingest/server_clock.h"
#include "store/row_hash.h"
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
	tide_recheck(in, txn);

	/* set by capture_change when the transaction left something in the batch */
	if (txn->output_plugin_private == NULL)
		return;
	in->batch->ntransactions++;
	in->batch->at = txn->xact_time.commit_time;
}

/* as XidInMVCCSnapshot(), of a transaction that has committed */
static bool
has_seen(const TideSeen *seen, TransactionId xid)
{
	if (TransactionIdPrecedes(xid, seen->xmin))
		return true;
	if (TransactionIdFollowsOrEquals(xid, seen->xmax))
		return false;
	return bsearch(&xid, seen->xip, seen->nxip, sizeof(TransactionId), xidComparator) == NULL;
}

bool
tide_capture_has_seen(const TideWatch *watch, const ReorderBufferTXN *txn)
{
	if (XLogRecPtrIsInvalid(watch->copy_lsn) || txn->final_lsn >= watch->copy_lsn)
		return false;
	return has_seen(&watch->copy_seen, txn->xid);
}

bool
tide_source_keeps(Form_pg_attribute att)
{
	return !att->attisdropped && TIDE_ATT_IS_STORED(att);
}

bool
tide_source_matches(const TideSource *source, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!tide_source_keeps(att))
			continue;
		if (n >= source->ncolumns || source->columns[n] != att->attnum ||
			source->column_types[n] != att->atttypid ||
			strcmp(source->column_names[n], NameStr(att->attname)) != 0)
			return false;
		n++;
	}
	return n == source->ncolumns || TIDE_ATTNUM_IS_OWN(source->columns[n]);
}

/* with a batch to store it: what follows for the source is lost on the next ingest else */
void
tide_capture_break(TideIngest *in, TideWatch *watch)
{
	watch->is_broken = true;
	in->needs_reload = true;
	in->batch->is_asked_for = true;
	tide_ingest_break(in, watch->shadow->source->source_id);
}

/* all rows of a source go, or those of one partition */
void
tide_capture_truncate(TideIngest *in, TideWatch *watch, Oid leaf)
{
	TideShadow *shadow = watch->shadow;
	Datum	   *values = palloc0(sizeof(Datum) * watch->spool_desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * watch->spool_desc->natts);

	memset(nulls, true, watch->spool_desc->natts);
	if (OidIsValid(leaf))
	{
		int			at = TIDE_SPOOL_FIXED + shadow->nkeys + shadow->leaf_pos;

		values[at] = ObjectIdGetDatum(leaf);
		nulls[at] = false;
	}
	tide_batch_put(in->batch, watch, TIDE_CHANGE_TRUNCATE, values, nulls);
}

/* names within types: where one that shapes show was renamed, its rows look different */
static void
check_labels(TideIngest *in, ReorderBufferTXN *txn, TideWatch *watch)
{
	MemoryContext old = MemoryContextSwitchTo(in->scratch);
	List	   *labels;
	ListCell   *lc;

	switch (tide_altered_labels(watch, &labels))
	{
		case TIDE_LABELS_RENAMED:
			tide_capture_break(in, watch);
			break;
		case TIDE_LABELS_ADDED:
			MemoryContextSwitchTo(in->watch_context);
			labels = list_copy(labels);
			foreach(lc, labels)
				lfirst(lc) = pstrdup(lfirst(lc));
			watch->shadow->source->labels = labels;
			tide_recheck_store(in, txn, watch->shadow->source);
			break;
		case TIDE_LABELS_SAME:
			break;
	}
	MemoryContextSwitchTo(old);
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

	if (!in->saw_ddl)
		return;
	in->saw_ddl = false;
	if (in->server_clocks != NULL)
		tide_server_clocks_forget(in);	/* new columns, dropped tables */
	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
	{
		if (!watch->is_broken && watch->relid == watch->shadow->source->relid &&
			!tide_capture_has_seen(watch, txn))
		{
			if (!tide_altered_still_serves(watch))
				tide_capture_break(in, watch);
			else
				check_labels(in, txn, watch);
		}
		watch->rewrite_from = InvalidOid;
	}
	tide_failed_note_ddl(in, txn);
}

/* the rows of a table are about to be rewritten: look at it when that is done */
static void
capture_rewrite(TideIngest *in, Oid relid)
{
	HASH_SEQ_STATUS status;
	TideWatch  *watch;

	hash_seq_init(&status, in->watches);
	while ((watch = hash_seq_search(&status)) != NULL)
	{
		const TideSource *source = watch->shadow->source;

		if (OidIsValid(watch->rewrite_from) ||
			(relid != watch->relid &&
			 !tide_route_has_leaf(source->leaves, source->nleaves, relid)))
			continue;
		tide_altered_note_rewrite(watch, relid);
		in->saw_ddl = true;
	}
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

/* a decoded value in full; false if it is TOAST that was not changed */
static bool
flat_value(Form_pg_attribute att, Datum *value)
{
	struct varlena *stored = (struct varlena *) DatumGetPointer(*value);

	if (att->attlen != -1 || !VARATT_IS_EXTERNAL(stored))
		return true;
	if (VARATT_IS_EXTERNAL_ONDISK(stored))
		return false;
	*value = PointerGetDatum(detoast_external_attr(stored));
	return true;
}

/*
 * Columns of a decoded row to values in the spool's order. Unchanged TOAST is taken from the
 * old row if REPLICA IDENTITY FULL has it; else left out and marked in the bitmap, which
 * may be NULL where there is none. True if any is marked.
 */
static bool
spool_columns(const TideTarget *target, Relation rel, HeapTuple tuple, HeapTuple full_old,
			  Datum *values, bool *nulls, bits8 *unchanged)
{
	const TideShadow *shadow = target->watch->shadow;
	TupleDesc	desc = RelationGetDescr(rel);
	Datum	   *row = palloc(sizeof(Datum) * desc->natts);
	bool	   *row_nulls = palloc(sizeof(bool) * desc->natts);
	bool		any = false;

	heap_deform_tuple(tuple, desc, row, row_nulls);
	for (int i = 0; i < shadow->ncolumns - shadow->nown; i++)
	{
		int			a = target->attnums[i] - 1;

		nulls[i] = a < 0 || row_nulls[a];	/* without attnum: nobody uses it,
											 * NULL will do */
		if (nulls[i])
			continue;
		values[i] = row[a];
		if (flat_value(TupleDescAttr(desc, a), &values[i]))
			continue;
		if (full_old != NULL)
			values[i] = heap_getattr(full_old, a + 1, desc, &nulls[i]);
		if (full_old == NULL || !flat_value(TupleDescAttr(desc, a), &values[i]))
		{
			Assert(unchanged != NULL);
			unchanged[i / 8] |= 1 << (i % 8);
			nulls[i] = any = true;
		}
	}
	if (shadow->leaf_pos >= 0)
	{
		values[shadow->leaf_pos] = ObjectIdGetDatum(RelationGetRelid(rel));
		nulls[shadow->leaf_pos] = false;
	}
	return any;
}

/* old key from the WAL's old row, which has it */
static void
spool_old_key(const TideTarget *target, Relation rel, HeapTuple old, Datum *values,
			  bool *nulls)
{
	const TideShadow *shadow = target->watch->shadow;

	for (int i = 0; i < shadow->nkeys; i++)
	{
		AttrNumber	attnum = target->attnums[shadow->key_pos[i]];

		values[i] = heap_getattr(old, attnum, RelationGetDescr(rel), &nulls[i]);
		(void) flat_value(TupleDescAttr(RelationGetDescr(rel), attnum - 1), &values[i]);
	}
}

/* room for a uuid, as a Datum as well */
static pg_uuid_t *
palloc_uuid(Datum *datum)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	*datum = UUIDPGetDatum(uuid);
	return uuid;
}

/* of a keyless source: the hash of a row; which copy it is, is found when it is applied */
static void
spool_row_hash(TideIngest *in, const TideTarget *target, Relation rel, HeapTuple tuple,
			   Datum *values, bool *nulls)
{
	TideShadow *shadow = target->watch->shadow;
	Datum	   *row = palloc0(sizeof(Datum) * shadow->ncolumns);
	bool	   *row_nulls = palloc0(sizeof(bool) * shadow->ncolumns);

	(void) spool_columns(target, rel, tuple, NULL, row, row_nulls, NULL);
	tide_row_hash(&in->secret, shadow->desc, TIDE_SHADOW_FIXED,
				  shadow->nhashed, row, row_nulls,
				  palloc_uuid(&values[0]));
	values[1] = Int32GetDatum(0);
	nulls[0] = nulls[1] = false;
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
capture_row(TideIngest *in, const TideTarget *target, Relation rel, HeapTuple old,
			HeapTuple new)
{
	TideShadow *shadow = target->watch->shadow;
	int			natts = target->watch->spool_desc->natts;
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	Datum	   *key = values + TIDE_SPOOL_FIXED;
	bool	   *key_nulls = nulls + TIDE_SPOOL_FIXED;
	int			mask_len = (shadow->ncolumns + 7) / 8;
	bytea	   *mask = palloc0(VARHDRSZ + mask_len);
	HeapTuple	full_old = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL ? old : NULL;
	TideChangeKind kind = new == NULL ? TIDE_CHANGE_DELETE : TIDE_CHANGE_PUT;

	memset(nulls, true, natts);
	if (old != NULL && shadow->is_keyless)
		spool_row_hash(in, target, rel, old, key, key_nulls);
	else if (old != NULL)
		spool_old_key(target, rel, old, key, key_nulls);
	if (new != NULL && spool_columns(target, rel, new, full_old, key + shadow->nkeys,
									 key_nulls + shadow->nkeys, (bits8 *) VARDATA(mask)))
	{
		SET_VARSIZE(mask, VARHDRSZ + mask_len);
		values[TIDE_SPOOL_UNCHANGED] = PointerGetDatum(mask);
		nulls[TIDE_SPOOL_UNCHANGED] = false;
	}
	if (new != NULL && shadow->is_keyless)
	{
		int			at = shadow->nkeys + shadow->key_pos[0];

		tide_row_hash(&in->secret, shadow->desc, TIDE_SHADOW_FIXED,
					  shadow->nhashed, key + shadow->nkeys,
					  key_nulls + shadow->nkeys, palloc_uuid(&key[at]));
		key[at + 1] = Int32GetDatum(0);
		key_nulls[at] = key_nulls[at + 1] = false;
	}
	if (new != NULL && old != NULL &&
		(shadow->is_keyless || !same_key(target->watch, key, key + shadow->nkeys)))
		kind = TIDE_CHANGE_MOVE;
	tide_batch_put(in->batch, target->watch, kind, values, nulls);
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

/* a row of one source; rows it cannot place break the source */
static void
capture_target(TideIngest *in, ReorderBufferTXN *txn, TideTarget *target, Relation rel,
			   ReorderBufferChange *change)
{
	TideWatch  *watch = target->watch;
	MemoryContext old_context;

	if (watch->is_broken || tide_capture_has_seen(watch, txn))
		return;
	txn->output_plugin_private = in;
	if (target->attnums == NULL ||
		(change->action != REORDER_BUFFER_CHANGE_INSERT && !target->gives_key))
	{
		tide_capture_break(in, watch);
		return;
	}
	old_context = MemoryContextSwitchTo(in->scratch);
	capture_row(in, target, rel, TIDE_CHANGE_TUPLE(change->data.tp.oldtuple),
				TIDE_CHANGE_TUPLE(change->data.tp.newtuple));
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(in->scratch);
}

/* when columns with conflict policies were written, whatever shapes say */
static void
capture_clocks(TideIngest *in, ReorderBufferTXN *txn, Relation rel,
			   ReorderBufferChange *change)
{
	MemoryContext old_context = MemoryContextSwitchTo(in->scratch);

	if (tide_server_clocks_capture(in, txn, rel, TIDE_CHANGE_TUPLE(change->data.tp.oldtuple),
								   TIDE_CHANGE_TUPLE(change->data.tp.newtuple)))
		txn->output_plugin_private = in;
	MemoryContextSwitchTo(old_context);
	MemoryContextReset(in->scratch);
}

static void
capture_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation rel,
			   ReorderBufferChange *change)
{
	TideIngest *in = ctx->output_plugin_private;
	Oid			relid = RelationGetRelid(rel);
	List	   *targets;
	ListCell   *lc;

	check_altered(in, txn);
	if (relid == in->shapes_relid || relid == in->clients_relid)
	{
		if (relid == in->shapes_relid)
			in->needs_reload |= !has_seen(&in->shapes_seen, txn->xid);
		else
			capture_client(in, rel, TIDE_CHANGE_TUPLE(change->data.tp.newtuple));
		txn->output_plugin_private = in;
		return;
	}
	if (tide_server_clocks_depend_on(in, relid))
	{
		/*
		 * also if the last reload's snapshot had it: that may not have read
		 * the policies
		 */
		tide_server_clocks_forget(in);
		txn->output_plugin_private = in;
		return;
	}
	if (in->server_clocks != NULL)
		capture_clocks(in, txn, rel, change);
	targets = tide_route(in, rel);
	foreach(lc, targets)
		capture_target(in, txn, lfirst(lc), rel, change);
	if (targets == NIL && rbtxn_has_catalog_changes(txn))
		tide_recheck_stray(in, txn, relid);
}

static void
capture_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
				 Relation relations[], ReorderBufferChange *change)
{
	TideIngest *in = ctx->output_plugin_private;
	List	   *relids = NIL;

	check_altered(in, txn);
	for (int i = 0; i < nrelations; i++)
		relids = lappend_oid(relids, RelationGetRelid(relations[i]));
	for (int i = 0; i < nrelations; i++)
	{
		Oid			relid = RelationGetRelid(relations[i]);
		ListCell   *lc;

		foreach(lc, tide_route(in, relations[i]))
		{
			TideWatch  *watch = ((TideTarget *) lfirst(lc))->watch;

			if (watch->is_broken || tide_capture_has_seen(watch, txn))
				continue;
			txn->output_plugin_private = in;
			if (watch->relid == relid)
				tide_capture_truncate(in, watch, InvalidOid);
			else if (!list_member_oid(relids, watch->relid))
				tide_capture_truncate(in, watch, relid);
		}
	}
}
