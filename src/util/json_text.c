/*
 * json_text.c
 *	  JSON's scalars appended to a StringInfo.
 *
 * Strings are scanned sixteen bytes at a time, eight where there is no SSE2; what needs
 * no escape is copied as it is scanned. Every function leaves the StringInfo terminated.
 */
#include "postgres.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <math.h>

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "util/json_text.h"

/* room is asked for once per so many input bytes */
#define STRING_CHUNK		1024
/* the longest escape is \u00XX */
#define MAX_ESCAPE			6
/* so many bytes may be written behind the last one that counts */
#define SCAN_SIZE			16

/* so many bytes of other encodings are converted at a time */
#define CONVERSION_CHUNK	2048

#define WORD_OF(byte)		(UINT64CONST(0x0101010101010101) * (byte))

static const char hex_digits[] = "0123456789abcdef";

/*
 * Bits 0x80 of the bytes that JSON strings must escape: below 0x20, '"', '\\'.
 * The lowest bit set is always a true one; higher ones may be borrows.
 */
static inline uint64
escape_mask(uint64 word)
{
	uint64		quote = word ^ WORD_OF('"');
	uint64		backslash = word ^ WORD_OF('\\');

	return (((word - WORD_OF(0x20)) & ~word) |
			((quote - WORD_OF(1)) & ~quote) |
			((backslash - WORD_OF(1)) & ~backslash)) & WORD_OF(0x80);
}

static inline char *
write_escape(char *dst, unsigned char c)
{
	char		letter;

	switch (c)
	{
		case '"':
		case '\\':
			letter = c;
			break;
		case '\b':
			letter = 'b';
			break;
		case '\f':
			letter = 'f';
			break;
		case '\n':
			letter = 'n';
			break;
		case '\r':
			letter = 'r';
			break;
		case '\t':
			letter = 't';
			break;
		default:
			memcpy(dst, "\\u00", 4);
			dst[4] = hex_digits[c >> 4];
			dst[5] = hex_digits[c & 15];
			return dst + 6;
	}
	dst[0] = '\\';
	dst[1] = letter;
	return dst + 2;
}

#ifdef __SSE2__
/*
 * Copy clean runs from *src on, with escapes between them, as long as there are sixteen
 * bytes; *src is then what is left. Returns the end of what was written.
 */
static inline char *
write_escaped_blocks(char *dst, const char **src, const char *end)
{
	const char *from = *src;

	while (end - from >= SCAN_SIZE)
	{
		__m128i		block = _mm_loadu_si128((const __m128i *) from);
		__m128i		control = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
		__m128i		quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
		__m128i		backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
		int			mask = _mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash)));

		_mm_storeu_si128((__m128i *) dst, block);
		if (likely(mask == 0))
		{
			from += SCAN_SIZE;
			dst += SCAN_SIZE;
		}
		else
		{
			int			clean = pg_rightmost_one_pos32((uint32) mask);

			from += clean;
			dst = write_escape(dst + clean, (unsigned char) *from++);
		}
	}
	*src = from;
	return dst;
}
#endif

/* copy src..end with escapes to dst, which has room for the worst case and SCAN_SIZE more */
static char *
write_escaped(char *dst, const char *src, const char *end)
{
#ifdef __SSE2__
	dst = write_escaped_blocks(dst, &src, end);
#endif
	while (end - src >= (int) sizeof(uint64))
	{
		uint64		word;
		uint64		mask;

		memcpy(&word, src, sizeof(word));
		memcpy(dst, src, sizeof(word));
		mask = escape_mask(word);
		if (likely(mask == 0))
		{
			src += sizeof(word);
			dst += sizeof(word);
			continue;
		}
#ifndef WORDS_BIGENDIAN
		{
			int			clean = pg_rightmost_one_pos64(mask) / 8;

			src += clean;
			dst = write_escape(dst + clean, (unsigned char) *src++);
		}
#else
		for (int i = 0; i < (int) sizeof(word); i++, src++)
		{
			unsigned char c = (unsigned char) *src;

			if (c < 0x20 || c == '"' || c == '\\')
				dst = write_escape(dst, c);
			else
				*dst++ = (char) c;
		}
#endif
	}
	while (src < end)
	{
		unsigned char c = (unsigned char) *src++;

		if (unlikely(c < 0x20 || c == '"' || c == '\\'))
			dst = write_escape(dst, c);
		else
			*dst++ = (char) c;
	}
	return dst;
}

