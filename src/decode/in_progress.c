/*
 * in_progress.c
 *	  Transactions that the stream shows before they commit.
 *
 * Two-phase: a prepared transaction comes whole at PREPARE TRANSACTION (begin, changes, prepare);
 * what becomes of it follows (commit_prepared, rollback_prepared), perhaps after a
 * restart, when nobody knows any more whether it had a line. So prepared transactions are
 * always shown, even without a change.
 *
 * Streaming: a transaction that outgrows logical_decoding_work_mem comes in blocks
 * (stream_start, changes, stream_stop) between other transactions; stream_abort,
 * stream_commit or stream_prepare ends it. Each line bears the xid of its subtransaction,
 * for those that are rolled back. A block without a line is not seen, nor is the end of
 * a transaction none of whose blocks has one; output_plugin_private tells.
 *
 * In both cases the transaction may be rolled back while it is decoded. Core notices at the
 * next catalog access, swallows its own ERROR, and calls the block's or transaction's end
 * callback outside of any transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "decode/transaction.h"
#include "decode/writer_json.h"

/* ---------- two-phase ---------- */

static void
prepared_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	tide_transaction_enter(ctx->output_plugin_private, txn, TIDE_TRANSACTION_PREPARED);
}

static void
prepared_end(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	OutputPluginUpdateProgress(ctx, false);
	tide_write_prepare(ctx, txn, lsn);
	tide_transaction_leave(stream);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

/* a line about a transaction as a whole, outside of it */
static void
write_outcome(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, const char *type,
			  XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	OutputPluginUpdateProgress(ctx, false);
	tide_write_outcome(ctx, txn, type, lsn);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

/* one that did nothing a decoder sees is not prepared for it either */
static void
prepared_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	if (txn->base_snapshot != NULL)
		write_outcome(ctx, txn, "commit_prepared", lsn);
}

static void
prepared_rollback(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				  XLogRecPtr prepare_end_lsn, TimestampTz prepare_time)
{
	if (txn->base_snapshot != NULL)
		write_outcome(ctx, txn, "rollback_prepared", txn->final_lsn);
}

/* ---------- streaming ---------- */

static void
block_start(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	tide_transaction_enter(ctx->output_plugin_private, txn, TIDE_TRANSACTION_STREAMED);
}

static void
block_stop(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	tide_write_stream_stop(ctx, txn);
	tide_transaction_leave(stream);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static void
block_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation,
			 ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;

	stream->line_xid = change->txn->xid;
	tide_transaction_change(ctx, txn, relation, change);
}

static void
block_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, int nrelations,
			   Relation relations[], ReorderBufferChange *change)
{
	TideStream *stream = ctx->output_plugin_private;

	stream->line_xid = change->txn->xid;
	tide_transaction_truncate(ctx, txn, nrelations, relations, change);
}

/*
 * Core does not say which subtransaction a message is of, but which one it watches: none
 * if that has committed, and then any xid will do that is not rolled back.
 */
static void
block_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			  bool transactional, const char *prefix, Size size, const char *content)
{
	TideStream *stream = ctx->output_plugin_private;

	stream->line_xid = TransactionIdIsValid(CheckXidAlive) ? CheckXidAlive : txn->xid;
	tide_transaction_message(ctx, txn, lsn, transactional, prefix, size, content);
}

static void
block_abort(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	tide_write_stream_abort(ctx, txn, lsn);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static void
block_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	MemoryContext old = MemoryContextSwitchTo(stream->change_context);

	OutputPluginUpdateProgress(ctx, txn->output_plugin_private == NULL);
	tide_write_stream_commit(ctx, txn, lsn);
	MemoryContextSwitchTo(old);
	MemoryContextReset(stream->change_context);
}

static void
block_prepare(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	write_outcome(ctx, txn, "stream_prepare", lsn);
}

void
tide_in_progress_callbacks(OutputPluginCallbacks *cb)
{
	cb->begin_prepare_cb = prepared_begin;
	cb->prepare_cb = prepared_end;
	cb->commit_prepared_cb = prepared_commit;
	cb->rollback_prepared_cb = prepared_rollback;

	cb->stream_start_cb = block_start;
	cb->stream_stop_cb = block_stop;
	cb->stream_change_cb = block_change;
	cb->stream_truncate_cb = block_truncate;
	cb->stream_message_cb = block_message;
	cb->stream_abort_cb = block_abort;
	cb->stream_commit_cb = block_commit;
	cb->stream_prepare_cb = block_prepare;
}
