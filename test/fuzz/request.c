/*
 * request.c
 *	  Makes pull and push requests, most of them bad, and gives them to pg_tide's own parsers, in
 *	  the server.
 *
 * What is checked of each: a refusal has the SQLSTATE its step may have, and reading a cookie has none;
 * what is taken fits its header's promises, holds what the request did, and written down and read again is the
 * same;
 * memory taken is in proportion to the text. Outcomes are counted, as a fuzzer that only ever meets the
 * first check proves nothing.
 *
 * Blocks of the memory contexts are as small as they can be: so larger pieces come straight
 * from malloc, where AddressSanitizer sees what is read beyond them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "auth/claims.h"
#include "crdt/hlc.h"
#include "crdt/vclock.h"
#include "crypto/canonical.h"
#include "pull/cookie.h"
#include "pull/request.h"
#include "push/request.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(fuzz_requests);

#define MAX_OUTCOMES	128
#define MAX_LENGTH		40000
/* a mutation's struct is made of "1,", which is then refused */
#define MEMORY_FIXED	(64 * 1024)
#define MEMORY_PER_BYTE	256

static const char *const values[] = {
	"null", "true", "false", "0", "1", "2", "-1", "-0", "0.0", "1.0", "1.5", "7e2", "1e-5", "9223372036854775807", "9223372036854775808",
	"-9223372036854775808", "18446744073709551616", "2147483648", "4294967297", "9007199254740993", "100000", "100001", "1e131071", "1e131072", "0e-16383", "1e-16383", "1e-16384",
	"\"\"", "\"x\"", "\"1\"", "\"\\u0000\"", "\"\\ud800\"", "\"\\ud83d\\ude00\"", "\"\xc3\xa4\"", "\"\\\"\\\\\"",
	"\"00000000-0000-4000-8000-0000000000c1\"", "\"00000000-0000-4000-8000-0000000000E1\"", "\"{00000000000040008000-0000000000c1}\"",
	"\"00000000-0000-4000-8000-0000000000c\"", "\"0000000000000-4000-8000-0000000000c1\"", "\"00000000-0000-4000-8000-0000000000c1 \"",
	"\"insert\"", "\"update\"", "\"delete\"", "\"call\"", "\"0/0\"", "\"1/1\"", "\"/1\"", "\"0/123456789\"", "\"G/1\"", "\"019aa64d1b2c-0003-800000000000000\"",
	"\"019AA64D1B2C-0003-8000000000000001\"", "[]", "{}", "[[]]", "[{}]", "{\"a\": {}}", "[1, [1]]", "[1, [1, 1, 2]]", "[1, 2, 3, 4]", "[0, 0]", "{\"\": 1}",
};

static const char *const names[] = {
	"client", "token", "claims", "shapes", "cookie", "limit", "resync", "mutations", "atomic", "rejected_seen", "id", "op", "table", "key",
	"values", "base", "hlc", "vclock", "seen", "tx", "call", "args", "signature", "v", "n", "epoch", "at", "first", "", "x", "todos", "\\u0069d",
};

static const char *const words[] = {
	"{", "}", "[", "]", ":", ",", "\"", "\\", "\\u0000", "\\u0061", "null", "1e999", "-", "0", "\xff", "\xc3", "\xed\xa0\x80", "\xf0\x9f\x98\x80",
	" ", "\t", "\x01", "9", "99999999999999999999", "\"id\":", ",\"x\":1", "/", ".", "e",
};

typedef struct Outcome
{
	char	   *text;
	int64		count;
} Outcome;

typedef enum Step
{
	STEP_JSON,
	STEP_CLAIMS,
	STEP_REQUEST,
	STEP_COOKIE,
	STEP_CLOCKS,
	STEP_CANONICAL,
	STEP_AGAIN
} Step;

