/*
 * writer_json.c
 *	  The lines of the stream, and the messages that carry them.
 *
 * Constant parts of a line come ready-made from the relation cache; a line is
 * written straight into the stream's buffer, in the order
 *
 *	  type shape table | key row unchanged old | types lsn xid
 *
 * The begin line is written before the first line that says something, so
 * transactions without such a line are not seen at all.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/base64.h"
#include "mb/pg_wchar.h"
#include "utils/datum.h"

#include "decode/writer_json.h"

/*
 * A message is sent once it has this many bytes. With a last line of usual length and
 * the protocol's headers it then fits into the 8 kB that the server sends at once.
 */
#define MESSAGE_SIZE			7600
/* a buffer one long line has blown up beyond this is given back */
#define BUFFER_KEEP_SIZE		(1024 * 1024)
/* a StringInfo ends at 1 GB; format transaction stops in time to say so */
#define TRANSACTION_MAX_SIZE	(1000 * 1024 * 1024)

/* what output_plugin_private of a streamed transaction points at once it has a line */
static const bool has_lines = true;

static void begin_line(LogicalDecodingContext *ctx, ReorderBufferTXN *txn);
static void end_line(LogicalDecodingContext *ctx);
static void send_buffer(LogicalDecodingContext *ctx, bool last);

/* write the number's hexadecimal digits before end; returns where they begin */
static char *
write_hex(char *end, uint32 number)
{
	do
	{
		*--end = "0123456789ABCDEF"[number & 15];
		number >>= 4;
	} while (number != 0);
	return end;
}

/* ,"name":"0/16B3748" */
static void
write_lsn(StringInfo out, const char *name, XLogRecPtr lsn)
{
	char		text[2 * sizeof(XLogRecPtr) + 2];
	char	   *end = text + sizeof(text);
	char	   *start = end;

	*--start = '"';
	start = write_hex(start, (uint32) lsn);
	*--start = '/';
	start = write_hex(start, (uint32) (lsn >> 32));

	tide_json_raw(out, name, (int) strlen(name));
	tide_json_raw(out, start, (int) (end - start));
}

static void
write_xid(StringInfo out, const char *name, TransactionId xid)
{
	tide_json_raw(out, name, (int) strlen(name));
	tide_json_int64(out, xid);
}

/* lsn and xid of a line, as asked for, and its end */
static void
write_tail(TideStream *stream, XLogRecPtr lsn, ReorderBufferTXN *txn)
{
	StringInfo	out = &stream->buffer;

	/* format transaction gives the xid once */
	if (stream->options.include_lsn)
		write_lsn(out, ",\"lsn\":\"", lsn);
	if (stream->options.include_xid && txn != NULL && !stream->options.whole_transactions)
		write_xid(out, ",\"xid\":", stream->line_xid);
	tide_json_char(out, '}');
}

static void
write_gid(StringInfo out, ReorderBufferTXN *txn)
{
	tide_json_literal(out, ",\"gid\":");
	tide_json_cstring(out, txn->gid);
}

/* what begin, commit and transaction say of the transaction */
static void
write_transaction_facts(TideStream *stream, ReorderBufferTXN *txn, XLogRecPtr lsn,
						bool with_end)
{
	StringInfo	out = &stream->buffer;

	if (stream->options.include_lsn)
	{
		write_lsn(out, ",\"lsn\":\"", lsn);
		if (with_end)
			write_lsn(out, ",\"end_lsn\":\"", txn->end_lsn);
	}
	if (stream->options.include_xid)
		write_xid(out, ",\"xid\":", txn->xid);
	if (stream->options.include_timestamp)
	{
		tide_json_literal(out, ",\"at\":");
		tide_json_timestamptz(out, txn->xact_time.commit_time);
	}
}

/* the begin line of a block; the first block's says so */
static void
write_stream_start(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	tide_json_literal(out, "{\"type\":\"stream_start\"");
	write_xid(out, ",\"xid\":", txn->xid);
	if (txn->output_plugin_private == NULL)
		tide_json_literal(out, ",\"first\":true");
	txn->output_plugin_private = unconstify(bool *, &has_lines);
	tide_json_char(out, '}');
	end_line(ctx);
}

