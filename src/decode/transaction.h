/*
 * transaction.h
 *	  What all kinds of transactions have in common in the stream: those decoded at their
 *	  commit (plugin.c), prepared ones and those in progress (in_progress.c).
 */
#ifndef TIDE_DECODE_TRANSACTION_H
#define TIDE_DECODE_TRANSACTION_H

#include "replication/logical.h"

#include "decode/stream.h"

/* at the begin of a transaction or block, and at its end */
extern void tide_transaction_enter(TideStream *stream, ReorderBufferTXN *txn,
								   TideTransactionKind kind);
extern void tide_transaction_leave(TideStream *stream);

/*
 * Write what a transaction says. Its lines bear stream->line_xid. Catalogs are read: an ERROR
 * 40001 or 40000 of core, which tells that the transaction was rolled back meanwhile,
 * passes through.
 */
extern void tide_transaction_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
									Relation relation, ReorderBufferChange *change);
extern void tide_transaction_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
									  int nrelations, Relation relations[],
									  ReorderBufferChange *change);
extern void tide_transaction_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
									 XLogRecPtr lsn, bool transactional,
									 const char *prefix, Size size, const char *content);

/* install the callbacks for prepared transactions and those in progress */
extern void tide_in_progress_callbacks(OutputPluginCallbacks *cb);

#endif							/* TIDE_DECODE_TRANSACTION_H */