/* which SQLSTATEs each may end with */
static const struct
{
	const char *name;
	const char *codes;
} steps[] = {
	[STEP_JSON] = {"json", "22P02 22P05 22003 54001"},
	[STEP_CLAIMS] = {"claims", "22023 28000"},
	[STEP_REQUEST] = {"request", "22023 54000"},
	[STEP_COOKIE] = {"cookie", ""},
	[STEP_CLOCKS] = {"clocks", "22023"},
	[STEP_CANONICAL] = {"canonical", "54001"},
	[STEP_AGAIN] = {"again", ""},
};

typedef struct Fuzzer
{
	pg_prng_state random;
	pg_uuid_t	epoch;
	Outcome		outcomes[MAX_OUTCOMES];
	MemoryContext keep;
	MemoryContext context;		/* of one input */
	volatile Step step;
	StringInfo	text;
} Fuzzer;

/* ---- making requests ---- */

static uint32
below(Fuzzer *fuzzer, uint32 n)
{
	return pg_prng_uint64(&fuzzer->random) % n;
}

/* text[from, to) becomes with */
static void
replace(StringInfo text, int from, int to, const char *with, int len)
{
	int			restlen = text->len - to;
	char	   *rest = palloc(restlen + 1);

	memcpy(rest, text->data + to, restlen);
	text->len = from;
	appendBinaryStringInfo(text, with, len);
	appendBinaryStringInfo(text, rest, restlen);
	pfree(rest);
}

/* behind the value that begins there, give or take braces in strings */
static int
value_end(StringInfo text, int at)
{
	int			depth = 0;

	for (int i = at; i < text->len; i++)
	{
		char		c = text->data[i];

		if (c == '"')
		{
			for (i++; i < text->len && text->data[i] != '"'; i++)
				if (text->data[i] == '\\')
					i++;
			if (depth == 0)
				return Min(i + 1, text->len);
		}
		else if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth <= 0)
			return depth < 0 ? i : i + 1;
		else if (c == ',' && depth == 0)
			return i;
	}
	return text->len;
}

/* a random value, or name of a member; false if there is none behind the place chosen */
static bool
find_value(Fuzzer *fuzzer, StringInfo text, int *from, int *to)
{
	int			at = below(fuzzer, text->len + 1);

	while (at < text->len && strchr(":,[{", text->data[at]) == NULL)
		at++;
	for (at++; at < text->len && text->data[at] == ' '; at++)
		;
	if (at >= text->len)
		return false;
	*from = at;
	*to = value_end(text, at);
	return true;
}

static void
replace_by_string(StringInfo text, int from, int to, const char *with)
{
	replace(text, from, to, with, strlen(with));
}

/* one change that leaves JSON JSON, mostly */
static void
mutate_value(Fuzzer *fuzzer, StringInfo text)
{
	int			from,
				to,
				from2,
				to2;
	char	   *value;

	if (!find_value(fuzzer, text, &from, &to))
		return;
	value = pnstrdup(text->data + from, to - from);
	/* a name */
	if (to < text->len && text->data[to] == ':')
	{
		if (below(fuzzer, 3) == 0)
			replace_by_string(text, from, to, psprintf("\"%s\"", names[below(fuzzer, lengthof(names))]));
		return;
	}
	switch (below(fuzzer, 8))
	{
		case 0:					/* twice, now and then very often */
			for (int i = below(fuzzer, 40) == 0 ? below(fuzzer, 400) : 1; i > 0 && text->len < MAX_LENGTH; i--)
				replace_by_string(text, from, from, psprintf("%s,", value));
			break;
		case 1:					/* away, with its comma */
			replace(text, from, to < text->len && text->data[to] == ',' ? to + 1 : to, "", 0);
			break;
		case 2:					/* one for another */
			if (find_value(fuzzer, text, &from2, &to2))
				replace_by_string(text, from, to, pnstrdup(text->data + from2, to2 - from2));
			break;
		case 3:
			replace_by_string(text, from, to, psprintf(below(fuzzer, 2) ? "[%s]" : "{\"id\": %s}", value));
			break;
		default:
			replace_by_string(text, from, to, values[below(fuzzer, lengthof(values))]);
	}
}