static void
write_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	stream->has_begun = true;
	if (stream->kind == TIDE_TRANSACTION_STREAMED)
	{
		write_stream_start(ctx, txn);
		return;
	}
	if (!stream->options.whole_transactions)
		tide_json_literal(out, "{\"type\":\"begin\"");
	else if (stream->kind == TIDE_TRANSACTION_PREPARED)
		tide_json_literal(out, "{\"type\":\"prepare\"");
	else
		tide_json_literal(out, "{\"type\":\"transaction\"");
	if (stream->kind == TIDE_TRANSACTION_PREPARED)
		write_gid(out, txn);
	write_transaction_facts(stream, txn, txn->final_lsn,
							stream->options.whole_transactions);
	if (stream->options.whole_transactions)
		tide_json_literal(out, ",\"changes\":[");
	else
		tide_json_char(out, '}');
	end_line(ctx);
}

/* separate from what is before; txn is NULL outside of transactions */
static void
begin_line(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideStream *stream = ctx->output_plugin_private;

	if (txn != NULL && !stream->has_begun)
	{
		write_begin(ctx, txn);
		if (stream->options.whole_transactions)
			return;
	}
	if (stream->buffer.len > 0)
		tide_json_char(&stream->buffer,
					   stream->options.whole_transactions ? ',' : '\n');
}

/* a line of a transaction is complete: send what is due */
static void
end_line(LogicalDecodingContext *ctx)
{
	TideStream *stream = ctx->output_plugin_private;

	stream->complete = stream->buffer.len;
	if (stream->options.whole_transactions)
	{
		if (stream->buffer.len > TRANSACTION_MAX_SIZE)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("transaction is too large for format \"%s\"", "transaction"),
					 errdetail("Its JSON is longer than %d MB.",
							   TRANSACTION_MAX_SIZE / (1024 * 1024)),
					 errhint("Use format \"%s\".", "lines")));
		return;
	}
	if (!stream->to_client || stream->buffer.len >= MESSAGE_SIZE)
		send_buffer(ctx, false);
}

/*
 * The one place where text leaves: for a client it becomes UTF-8, for the SQL functions it
 * stays in the server encoding.
 */
static void
send_buffer(LogicalDecodingContext *ctx, bool last)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	buffer = &stream->buffer;
	char	   *text = buffer->data;
	int			len = buffer->len;
	bool		own_transaction = false;

	stream->idle_changes = 0;
	if (stream->to_client && GetDatabaseEncoding() != PG_UTF8)
	{
		/* a message that is not transactional comes without a transaction */
		own_transaction = !IsTransactionState();
		if (own_transaction)
			StartTransactionCommand();
		text = tide_json_to_utf8(text, &len);
	}

	OutputPluginPrepareWrite(ctx, last);
	appendBinaryStringInfo(ctx->out, text, len);
	OutputPluginWrite(ctx, last);

	if (own_transaction)
		CommitTransactionCommand();
	stream->complete = 0;
	if (buffer->maxlen > BUFFER_KEEP_SIZE)
	{
		MemoryContext old = MemoryContextSwitchTo(ctx->context);

		pfree(buffer->data);
		initStringInfo(buffer);
		MemoryContextSwitchTo(old);
	}
	else
		resetStringInfo(buffer);
}

/* ,"unchanged":["body"]: columns of the target whose values the WAL does not have */
static void
write_unchanged(StringInfo out, TideTarget *target, TupleDesc desc,
				const Bitmapset *unchanged)
{
	int			attnum = -1;
	bool		first = true;

	while ((attnum = bms_next_member(unchanged, attnum)) >= 0)
	{
		if (!bms_is_member(attnum, target->columns))
			continue;
		if (first)
			tide_json_literal(out, ",\"unchanged\":[");
		else
			tide_json_char(out, ',');
		first = false;
		tide_json_cstring(out, NameStr(TupleDescAttr(desc, attnum - 1)->attname));
	}
	if (!first)
		tide_json_char(out, ']');
}

