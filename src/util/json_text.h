/*
 * json_text.h
 *	  JSON's scalars appended to a StringInfo: strings, integers, times.
 *
 * Text is taken and given in the server encoding; tide_json_to_utf8() is the one place
 * where a stream that leaves the server by itself is made UTF-8.
 */
#ifndef TIDE_JSON_TEXT_H
#define TIDE_JSON_TEXT_H

#include "lib/stringinfo.h"

/* append a JSON string with its quotes; len bytes in the server encoding */
extern void tide_json_string(StringInfo out, const char *text, int len);
extern void tide_json_cstring(StringInfo out, const char *text);
extern void tide_json_int64(StringInfo out, int64 value);
extern void tide_json_float8(StringInfo out, double value);
extern void tide_json_float4(StringInfo out, float value);
extern void tide_json_uuid(StringInfo out, const unsigned char *data);

/* timestamptz as ISO 8601 in UTC with its quotes: "2026-11-21T09:00:00.123456+00:00" */
extern void tide_json_timestamptz(StringInfo out, int64 at);

/* enlargeStringInfo(), inline as long as there is room */
static inline void
tide_json_reserve(StringInfo out, int len)
{
	if (unlikely(out->maxlen - out->len <= len))
		enlargeStringInfo(out, len);
}

/* appendBinaryStringInfo() and appendStringInfoChar(), inline */
static inline void
tide_json_raw(StringInfo out, const char *bytes, int len)
{
	tide_json_reserve(out, len);
	memcpy(out->data + out->len, bytes, len);
	out->len += len;
	out->data[out->len] = '\0';
}

static inline void
tide_json_char(StringInfo out, char c)
{
	tide_json_reserve(out, 1);
	out->data[out->len++] = c;
	out->data[out->len] = '\0';
}

#define tide_json_literal(out, literal) \
	tide_json_raw(out, literal, sizeof(literal) - 1)

/*
 * Text of the server encoding as UTF-8: either text itself (len unchanged) or a
 * palloc'd copy. Bytes of a SQL_ASCII database that are no UTF-8, and characters that have
 * no equivalent in Unicode, become U+FFFD.
 * Other encodings need a transaction, for the conversion's catalog lookup.
 */
extern char *tide_json_to_utf8(char *text, int *len);

#endif							/* TIDE_JSON_TEXT_H */