/* one change of bytes, never to zero: it ends the text */
static void
mutate_bytes(Fuzzer *fuzzer, StringInfo text)
{
	int			at = below(fuzzer, text->len + 1);
	int			n = below(fuzzer, 6);
	const char *word = words[below(fuzzer, lengthof(words))];

	switch (below(fuzzer, 5))
	{
		case 0:
			if (at < text->len)
				text->data[at] = 1 + below(fuzzer, 127);
			break;
		case 1:
			replace_by_string(text, at, at, word);
			break;
		case 2:
			replace(text, at, Min(at + n, text->len), "", 0);
			break;
		case 3:					/* nested, now and then too deep */
			for (int i = below(fuzzer, 100) == 0 ? below(fuzzer, 30000) : 1; i > 0; i--)
				appendStringInfoString(text, below(fuzzer, 4) == 0 ? "{\"a\":" : "[");
			break;
		case 4:
			if (below(fuzzer, 4) == 0)
				replace(text, at, text->len, "", 0);
			break;
	}
}

static void
make_request(Fuzzer *fuzzer, const char *sample)
{
	initStringInfo(fuzzer->text);
	appendStringInfoString(fuzzer->text, sample);
	while (below(fuzzer, 3) != 0 && fuzzer->text->len < MAX_LENGTH)
		mutate_value(fuzzer, fuzzer->text);
	while (below(fuzzer, 8) == 0)
		mutate_bytes(fuzzer, fuzzer->text);
}

/* ---- judging what comes of them ---- */

static void
fail(Fuzzer *fuzzer, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("FUZZ %s", what), errdetail("request: %s", fuzzer->text->data)));
}

static void
expect(Fuzzer *fuzzer, bool holds, const char *what)
{
	if (!holds)
		fail(fuzzer, what);
}

static void
count_outcome(Fuzzer *fuzzer, const char *text)
{
	for (int i = 0; i < MAX_OUTCOMES; i++)
	{
		Outcome    *outcome = &fuzzer->outcomes[i];

		if (outcome->text == NULL)
			outcome->text = MemoryContextStrdup(fuzzer->keep, text);
		if (strcmp(outcome->text, text) != 0)
			continue;
		outcome->count++;
		return;
	}
}