/* whether the columns that name the row differ */
static bool
key_changed(TideDecodeRelation *entry)
{
	TupleDesc	desc = entry->old_slot->tts_tupleDescriptor;

	for (int i = 0; i < entry->identity.nkeys; i++)
	{
		int			index = entry->identity.keys[i] - 1;
		Form_pg_attribute attribute = TupleDescAttr(desc, index);
		bool		old_null = entry->old_slot->tts_isnull[index];

		if (old_null != entry->new_slot->tts_isnull[index])
			return true;
		if (!old_null &&
			!datum_image_eq(entry->old_slot->tts_values[index],
							entry->new_slot->tts_values[index],
							attribute->attbyval, attribute->attlen))
			return true;
	}
	return false;
}

/*
 * ,"old":{…}. With include-old all that is known of the old row: the whole row under
 * REPLICA IDENTITY FULL, else its key. Without it the old key, if an update changed it.
 */
static void
write_old(TideStream *stream, TideDecodeRelation *entry, TideTarget *target,
		  TideLineType type, bool has_old)
{
	StringInfo	out = &stream->buffer;
	TupleTableSlot *old = has_old ? entry->old_slot : entry->new_slot;

	if (stream->options.include_old && has_old && entry->identity.full)
	{
		tide_json_literal(out, ",\"old\":");
		tide_row_writer_write(target->row, out, old->tts_values, old->tts_isnull, NULL);
		return;
	}
	if (target->key == NULL)
		return;
	if (stream->options.include_old ||
		(type == TIDE_LINE_UPDATE && has_old && key_changed(entry)))
	{
		tide_json_literal(out, ",\"old\":");
		tide_row_writer_write(target->key, out, old->tts_values, old->tts_isnull, NULL);
	}
}

void
tide_write_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
				  TideDecodeRelation *entry, TideTarget *target, TideLineType type,
				  bool has_old, const Bitmapset *unchanged)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	/* a row that left a shape goes by its old name, if that is known */
	bool		by_old = type == TIDE_LINE_DELETE && has_old;
	TupleTableSlot *named = by_old ? entry->old_slot : entry->new_slot;

	begin_line(ctx, txn);
	tide_json_raw(out, target->heads[type].data, target->heads[type].len);
	if (stream->options.include_key && target->key != NULL)
	{
		tide_json_literal(out, ",\"key\":");
		tide_row_writer_write(target->key, out, named->tts_values, named->tts_isnull,
							  NULL);
	}
	if (type != TIDE_LINE_DELETE)
	{
		tide_json_literal(out, ",\"row\":");
		tide_row_writer_write(target->row, out, entry->new_slot->tts_values,
							  entry->new_slot->tts_isnull, unchanged);
		if (unchanged != NULL)
			write_unchanged(out, target, entry->new_slot->tts_tupleDescriptor, unchanged);
	}
	if (type != TIDE_LINE_INSERT)
		write_old(stream, entry, target, type, has_old);
	if (target->types.len > 0)
		tide_json_raw(out, target->types.data, target->types.len);
	write_tail(stream, lsn, txn);
	end_line(ctx);
}

void
tide_write_truncate(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
					ReorderBufferChange *change, TideTarget *target,
					TideFragment partition)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;
	TideFragment *head = &target->heads[TIDE_LINE_TRUNCATE];

	begin_line(ctx, txn);
	tide_json_raw(out, head->data, head->len);
	if (partition.len > 0)
		tide_json_raw(out, partition.data, partition.len);
	if (change->data.truncate.cascade)
		tide_json_literal(out, ",\"cascade\":true");
	if (change->data.truncate.restart_seqs)
		tide_json_literal(out, ",\"restart_identity\":true");
	write_tail(stream, change->lsn, txn);
	end_line(ctx);
}

