/*
 * plugin.c
 *	  The output plugin "pg_tide": a stream of JSON lines.
 *
 * Works without the extension in the database, as long as no shapes are asked for.
 * Everything here runs under a historic snapshot: only catalogs may be read, and
 * tide_internal.shapes, shape_nodes and sources, which are marked
 * user_catalog_table for that.
 *
 * Life of a stream: startup (options, shapes checked) - per transaction begin,
 * changes, commit - shutdown. Shapes are bound by the state of the metadata as of
 * the transaction: they are read at the first transaction, and again after one that
 * changed the metadata.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "decode/plugin.h"
#include "decode/relation_cache.h"
#include "decode/writer_json.h"
#include "util/compat.h"
#include "util/spi.h"

/* so many changes without a line, and the client is told that we are alive */
#define PROGRESS_INTERVAL		1000

/* messages of pg_tide's own have prefixes that begin so */
#define OWN_MESSAGE_PREFIX		"tide."

/* process-local; set for the moment in which a decoding context is created */
TideDecodeOverride tide_decode_override = NULL;

static void stream_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options,
						   bool is_init);
static void stream_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void stream_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						  Relation relation, ReorderBufferChange *change);
static void stream_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							int nrelations, Relation relations[],
							ReorderBufferChange *change);
static void stream_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						   XLogRecPtr lsn, bool transactional, const char *prefix,
						   Size size, const char *content);
static void stream_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						  XLogRecPtr commit_lsn);
static bool stream_filter_origin(LogicalDecodingContext *ctx, RepOriginId origin_id);

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	if (tide_decode_override != NULL)
	{
		tide_decode_override(cb);
		return;
	}
	cb->startup_cb = stream_startup;
	cb->begin_cb = stream_begin;
	cb->change_cb = stream_change;
	cb->truncate_cb = stream_truncate;
	cb->message_cb = stream_message;
	cb->commit_cb = stream_commit;
	cb->filter_by_origin_cb = stream_filter_origin;
}

/*
 * Refuse at once what could not be streamed later. Shapes are judged as they are now;
 * what the stream shows is their state at each transaction.
 */
static void
check_shapes(TideStream *stream)
{
	bool		own_transaction = !IsTransactionState();
	MemoryContext old = CurrentMemoryContext;

	if (own_transaction)
		StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	tide_bound_shapes_check(tide_bound_shapes_load(&stream->options, false));
	PopActiveSnapshot();
	if (own_transaction)
	{
		CommitTransactionCommand();
		/* what was cached is of today; decoding is about to look at the past */
		InvalidateSystemCaches();
	}
	MemoryContextSwitchTo(old);
}

static void
stream_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	MemoryContext old = MemoryContextSwitchTo(ctx->context);
	TideStream *stream = palloc0(sizeof(*stream));

	options->output_type = OUTPUT_PLUGIN_TEXTUAL_OUTPUT;
	options->receive_rewrites = false;
	ctx->output_plugin_private = stream;

	tide_decode_options_parse(&stream->options, ctx->output_plugin_options);
	stream->change_context = AllocSetContextCreate(ctx->context, "tide decoded change",
												   ALLOCSET_DEFAULT_SIZES);
	stream->shapes_context = AllocSetContextCreate(ctx->context, "tide bound shapes",
												   ALLOCSET_SMALL_SIZES);
	stream->relations = tide_relation_cache_create(ctx->context);
	initStringInfo(&stream->buffer);

	/* the SQL functions report no progress; their rows are single lines */
	stream->to_client = ctx->update_progress != NULL;
	if (stream->to_client && !IsTransactionState() && !is_init)
		tide_settings_set();
	stream->shapes_stale = stream->options.shapes != NIL;
	if (stream->shapes_stale && !is_init)
		check_shapes(stream);
	MemoryContextSwitchTo(old);
}

/* bind the shapes as of the current transaction */
static void
refresh_shapes(TideStream *stream)
{
	MemoryContext old;

	MemoryContextReset(stream->shapes_context);
	old = MemoryContextSwitchTo(stream->shapes_context);
	stream->shapes = tide_bound_shapes_load(&stream->options, true);
	MemoryContextSwitchTo(old);
	tide_relation_cache_clear(stream->relations);
	stream->shapes_stale = false;
}

static void
stream_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideStream *stream = ctx->output_plugin_private;

	stream->has_begun = false;

	/*
	 * A walsender has the settings for good. Elsewhere they last until the
	 * transaction that decoding runs in is rolled back, if not until commit.
	 */
	stream->settings_level = stream->to_client ? 0 : tide_settings_push();
	if (stream->shapes_stale)
		refresh_shapes(stream);
}

/*
 * Take unchanged TOAST values from the old row where the WAL has it. Returns the
 * attnums still missing.
 */
static Bitmapset *
fill_unchanged(TideDecodeRelation *entry, bool has_old)
{
	Datum	   *values = entry->new_slot->tts_values;
	Bitmapset  *missing = NULL;

	for (int i = 0; i < entry->nvarlena; i++)
	{
		AttrNumber	attnum = entry->varlena[i];
		int			index = attnum - 1;

		if (entry->new_slot->tts_isnull[index] ||
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(values[index])))
			continue;
		if (has_old && !entry->old_slot->tts_isnull[index] &&
			!VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(entry->old_slot->tts_values[index])))
			values[index] = entry->old_slot->tts_values[index];
		else
			missing = bms_add_member(missing, attnum);
	}
	return missing;
}