static Jsonb *
read_json(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static bool
same_json(Jsonb *a, Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(&a->root, &b->root) == 0;
}

static bool
same_string(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
append_json(StringInfo out, const char *name, Jsonb *value)
{
	if (value != NULL)
	{
		appendStringInfo(out, ",\"%s\":", name);
		(void) JsonbToCString(out, &value->root, VARSIZE(value));
	}
}

static void
append_string(StringInfo out, const char *name, const char *value)
{
	if (value != NULL)
	{
		appendStringInfo(out, ",\"%s\":", name);
		escape_json(out, value);
	}
}

static char *
uuid_text(pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

/* fields the request had, null aside, are what was made of them */
static void
expect_kept(Fuzzer *fuzzer, JsonbContainer *request, JsonbContainer *written, const char *const *fields, int nfields)
{
	for (int i = 0; i < nfields; i++)
	{
		JsonbValue	had;
		JsonbValue	has;

		if (getKeyJsonValueFromContainer(request, fields[i], strlen(fields[i]), &had) == NULL || had.type == jbvNull)
			continue;
		expect(fuzzer, getKeyJsonValueFromContainer(written, fields[i], strlen(fields[i]), &has) != NULL &&
			   same_json(JsonbValueToJsonb(&had), JsonbValueToJsonb(&has)), fields[i]);
	}
}

static JsonbContainer *
mutation_at(Jsonb *request, int i)
{
	JsonbValue	array;

	(void) getKeyJsonValueFromContainer(&request->root, "mutations", strlen("mutations"), &array);
	return getIthJsonbValueFromContainer(array.val.binary.data, i)->val.binary.data;
}

static char *
pull_text(TidePullRequest *request)
{
	StringInfoData out;
	ListCell   *lc;
	ListCell   *param;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"limit\":%d", request->limit);
	if (request->has_client)
		append_string(&out, "client", uuid_text(&request->client));
	append_json(&out, "cookie", request->cookie);
	appendStringInfoString(&out, ",\"resync\":[");
	for (int i = 0; i < request->nresync; i++)
		appendStringInfo(&out, "%s" INT64_FORMAT, i == 0 ? "" : ",", request->resync[i]);
	appendStringInfoString(&out, "],\"shapes\":{");
	foreach(lc, request->shapes)
	{
		TideAskedShape *shape = lfirst(lc);

		if (lc != list_head(request->shapes))
			appendStringInfoChar(&out, ',');
		escape_json(&out, shape->name);
		appendStringInfoString(&out, ":[");
		foreach(param, shape->params)
		{
			Jsonb	   *value = lfirst(param);

			if (param != list_head(shape->params))
				appendStringInfoChar(&out, ',');
			(void) JsonbToCString(&out, &value->root, VARSIZE(value));
		}
		appendStringInfoChar(&out, ']');
	}
	appendStringInfoString(&out, "}}");
	return out.data;
}

static bool
same_shapes(List *a, List *b)
{
	ListCell   *lca;
	ListCell   *lcb;
	ListCell   *pa;
	ListCell   *pb;

	if (list_length(a) != list_length(b))
		return false;
	forboth(lca, a, lcb, b)
	{
		TideAskedShape *x = lfirst(lca);
		TideAskedShape *y = lfirst(lcb);

		if (strcmp(x->name, y->name) != 0 || list_length(x->params) != list_length(y->params))
			return false;
		forboth(pa, x->params, pb, y->params)
			if (!same_json(lfirst(pa), lfirst(pb)) || !JB_ROOT_IS_OBJECT((Jsonb *) lfirst(pa)))
				return false;
	}
	return true;
}

static void
check_pull(Fuzzer *fuzzer, Jsonb *request, TidePullRequest *a)
{
	static const char *const fields[] = {"limit", "resync", "cookie"};
	Jsonb	   *written = read_json(pull_text(a));
	TidePullRequest *b = tide_pull_request_parse(written);

	expect_kept(fuzzer, &request->root, &written->root, fields, lengthof(fields));
	expect(fuzzer, a->limit >= 1 && a->limit <= TIDE_PULL_MAX_LIMIT && a->limit == b->limit, "limit");
	expect(fuzzer, a->has_client == b->has_client && memcmp(&a->client, &b->client, UUID_LEN) == 0, "client");
	expect(fuzzer, a->nresync == b->nresync &&
		   (a->nresync == 0 || memcmp(a->resync, b->resync, sizeof(int64) * a->nresync) == 0), "resync");
	expect(fuzzer, same_json(a->cookie, b->cookie), "cookie");
	expect(fuzzer, same_shapes(a->shapes, b->shapes), "shapes");
}

/* of a cookie that is not valid, ids are all there is to it */
static void
check_cookie(Fuzzer *fuzzer, TideCookie *a, pg_uuid_t *client)
{
	int			n = hash_get_num_entries(a->positions);
	TidePosition **positions = palloc(sizeof(TidePosition *) * Max(n, 1));
	TideCookie *b;
	HASH_SEQ_STATUS status;
	StringInfoData out;

	expect(fuzzer, a->valid || (a->newest == 0 && a->last_mutation_id == 0 && a->reported == 0), "a bad cookie's mutations");
	expect(fuzzer, client != NULL || (a->last_mutation_id == 0 && a->reported == 0), "nobody's mutations");
	hash_seq_init(&status, a->positions);
	for (int i = 0; i < n; i++)
		positions[i] = hash_seq_search(&status);
	hash_seq_term(&status);
	if (!a->valid)
		return;
	initStringInfo(&out);
	tide_cookie_write(&out, a->n + 1, &fuzzer->epoch, client, positions, n, a->last_mutation_id, a->reported);
	b = tide_cookie_parse(read_json(out.data), &fuzzer->epoch, client);
	/* the cursor of a group of no buckets is not written */
	expect(fuzzer, b->valid && b->newest <= a->newest, "a valid cookie is not when written");
	expect(fuzzer, a->last_mutation_id == b->last_mutation_id && a->reported == b->reported, "mutations of the cookie");
	expect(fuzzer, a->n >= 0 && (b->n == a->n + 1 || (b->n == 0 && a->n == PG_INT64_MAX - 1)), "number of the cookie");
	expect(fuzzer, hash_get_num_entries(b->positions) == n, "number of positions");
	for (int i = 0; i < n; i++)
	{
		TidePosition *x = positions[i];
		TidePosition *y = hash_search(b->positions, &x->bucket_id, HASH_FIND, NULL);

		expect(fuzzer, y != NULL && x->bucket_id >= 0 && x->cursor == y->cursor && x->cursor >= 0 && x->cursor <= a->newest &&
			   x->first_sync == y->first_sync && x->init == y->init && x->init >= 0 && x->sent == y->sent && x->sent >= 0 && !x->keep,
			   "position");
	}
}

static char *
push_text(TidePushRequest *request)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "{\"client\":\"%s\",\"atomic\":%s,\"rejected_seen\":" INT64_FORMAT ",\"mutations\":[",
					 uuid_text(&request->client), request->atomic ? "true" : "false", request->rejected_seen);
	for (int i = 0; i < request->nmutations; i++)
	{
		TideMutation *m = &request->mutations[i];

		appendStringInfo(&out, "%s{\"id\":" INT64_FORMAT, i > 0 ? "," : "", m->id);
		if (m->op != TIDE_PUSH_CALL)
			append_string(&out, "op", tide_push_op_name(m->op));
		append_string(&out, "table", m->table);
		append_string(&out, "call", m->call);
		append_string(&out, "hlc", m->hlc);
		append_json(&out, "key", m->key);
		append_json(&out, "values", m->values);
		append_json(&out, "base", m->base);
		append_json(&out, "vclock", m->vclock);
		append_json(&out, "args", m->args);
		append_json(&out, "signature", m->signature);
		if (m->seen != InvalidXLogRecPtr)
			appendStringInfo(&out, ",\"seen\":\"%X/%X\"", LSN_FORMAT_ARGS(m->seen));
		if (m->tx != 0)
			appendStringInfo(&out, ",\"tx\":" INT64_FORMAT, m->tx);
		appendStringInfoChar(&out, '}');
	}
	appendStringInfoString(&out, "]}");
	return out.data;
}

