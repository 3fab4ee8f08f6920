/*
 * token.c
 *	  Makes tokens, most of them bad, and gives them to pg_tide's own function, in the server.
 *
 * What is checked of each: it is taken only if it was signed as it is; a refusal is the one error;
 * what is taken has the type and the time it must have. Causes are counted, as a fuzzer that
 * only ever meets the first check proves nothing.
 */
#include "postgres.h"

#include "common/hmac.h"
#include "common/pg_prng.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fuzz_tokens);

#define SECRET		"thirty-two bytes of the fuzzer.."
#define MAX_CAUSES	64

static const char *const headers[] = {
	"{\"alg\":\"HS256\",\"kid\":\"hs\",\"typ\":\"JWT\"}",
	"{\"alg\":\"HS256\",\"kid\":\"hs\"}",
	"{\"alg\":\"HS256\"}",
	"{\"alg\":\"EdDSA\",\"kid\":\"ed\"}",
	"{\"alg\":\"RS256\",\"kid\":\"rs\"}",
	"{\"alg\":\"ES256\",\"kid\":\"es\"}",
	"{\"alg\":\"ES256\"}",
	"{\"alg\":\"none\"}",
};

static const char *const claims[] = {
	"{\"sub\":\"ada\",\"exp\":1900000000,\"aud\":\"tide\"}",
	"{\"sub\":\"ada\",\"exp\":1900000000,\"nbf\":1,\"iat\":2,\"aud\":[\"tide\",\"x\"],\"iss\":\"me\"}",
	"{\"sub\":7,\"exp\":1.9e9,\"aud\":\"tide\",\"role\":\"r\",\"x\":{\"a\":[1,{\"b\":null}],\"c\":\"\\u00e4\\ud83d\\ude00\"}}",
	"{\"exp\":1900000000,\"aud\":\"tide\",\"teams\":[1,2,3],\"n\":-0.5e-7,\"t\":true,\"s\":\"\\\"\\\\\\/\\b\"}",
};

static const char *const words[] = {
	"{", "}", "[", "]", ":", ",", "\"", "\\", "\\u0000", "\\ud800", "\\udc00", "\\u0061", "null", "true", "1e999", "-", "0", "1e-400",
	"\"exp\":", "\"nbf\":", "\"aud\":", "\"alg\":", "\"kid\":", "\"crit\":", "\"sub\":\"x\",", ",\"sub\":1", "HS256", "none", "\"hs\"",
	"\xff", "\xc3", "\xc3\xa4", "\xed\xa0\x80", "\xf0\x9f\x98\x80", "\xf4\x90\x80\x80", "\xc0\x80", " ", "\t", "\n", "\x01", "9", "99999999999999999999",
	"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":", ".", "=", "-_", "+/",
};

typedef struct Cause
{
	char	   *text;
	int64		count;
} Cause;

typedef struct Fuzzer
{
	pg_prng_state random;
	FmgrInfo	function;
	Cause		causes[MAX_CAUSES];
	int64		taken;
	MemoryContext keep;
} Fuzzer;

static uint32
below(Fuzzer *fuzzer, uint32 n)
{
	return pg_prng_uint64(&fuzzer->random) % n;
}

/* one random change of bytes */
static void
mutate(Fuzzer *fuzzer, StringInfo text)
{
	int			at = below(fuzzer, text->len + 1);
	int			n = below(fuzzer, 6);
	const char *word = words[below(fuzzer, lengthof(words))];
	int			restlen = text->len - at;
	char	   *rest = palloc(restlen + 1);

	n = Min(n, restlen);
	memcpy(rest, text->data + at, restlen);
	switch (below(fuzzer, 6))
	{
		case 0:
			if (at < text->len)
				text->data[at] ^= 1 << below(fuzzer, 8);
			break;
		case 1:
			if (at < text->len)
				text->data[at] = (char) below(fuzzer, 256);
			break;
		case 2:					/* something in between */
			text->len = at;
			appendStringInfoString(text, word);
			appendBinaryStringInfo(text, rest, restlen);
			break;
		case 3:					/* something away */
			text->len = at;
			appendBinaryStringInfo(text, rest + n, restlen - n);
			break;
		case 4:					/* something twice, now and then very often */
			text->len = at;
			for (int i = below(fuzzer, 50) == 0 ? below(fuzzer, 4000) : 1; i >= 0; i--)
				appendBinaryStringInfo(text, rest, Max(n, Min(1, restlen)));
			appendBinaryStringInfo(text, rest, restlen);
			break;
		case 5:					/* the rest away */
			if (below(fuzzer, 4) == 0)
				text->len = at;
			break;
	}
}

static void
append_base64url(StringInfo out, const char *bytes, int len)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	uint32		buffer = 0;
	int			bits = 0;

	for (int i = 0; i < len; i++)
	{
		buffer = buffer << 8 | (uint8) bytes[i];
		for (bits += 8; bits >= 6; bits -= 6)
			appendStringInfoChar(out, letters[buffer >> (bits - 6) & 63]);
	}
	if (bits > 0)
		appendStringInfoChar(out, letters[buffer << (6 - bits) & 63]);
}

