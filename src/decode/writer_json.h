/*
 * writer_json.h
 *	  The lines of the stream, and the messages that carry them.
 *
 * Several lines of one transaction go in one message of about 8 kB, without a newline
 * at its end (pg_recvlogical adds it). A message never ends inside a
 * line; a line that ends a transaction or a block is sent at once. Under the SQL functions each line is a message.
 */
#ifndef TIDE_DECODE_WRITER_JSON_H
#define TIDE_DECODE_WRITER_JSON_H

#include "replication/logical.h"

#include "decode/relation_cache.h"

extern void tide_write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							  XLogRecPtr lsn, TideDecodeRelation *entry,
							  TideTarget *target, TideLineType type,
							  bool has_old, const Bitmapset *unchanged);

/* partition, ,"partition":…, may be empty */
extern void tide_write_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
								ReorderBufferChange *change, TideTarget *target,
								TideFragment partition);

/* txn is NULL if the message is not transactional */
extern void tide_write_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							   XLogRecPtr lsn, const char *prefix,
							   const char *content, Size size);

/* members: ,"command":… or empty */
extern void tide_write_ddl(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						   XLogRecPtr lsn, StringInfo members);

/* nothing if the transaction has no line so far */
extern void tide_write_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							  XLogRecPtr commit_lsn);

/* always written, so that every prepared transaction that ends had a beginning */
extern void tide_write_prepare(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							   XLogRecPtr lsn);

/* the end of a streamed block; nothing if it has no line */
extern void tide_write_stream_stop(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);

/* what became of a streamed (sub)transaction; nothing if none of its blocks has a line */
extern void tide_write_stream_abort(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
									XLogRecPtr lsn);
extern void tide_write_stream_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
									 XLogRecPtr lsn);

/* what became of a transaction as a whole: stream_prepare, commit_prepared, rollback_prepared */
extern void tide_write_outcome(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							   const char *type, XLogRecPtr lsn);

#endif							/* TIDE_DECODE_WRITER_JSON_H */