static void
check_mutation(Fuzzer *fuzzer, TideMutation *a, TideMutation *b)
{
	bool		is_call = a->op == TIDE_PUSH_CALL;

	expect(fuzzer, a->id > 0 && a->id == b->id && a->op == b->op && a->tx >= 0 && a->tx == b->tx && a->seen == b->seen, "numbers of a mutation");
	expect(fuzzer, same_string(a->table, b->table) && same_string(a->call, b->call) && same_string(a->hlc, b->hlc), "strings of a mutation");
	expect(fuzzer, same_json(a->key, b->key) && same_json(a->values, b->values) && same_json(a->base, b->base) && same_json(a->vclock, b->vclock) &&
		   same_json(a->args, b->args) && same_json(a->signature, b->signature), "objects of a mutation");
	expect(fuzzer, (a->table == NULL) == is_call && (a->key == NULL) == is_call && (a->call != NULL) == is_call, "members of an operation");
	expect(fuzzer, (a->sent != NULL) == (a->signature != NULL), "what was signed");
	expect(fuzzer, a->op != TIDE_PUSH_UPDATE || a->values != NULL, "an update of nothing");
}

static void
check_push(Fuzzer *fuzzer, Jsonb *request, TidePushRequest *a)
{
	static const char *const fields[] = {"atomic", "rejected_seen"};
	static const char *const mutation_fields[] = {
		"id", "op", "table", "key", "values", "base", "hlc", "vclock", "tx", "call", "args", "signature"
	};
	Jsonb	   *written = read_json(push_text(a));
	TidePushRequest *b = tide_push_request_parse(written);

	expect_kept(fuzzer, &request->root, &written->root, fields, lengthof(fields));
	expect(fuzzer, memcmp(&a->client, &b->client, UUID_LEN) == 0 && a->atomic == b->atomic && a->nmutations == b->nmutations &&
		   a->rejected_seen >= 0 && a->rejected_seen == b->rejected_seen, "push");
	for (int i = 0; i < a->nmutations; i++)
	{
		check_mutation(fuzzer, &a->mutations[i], &b->mutations[i]);
		expect_kept(fuzzer, mutation_at(request, i), mutation_at(written, i), mutation_fields, lengthof(mutation_fields));
	}
}

