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
 * the change: they are read at the first one, and again whenever the historic snapshot shows
 * another state of the catalogs, be it later or (in a transaction that began
 * before) earlier.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "replication/logical.h"
#include "replication/origin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "decode/ddl_line.h"
#include "decode/plugin.h"
#include "decode/relation_cache.h"
#include "decode/transaction.h"
#include "decode/writer_json.h"
#include "util/compat.h"
#include "util/spi.h"

/* so many changes without a line, and the client is told that we are alive */
#define PROGRESS_INTERVAL		1000

/* values together as long as this may be why a line could not be written */
#define LARGE_ROW				(100 * 1024 * 1024)

/* messages of pg_tide's own have prefixes that begin so */
#define OWN_MESSAGE_PREFIX		"tide."

/* process-local; set for the moment in which a decoding context is created */
TideDecodeOverride tide_decode_override = NULL;

static void stream_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options,
						   bool is_init);
static void stream_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
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
	cb->change_cb = tide_transaction_change;
	cb->truncate_cb = tide_transaction_truncate;
	cb->message_cb = tide_transaction_message;
	cb->commit_cb = stream_commit;
	cb->filter_by_origin_cb = stream_filter_origin;
	tide_in_progress_callbacks(cb);
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

/*
 * Decode ahead of commits only if asked to. Two-phase stays on for a slot
 * that was created so, or had the option once.
 */
static void
set_modes(LogicalDecodingContext *ctx, const TideDecodeOptions *options, bool is_init)
{
	ctx->streaming &= options->streaming && !is_init;
	ctx->twophase_opt_given = options->two_phase && !is_init;
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
	set_modes(ctx, &stream->options, is_init);
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
	if (stream->options.shapes != NIL && !is_init)
		check_shapes(stream);
	MemoryContextSwitchTo(old);
}

/* which state of the catalogs the historic snapshot shows, to a transaction */
static void
mark_catalogs(TideCatalogMark *mark, ReorderBufferTXN *txn)
{
	/* the snapshot for catalogs is the historic one while we decode */
	Snapshot	snapshot = GetCatalogSnapshot(InvalidOid);

	memset(mark, 0, sizeof(*mark));
	mark->xmin = snapshot->xmin;
	mark->xmax = snapshot->xmax;
	mark->ncommitted = snapshot->xcnt;
	if (snapshot->curcid > FirstCommandId)
	{
		mark->own = txn->xid;
		mark->nsubxacts = snapshot->subxcnt;
		mark->command = snapshot->curcid;
	}
}

/*
 * Bind the shapes as of a change of relation, if they may be others than before. Between
 * the changes that make a definition it is not whole.
 */
static void
refresh_shapes(TideStream *stream, ReorderBufferTXN *txn, Relation relation)
{
	MemoryContext old;
	TideCatalogMark mark;

	mark_catalogs(&mark, txn);
	if (likely(memcmp(&mark, &stream->shapes_mark, sizeof(mark)) == 0) ||
		tide_is_own_table(relation))
		return;
	memset(&stream->shapes_mark, 0, sizeof(mark));
	MemoryContextReset(stream->shapes_context);
	old = MemoryContextSwitchTo(stream->shapes_context);
	stream->shapes = tide_bound_shapes_load(&stream->options, true);
	MemoryContextSwitchTo(old);
	tide_relation_cache_clear(stream->relations);
	stream->shapes_mark = mark;
}

void
tide_transaction_enter(TideStream *stream, ReorderBufferTXN *txn, TideTransactionKind kind)
{
	stream->kind = kind;
	stream->has_begun = false;
	stream->line_xid = txn->xid;

	/*
	 * A walsender has the settings for good. Elsewhere they last until the
	 * subtransaction that decoding runs in is rolled back, if not until its
	 * end.
	 */
	stream->settings_level = stream->to_client ? 0 : tide_settings_push();
	stream->settings_subxact = GetCurrentSubTransactionId();
}

void
tide_transaction_leave(TideStream *stream)
{
	if (stream->settings_level != 0 &&
		stream->settings_subxact == GetCurrentSubTransactionId())
		tide_settings_pop(stream->settings_level);
	stream->settings_level = 0;
}

static void
stream_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	tide_transaction_enter(ctx->output_plugin_private, txn, TIDE_TRANSACTION_COMMITTED);
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

/* the change at hand, for the error context */
typedef struct CurrentChange
{
	TideStream *stream;
	Relation	relation;
	ReorderBufferChange *change;
} CurrentChange;

/* bytes of the values of a row that are not in the row itself, once expanded */
static Size
external_size(Relation relation, HeapTuple tuple)
{
	TupleDesc	desc = RelationGetDescr(relation);
	Size		size = 0;

	if (tuple == NULL || !HeapTupleHasExternal(tuple))
		return 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		isnull;
		Datum		value;

		if (attribute->attisdropped || attribute->attlen != -1)
			continue;
		value = heap_getattr(tuple, i + 1, desc, &isnull);
		if (!isnull && VARATT_IS_EXTERNAL_INDIRECT(DatumGetPointer(value)))
			size += toast_raw_datum_size(value);
	}
	return size;
}