void
tide_json_string(StringInfo out, const char *text, int len)
{
	const char *end = text + len;

	tide_json_char(out, '"');
	do
	{
		const char *stop = Min(end, text + STRING_CHUNK);

		/* the quote at the end included */
		tide_json_reserve(out, (int) (stop - text) * MAX_ESCAPE + SCAN_SIZE + 1);
		out->len = (int) (write_escaped(out->data + out->len, text, stop) - out->data);
		text = stop;
	} while (text < end);
	out->data[out->len++] = '"';
	out->data[out->len] = '\0';
}

void
tide_json_cstring(StringInfo out, const char *text)
{
	tide_json_string(out, text, (int) strlen(text));
}

void
tide_json_int64(StringInfo out, int64 value)
{
	tide_json_reserve(out, MAXINT8LEN + 1);
	out->len += pg_lltoa(value, out->data + out->len);
}

/* shortest text that gives the same value again; NaN and infinities as strings */
void
tide_json_float8(StringInfo out, double value)
{
	char		buf[DOUBLE_SHORTEST_DECIMAL_LEN];
	int			len = double_to_shortest_decimal_bufn(value, buf);

	if (unlikely(isnan(value) || isinf(value)))
		tide_json_string(out, buf, len);
	else
		tide_json_raw(out, buf, len);
}

void
tide_json_float4(StringInfo out, float value)
{
	char		buf[FLOAT_SHORTEST_DECIMAL_LEN];
	int			len = float_to_shortest_decimal_bufn(value, buf);

	if (unlikely(isnan(value) || isinf(value)))
		tide_json_string(out, buf, len);
	else
		tide_json_raw(out, buf, len);
}

void
tide_json_uuid(StringInfo out, const unsigned char *data)
{
	char		buf[38];
	char	   *dst = buf;

	*dst++ = '"';
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*dst++ = '-';
		*dst++ = hex_digits[data[i] >> 4];
		*dst++ = hex_digits[data[i] & 15];
	}
	*dst++ = '"';
	tide_json_raw(out, buf, (int) sizeof(buf));
}

void
tide_json_timestamptz(StringInfo out, int64 at)
{
	static const int utc = 0;
	char		buf[MAXDATELEN + 1];

	JsonEncodeDateTime(buf, TimestampTzGetDatum(at), TIMESTAMPTZOID, &utc);
	tide_json_char(out, '"');
	tide_json_raw(out, buf, (int) strlen(buf));
	tide_json_char(out, '"');
}

/* SQL_ASCII: whatever is no UTF-8 becomes U+FFFD, byte by byte */
static char *
replace_invalid_utf8(const char *text, int *len)
{
	const unsigned char *src = (const unsigned char *) text;
	const unsigned char *end = src + *len;
	StringInfoData fixed;

	initStringInfo(&fixed);
	while (src < end)
	{
		int			width = pg_utf_mblen(src);

		if (width <= end - src && pg_utf8_islegal(src, width))
		{
			tide_json_raw(&fixed, (const char *) src, width);
			src += width;
		}
		else
		{
			tide_json_literal(&fixed, "\xEF\xBF\xBD");
			src++;
		}
	}
	enlargeStringInfo(&fixed, 1);
	fixed.data[fixed.len] = '\0';
	*len = fixed.len;
	return fixed.data;
}

/* other encodings: whatever has no equivalent becomes U+FFFD, character by character */
static char *
convert_to_utf8(const char *text, int *len)
{
	int			encoding = GetDatabaseEncoding();
	Oid			proc = FindDefaultConversionProc(encoding, PG_UTF8);
	unsigned char chunk[CONVERSION_CHUNK * MAX_CONVERSION_GROWTH + 1];
	const char *end = text + *len;
	StringInfoData utf8;

	if (!OidIsValid(proc))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("default conversion function for encoding \"%s\" to \"%s\" does not exist",
						pg_encoding_to_char(encoding), "UTF8")));
	initStringInfo(&utf8);
	while (text < end)
	{
		int			done = pg_do_encoding_conversion_buf(proc, encoding, PG_UTF8,
														 (unsigned char *) text,
														 (int) (end - text),
														 chunk, sizeof(chunk), true);

		if (done == 0)
		{
			int			width = pg_encoding_verifymbchar(encoding, text, (int) (end - text));

			tide_json_literal(&utf8, "\xEF\xBF\xBD");
			text += Max(width, 1);
			continue;
		}
		tide_json_raw(&utf8, (char *) chunk, (int) strlen((char *) chunk));
		text += done;
	}
	*len = utf8.len;
	return utf8.data;
}

char *
tide_json_to_utf8(char *text, int *len)
{
	if (GetDatabaseEncoding() == PG_UTF8)
		return text;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
	{
		if (pg_verify_mbstr_len(PG_UTF8, text, *len, true) >= 0)
			return text;
		return replace_invalid_utf8(text, len);
	}
	return convert_to_utf8(text, len);
}
