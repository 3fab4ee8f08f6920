/*
 * writer_json.h
 *	  The lines of the stream, and the messages that carry them.
 *
 * Several lines of one transaction go in one message of about 8 kB, without a newline
 * at its end (pg_recvlogical adds it). A message never ends inside a
 * line; a commit line is sent at once. Under the SQL functions each line is a message.
 */
#ifndef TIDE_DECODE_WRITER_JSON_H
#define TIDE_DECODE_WRITER_JSON_H

#include "replication/logical.h"

#include "decode/relation_cache.h"

extern void tide_write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							  XLogRecPtr lsn, TideDecodeRelation *entry,
							  TideTarget *target, TideLineType type,
							  bool has_old, const Bitmapset *unchanged);
extern void tide_write_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
								ReorderBufferChange *change, TideTarget *target);
/* txn is NULL if the message is not transactional */
extern void tide_write_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							   XLogRecPtr lsn, const char *prefix,
							   const char *content, Size size);
/* nothing if the transaction has no line so far */
extern void tide_write_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
							  XLogRecPtr commit_lsn);

#endif							/* TIDE_DECODE_WRITER_JSON_H */