/* say what core could not know when it ran into its limit of 1 GB */
static void
report_size(CurrentChange *current, Size size)
{
	const char *table = RelationGetRelationName(current->relation);

	errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED);
	errmsg("row of table \"%s\" is too large for one line", table);
	errdetail("Its long values have %zu MB; the JSON of a change must be shorter than 1 GB.",
			  size / (1024 * 1024));
	errhint("Leave the table out by option \"%s\", or the values by the columns of a shape.",
			"tables");
}

/*
 * Error context: which table, beside what core says of slot, callback and LSN. Where
 * values are that large, it is their size that output functions, buffers or the
 * connection failed at.
 */
static void
report_change(void *arg)
{
	CurrentChange *current = arg;
	int			code = geterrcode();
	Size		size;

	if (code == ERRCODE_PROGRAM_LIMIT_EXCEEDED || code == ERRCODE_INTERNAL_ERROR)
	{
		size = external_size(current->relation,
							 TIDE_CHANGE_TUPLE(current->change->data.tp.oldtuple)) +
			external_size(current->relation,
						  TIDE_CHANGE_TUPLE(current->change->data.tp.newtuple));
		if (size > LARGE_ROW)
			report_size(current, size);
	}
	errcontext("change of table \"%s\"", RelationGetRelationName(current->relation));
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

void
tide_transaction_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						Relation relation, ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;
	CurrentChange current = {stream, relation, change};
	ErrorContextCallback context = {error_context_stack, report_change, &current};
	MemoryContext old;
	TideDecodeRelation *entry;

	error_context_stack = &context;
	old = MemoryContextSwitchTo(stream->change_context);
	if (stream->options.shapes != NIL)
		refresh_shapes(stream, txn, relation);
	entry = tide_decode_relation(stream, relation);
	if (entry->ntargets > 0)
		write_change(ctx, txn, relation, entry, change);
	report_progress(ctx, stream);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
	error_context_stack = context.previous;
}

/*
 * Whether the TRUNCATE of a table has a line of its own. The log names a partitioned table and
 * all its partitions: one of both sides tells it all. Where partitions go by their root,
 * those truncated without it do have a line.
 */
static bool
shows_truncate(const TideStream *stream, Relation relation, Oid root, int nrelations,
			   Relation relations[])
{
	bool		is_partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;

	if (!stream->options.partitions_as_root)
		return !is_partitioned;
	if (!OidIsValid(root))
		return true;
	for (int i = 0; i < nrelations; i++)
	{
		if (RelationGetRelid(relations[i]) == root)
			return false;
	}
	return !is_partitioned;
}

void
tide_transaction_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						  int nrelations, Relation relations[],
						  ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old;

	if ((stream->options.actions & TIDE_ACTION(TIDE_LINE_TRUNCATE)) == 0)
		return;
	old = MemoryContextSwitchTo(stream->change_context);
	for (int i = 0; i < nrelations; i++)
	{
		TideDecodeRelation *entry;

		if (stream->options.shapes != NIL)
			refresh_shapes(stream, txn, relations[i]);
		entry = tide_decode_relation(stream, relations[i]);
		if (!shows_truncate(stream, relations[i], entry->root, nrelations, relations))
			continue;
		for (int j = 0; j < entry->ntargets; j++)
			tide_write_truncate(ctx, txn, change, &entry->targets[j], entry->partition);
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

/* true if the message is one of DDL and was written as such */
static bool
write_ddl(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
		  const char *content, Size size)
{
	StringInfoData members;

	initStringInfo(&members);
	if (!tide_ddl_members(&members, content, size))
		return false;
	tide_write_ddl(ctx, txn, lsn, &members);
	return true;
}

void
tide_transaction_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						 XLogRecPtr lsn, bool transactional, const char *prefix,
						 Size size, const char *content)
{
	TideStream *stream = ctx->output_plugin_private;
	bool		is_ddl = stream->options.ddl && transactional &&
	strcmp(prefix, TIDE_DDL_PREFIX) == 0;
	MemoryContext old;

	if (!is_ddl && !wants_message(&stream->options, prefix))
		return;
	old = MemoryContextSwitchTo(stream->change_context);
	if (!(is_ddl && write_ddl(ctx, txn, lsn, content, size)) &&
		wants_message(&stream->options, prefix))
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
	tide_transaction_leave(stream);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static bool
stream_filter_origin(LogicalDecodingContext *ctx, RepOriginId origin_id)
{
	TideStream *stream = ctx->output_plugin_private;

	return stream->options.local_origin_only && origin_id != InvalidRepOriginId;
}