static TideLineType
line_type_of(ReorderBufferChangeType action)
{
	switch (action)
	{
		case REORDER_BUFFER_CHANGE_INSERT:
			return TIDE_LINE_INSERT;
		case REORDER_BUFFER_CHANGE_UPDATE:
			return TIDE_LINE_UPDATE;
		case REORDER_BUFFER_CHANGE_DELETE:
			return TIDE_LINE_DELETE;
		default:
			return TIDE_LINE_NONE;
	}
}

/* point a virtual slot at a row of the change */
static void
set_slot(TupleTableSlot *slot, HeapTuple tuple, TupleDesc desc)
{
	ExecClearTuple(slot);
	heap_deform_tuple(tuple, desc, slot->tts_values, slot->tts_isnull);
	ExecStoreVirtualTuple(slot);
}

/*
 * Write the lines a change means to each target of its table. A delete in a table without
 * replica identity comes without any row: its line names the table only.
 */
static void
write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation,
			 TideDecodeRelation *entry, ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;
	TideLineType type = line_type_of(change->action);
	HeapTuple	old = TIDE_CHANGE_TUPLE(change->data.tp.oldtuple);
	HeapTuple	new = TIDE_CHANGE_TUPLE(change->data.tp.newtuple);
	TupleDesc	desc = RelationGetDescr(relation);
	Bitmapset  *unchanged = NULL;

	if (old != NULL)
		set_slot(entry->old_slot, old, desc);
	if (new != NULL)
	{
		set_slot(entry->new_slot, new, desc);
		if (HeapTupleHasExternal(new))
			unchanged = fill_unchanged(entry, old != NULL);
	}
	for (int i = 0; i < entry->ntargets; i++)
	{
		TideTarget *target = &entry->targets[i];
		TideLineType shown = type;

		if (target->filter != NULL)
			shown = tide_row_filter_decide(target->filter, type,
										   old ? entry->old_slot : NULL,
										   new ? entry->new_slot : NULL);
		if (shown != TIDE_LINE_NONE &&
			(stream->options.actions & TIDE_ACTION(shown)) != 0)
			tide_write_change(ctx, txn, change->lsn, entry, target, shown,
							  old != NULL, unchanged);
	}
}

/* error context: which table, beside what core says of slot, callback and LSN */
static void
report_table(void *arg)
{
	Relation	relation = arg;

	errcontext("change of table \"%s\"", RelationGetRelationName(relation));
}

/* core tells waiting clients only about transactions, not within one (before 16) */
static void
report_progress(LogicalDecodingContext *ctx, TideStream *stream)
{
	if (++stream->idle_changes < PROGRESS_INTERVAL)
		return;
	stream->idle_changes = 0;
	OutputPluginUpdateProgress(ctx, false);
}

static void
stream_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation,
			  ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;
	ErrorContextCallback context = {error_context_stack, report_table, relation};
	MemoryContext old;
	TideDecodeRelation *entry;

	error_context_stack = &context;
	old = MemoryContextSwitchTo(stream->change_context);
	entry = tide_decode_relation(stream, relation);
	if (entry->ntargets > 0)
		write_change(ctx, txn, relation, entry, change);
	else if (entry->defines_shapes && stream->options.shapes != NIL)
		stream->shapes_stale = true;
	report_progress(ctx, stream);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
	error_context_stack = context.previous;
}

static void
stream_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
				Relation relations[], ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	for (int i = 0; i < nrelations; i++)
	{
		TideDecodeRelation *entry = tide_decode_relation(stream, relations[i]);

		if (entry->defines_shapes && stream->options.shapes != NIL)
			stream->shapes_stale = true;
		if ((stream->options.actions & TIDE_ACTION(TIDE_LINE_TRUNCATE)) == 0)
			continue;
		for (int j = 0; j < entry->ntargets; j++)
			tide_write_truncate(ctx, txn, change, &entry->targets[j]);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static bool
wants_message(const TideDecodeOptions *options, const char *prefix)
{
	ListCell   *cell;

	if (!options->messages)
		return false;
	if (options->message_prefixes == NIL)
		return strncmp(prefix, OWN_MESSAGE_PREFIX, strlen(OWN_MESSAGE_PREFIX)) != 0;
	foreach(cell, options->message_prefixes)
	{
		if (strcmp(lfirst(cell), prefix) == 0)
			return true;
	}
	return false;
}

static void
stream_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   bool transactional, const char *prefix, Size size, const char *content)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old;

	if (!wants_message(&stream->options, prefix))
		return;
	old = MemoryContextSwitchTo(stream->change_context);
	tide_write_message(ctx, transactional ? txn : NULL, lsn, prefix, content, size);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static void
stream_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	OutputPluginUpdateProgress(ctx, !stream->has_begun);
	tide_write_commit(ctx, txn, commit_lsn);
	if (stream->settings_level != 0)
		tide_settings_pop(stream->settings_level);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static bool
stream_filter_origin(LogicalDecodingContext *ctx, RepOriginId origin_id)
{
	TideStream *stream = ctx->output_plugin_private;

	return stream->options.local_origin_only && origin_id != InvalidRepOriginId;
}