static void
append_signature(StringInfo out)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_hmac_ctx *hmac = pg_hmac_create(PG_SHA256);

	if (hmac == NULL || pg_hmac_init(hmac, (const uint8 *) SECRET, strlen(SECRET)) < 0 ||
		pg_hmac_update(hmac, (const uint8 *) out->data, out->len) < 0 ||
		pg_hmac_final(hmac, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not sign");
	pg_hmac_free(hmac);
	appendStringInfoChar(out, '.');
	append_base64url(out, (const char *) digest, sizeof(digest));
}

/* whether it was signed, and is as it was when it was signed */
static bool
make_token(Fuzzer *fuzzer, StringInfo token)
{
	StringInfoData part;
	StringInfoData before;
	bool		is_signed = below(fuzzer, 8) != 0;
	int			nheaders = below(fuzzer, 10) == 0 ? lengthof(headers) : 3;

	initStringInfo(&part);
	initStringInfo(&before);
	appendStringInfoString(&part, headers[below(fuzzer, nheaders)]);
	while (below(fuzzer, 5) == 0)
		mutate(fuzzer, &part);
	append_base64url(token, part.data, part.len);
	resetStringInfo(&part);
	appendStringInfoString(&part, claims[below(fuzzer, lengthof(claims))]);
	while (below(fuzzer, 3) != 0)
		mutate(fuzzer, &part);
	appendStringInfoChar(token, '.');
	append_base64url(token, part.data, part.len);
	if (is_signed)
		append_signature(token);
	else
	{
		static const int lengths[] = {0, 1, 32, 63, 64, 65, 255, 256, 257, 600};
		int			len = lengths[below(fuzzer, lengthof(lengths))];

		resetStringInfo(&part);
		for (int i = 0; i < len; i++)
			appendStringInfoChar(&part, (char) below(fuzzer, 256));
		appendStringInfoChar(token, '.');
		append_base64url(token, part.data, part.len);
	}
	appendBinaryStringInfo(&before, token->data, token->len);
	while (below(fuzzer, 6) == 0)
		mutate(fuzzer, token);
	return is_signed && before.len == token->len && memcmp(before.data, token->data, token->len) == 0;
}

static void
fail(const char *what, StringInfo token)
{
	StringInfoData hex;

	initStringInfo(&hex);
	for (int i = 0; i < token->len; i++)
		appendStringInfo(&hex, "%02x", (uint8) token->data[i]);
	ereport(ERROR, (errmsg("FUZZ %s", what), errdetail("token: \\x%s", hex.data)));
}

static void
count_cause(Fuzzer *fuzzer, const char *cause)
{
	for (int i = 0; i < MAX_CAUSES; i++)
	{
		Cause	   *entry = &fuzzer->causes[i];

		if (entry->text == NULL)
			entry->text = MemoryContextStrdup(fuzzer->keep, cause);
		if (strcmp(entry->text, cause) != 0)
			continue;
		entry->count++;
		return;
	}
}

static void
check_taken(StringInfo token, Jsonb *taken)
{
	JsonbValue *exp = JB_ROOT_IS_OBJECT(taken) ?
		getKeyJsonValueFromContainer(&taken->root, "exp", 3, NULL) : NULL;

	if (exp == NULL || exp->type != jbvNumeric)
		fail("taken without a time", token);
}

static void
try_token(Fuzzer *fuzzer, TimestampTz now)
{
	MemoryContext context = CurrentMemoryContext;
	StringInfoData token;
	bool		intact;
	Jsonb	   *volatile taken = NULL;
	ErrorData  *volatile error = NULL;

	initStringInfo(&token);
	intact = make_token(fuzzer, &token);
	PG_TRY();
	{
		taken = DatumGetJsonbP(FunctionCall2(&fuzzer->function,
											 PointerGetDatum(cstring_to_text_with_len(token.data, token.len)),
											 TimestampTzGetDatum(now)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error == NULL)
	{
		if (!intact)
			fail("taken though it is not as signed", &token);
		check_taken(&token, taken);
		fuzzer->taken++;
	}
	else if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(error);
	else if (error->sqlerrcode != ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION ||
			 strcmp(error->message, "could not authenticate the request") != 0 ||
			 error->detail != NULL || error->hint != NULL || error->detail_log == NULL)
		fail(psprintf("another error: %s %s", unpack_sql_state(error->sqlerrcode), error->message), &token);
	else
		count_cause(fuzzer, error->detail_log);
}

/* fuzz_tokens(function oid, seed bigint, count bigint, at timestamptz) returns what came of them */
Datum
fuzz_tokens(PG_FUNCTION_ARGS)
{
	Fuzzer		fuzzer = {.keep = CurrentMemoryContext};
	int64		count = PG_GETARG_INT64(2);
	TimestampTz now = PG_GETARG_TIMESTAMPTZ(3);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "fuzz", ALLOCSET_DEFAULT_SIZES);
	StringInfoData out;

	pg_prng_seed(&fuzzer.random, (uint64) PG_GETARG_INT64(1));
	fmgr_info(PG_GETARG_OID(0), &fuzzer.function);
	for (int64 i = 0; i < count; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		try_token(&fuzzer, now);
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	}
	initStringInfo(&out);
	appendStringInfo(&out, INT64_FORMAT " taken", fuzzer.taken);
	for (int i = 0; i < MAX_CAUSES && fuzzer.causes[i].text != NULL; i++)
		appendStringInfo(&out, "\n" INT64_FORMAT " %s", fuzzer.causes[i].count, fuzzer.causes[i].text);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