static void
check_clocks(Fuzzer *fuzzer, TidePushRequest *request)
{
	for (int i = 0; i < request->nmutations; i++)
	{
		TideMutation *m = &request->mutations[i];
		TideHlc		hlc;
		char		text[TIDE_HLC_TEXT_LEN + 1];

		if (m->hlc != NULL && tide_hlc_parse(m->hlc, strlen(m->hlc), &hlc))
		{
			tide_hlc_format(&hlc, text);
			expect(fuzzer, pg_strcasecmp(text, m->hlc) == 0, "hlc");
		}
		if (m->vclock == NULL)
			continue;
		tide_vclock_check(m->vclock);
		expect(fuzzer, tide_vclock_compare(m->vclock, tide_vclock_merge(m->vclock, m->vclock)) == TIDE_VCLOCK_EQUAL, "vclock");
	}
}

static void
check_canonical(Fuzzer *fuzzer, Jsonb *request)
{
	StringInfoData out;

	initStringInfo(&out);
	tide_canonical_json(&out, request, NULL);
	expect(fuzzer, same_json(request, read_json(out.data)), "canonical form");
}

static void
check_memory(Fuzzer *fuzzer, Size before)
{
	Size		taken = MemoryContextMemAllocated(fuzzer->context, true) - before;

	if (before > 0 && taken > MEMORY_FIXED + MEMORY_PER_BYTE * (Size) fuzzer->text->len)
		fail(fuzzer, psprintf("%zu bytes of memory for a request of %d", taken, fuzzer->text->len));
}

/* the steps of tide.pull and tide.push that look at nothing but the request; *before: memory, once it is JSON */
static void
parse_request(Fuzzer *fuzzer, bool is_pull, volatile Size *before)
{
	Jsonb	   *json;
	TidePullRequest *pull = NULL;
	TidePushRequest *push = NULL;
	TideCookie *cookie = NULL;
	pg_uuid_t  *client = NULL;

	fuzzer->step = STEP_JSON;
	json = read_json(fuzzer->text->data);
	*before = MemoryContextMemAllocated(fuzzer->context, true);
	fuzzer->step = STEP_CLAIMS;
	(void) tide_request_claims(json);
	fuzzer->step = STEP_REQUEST;
	if (is_pull)
	{
		pull = tide_pull_request_parse(json);
		client = pull->has_client ? &pull->client : NULL;
		fuzzer->step = STEP_COOKIE;
		cookie = tide_cookie_parse(pull->cookie, &fuzzer->epoch, client);
	}
	else
		push = tide_push_request_parse(json);
	check_memory(fuzzer, *before);
	*before = 0;
	fuzzer->step = STEP_CLOCKS;
	if (!is_pull)
		check_clocks(fuzzer, push);
	fuzzer->step = STEP_CANONICAL;
	if (below(fuzzer, 8) == 0)
		check_canonical(fuzzer, json);
	fuzzer->step = STEP_AGAIN;
	if (is_pull)
	{
		check_pull(fuzzer, json, pull);
		check_cookie(fuzzer, cookie, client);
		count_outcome(fuzzer, pull->cookie == NULL ? "pull taken" : cookie->valid ? "pull taken, cookie too" : "pull taken, cookie not");
	}
	else
		check_push(fuzzer, json, push);
	if (!is_pull)
		count_outcome(fuzzer, push->nmutations > 0 ? "push taken" : "empty push taken");
}