/* the content as a string if it is text, else in base64 */
static void
write_content(StringInfo out, const char *content, int size)
{
	int			encoding = GetDatabaseEncoding();
	int			room = pg_b64_enc_len(size);
	char	   *encoded;
	int			len;

	/* a SQL_ASCII database takes anything for text; the stream does not */
	if (encoding == PG_SQL_ASCII)
		encoding = PG_UTF8;
	if (pg_verify_mbstr(encoding, content, size, true))
	{
		tide_json_literal(out, ",\"content\":");
		tide_json_string(out, content, size);
		return;
	}
	encoded = palloc(room);
	len = pg_b64_encode((const void *) content, size, encoded, room);
	tide_json_literal(out, ",\"content_base64\":");
	tide_json_string(out, encoded, len);
}

void
tide_write_message(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
				   const char *prefix, const char *content, Size size)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	begin_line(ctx, txn);
	tide_json_literal(out, "{\"type\":\"message\",\"transactional\":");
	if (txn != NULL)
		tide_json_literal(out, "true");
	else
		tide_json_literal(out, "false");
	tide_json_literal(out, ",\"prefix\":");
	tide_json_cstring(out, prefix);
	write_content(out, content, (int) size);
	write_tail(stream, lsn, txn);
	if (txn == NULL)
		send_buffer(ctx, true);
	else
		end_line(ctx);
}

void
tide_write_ddl(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn,
			   StringInfo members)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	begin_line(ctx, txn);
	tide_json_literal(out, "{\"type\":\"ddl\"");
	tide_json_raw(out, members->data, members->len);
	write_tail(stream, lsn, txn);
	end_line(ctx);
}

/* ---------- ends of transactions ---------- */

/* forget what is left of a line that an ERROR got in between of */
static void
drop_incomplete_line(TideStream *stream)
{
	stream->buffer.len = stream->complete;
	stream->buffer.data[stream->complete] = '\0';
}

void
tide_write_outcome(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				   const char *type, XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	begin_line(ctx, NULL);
	tide_json_literal(out, "{\"type\":");
	tide_json_cstring(out, type);
	if (txn->gid != NULL)
		write_gid(out, txn);
	write_transaction_facts(stream, txn, lsn, true);
	tide_json_char(out, '}');
	send_buffer(ctx, true);
}

void
tide_write_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
				  XLogRecPtr commit_lsn)
{
	TideStream *stream = ctx->output_plugin_private;

	if (!stream->has_begun)
		return;
	if (!stream->options.whole_transactions)
	{
		tide_write_outcome(ctx, txn, "commit", commit_lsn);
		return;
	}
	tide_json_literal(&stream->buffer, "]}");
	send_buffer(ctx, true);
}

void
tide_write_prepare(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;

	drop_incomplete_line(stream);
	if (!stream->has_begun)
		write_begin(ctx, txn);
	if (!stream->options.whole_transactions)
	{
		tide_write_outcome(ctx, txn, "prepare", lsn);
		return;
	}
	tide_json_literal(&stream->buffer, "]}");
	send_buffer(ctx, true);
}

void
tide_write_stream_stop(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;

	drop_incomplete_line(stream);
	if (!stream->has_begun)
		return;
	begin_line(ctx, NULL);
	tide_json_literal(out, "{\"type\":\"stream_stop\"");
	write_xid(out, ",\"xid\":", txn->xid);
	tide_json_char(out, '}');
	send_buffer(ctx, true);
}

void
tide_write_stream_abort(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						XLogRecPtr lsn)
{
	TideStream *stream = ctx->output_plugin_private;
	StringInfo	out = &stream->buffer;
	ReorderBufferTXN *top = txn->toptxn ? txn->toptxn : txn;

	if (top->output_plugin_private == NULL)
		return;
	begin_line(ctx, NULL);
	tide_json_literal(out, "{\"type\":\"stream_abort\"");
	if (stream->options.include_lsn)
		write_lsn(out, ",\"lsn\":\"", lsn);
	write_xid(out, ",\"xid\":", top->xid);
	if (txn != top)
		write_xid(out, ",\"subxid\":", txn->xid);
	tide_json_char(out, '}');
	send_buffer(ctx, true);
}

void
tide_write_stream_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn,
						 XLogRecPtr lsn)
{
	if (txn->output_plugin_private != NULL)
		tide_write_outcome(ctx, txn, "stream_commit", lsn);
}