/* an ereport's text without what it quotes, but for the names of our fields, and without numbers */
static char *
kind_of_message(const char *message)
{
	const char *first = strchr(message, '"');
	const char *last = strrchr(message, '"');
	const char *end;
	const char *field = "...";
	StringInfoData out;

	initStringInfo(&out);
	for (const char *c = message; *c != '\0' && (first == NULL || c < first); c++)
		if (*c < '0' || *c > '9')
			appendStringInfoChar(&out, *c);
	if (first == NULL || last == first)
		return out.data;
	if (strncmp(first, "\"mutations[", 11) == 0 && (end = strchr(first, ']')) != NULL && end < last)
		first = end[1] == '.' ? end + 1 : end;
	for (int i = 0; strncmp(message, "field ", 6) == 0 && i < lengthof(names); i++)
		if (strcspn(first + 1, ".[\"") == strlen(names[i]) && strncmp(first + 1, names[i], strlen(names[i])) == 0)
			field = names[i];
	appendStringInfo(&out, "'%s%s'%s", *first == ']' ? "mutations." : "", field, last + 1);
	return out.data;
}

static void
try_request(Fuzzer *fuzzer, bool is_pull)
{
	ErrorData  *volatile error = NULL;
	volatile Size before = 0;
	const char *code;

	if (!pg_verifymbstr(fuzzer->text->data, fuzzer->text->len, true))
	{
		count_outcome(fuzzer, "not in the encoding");
		return;
	}
	PG_TRY();
	{
		parse_request(fuzzer, is_pull, &before);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(fuzzer->context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	if (error == NULL)
		return;
	code = unpack_sql_state(error->sqlerrcode);
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN || strncmp(error->message, "FUZZ ", 5) == 0)
		ReThrowError(error);
	if (strstr(steps[fuzzer->step].codes, code) == NULL)
		fail(fuzzer, psprintf("%s: %s %s", steps[fuzzer->step].name, code, error->message));
	check_memory(fuzzer, before);
	/* of what the parsers refuse, each message on its own */
	count_outcome(fuzzer, fuzzer->step == STEP_JSON ? psprintf("json %s", code) :
				  psprintf("%s %s %s", is_pull ? "pull" : "push", code, kind_of_message(error->message)));
}

static char *
outcomes(Fuzzer *fuzzer)
{
	StringInfoData out;

	initStringInfo(&out);
	for (int i = 0; i < MAX_OUTCOMES && fuzzer->outcomes[i].text != NULL; i++)
		appendStringInfo(&out, "\n" INT64_FORMAT " %s", fuzzer->outcomes[i].count, fuzzer->outcomes[i].text);
	return out.data;
}

/*
 * fuzz_requests(corpus text[], epoch uuid, seed bigint, count bigint) returns what came of them. corpus: requests
 * after "pull " or "push "
 */
Datum
fuzz_requests(PG_FUNCTION_ARGS)
{
	StringInfoData request;
	Fuzzer		fuzzer = {.keep = CurrentMemoryContext,.text = &request,.epoch = *PG_GETARG_UUID_P(1)};
	Datum	   *corpus;
	int			ncorpus;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &corpus, NULL, &ncorpus);
	pg_prng_seed(&fuzzer.random, (uint64) PG_GETARG_INT64(2));
	fuzzer.context = AllocSetContextCreate(CurrentMemoryContext, "fuzz", 0, 1024, 1024);
	for (int64 i = PG_GETARG_INT64(3); i > 0; i--)
	{
		MemoryContext old = MemoryContextSwitchTo(fuzzer.context);
		char	   *sample = text_to_cstring(DatumGetTextPP(corpus[below(&fuzzer, ncorpus)]));

		make_request(&fuzzer, sample + strlen("pull "));
		try_request(&fuzzer, strncmp(sample, "pull ", 5) == 0);
		MemoryContextSwitchTo(old);
		MemoryContextReset(fuzzer.context);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_TEXT_P(cstring_to_text(outcomes(&fuzzer)));
}
