/*
 * canonical.c
 *	  One text for each JSON value, the same on every machine.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"

#include "crypto/canonical.h"
#include "util/errors.h"

typedef struct Member
{
	char	   *name;			/* in UTF-8 */
	int			len;
	JsonbValue	value;
} Member;

static void append_container(StringInfo out, JsonbContainer *container, const char *leave_out);

/* bytes in the server encoding as UTF-8 */
static char *
to_utf8(const char *text, int *len)
{
	char	   *result = pg_server_to_any(text, *len, PG_UTF8);

	if (result != text)
		*len = strlen(result);
	return result;
}

static void
append_string(StringInfo out, const char *utf8, int len)
{
	static const char hex[] = "0123456789abcdef";
	static const char short_escapes[] = "btn\0fr";	/* of 0x08 to 0x0d */

	appendStringInfoChar(out, '"');
	for (int i = 0; i < len; i++)
	{
		unsigned char c = utf8[i];

		if (c == '"' || c == '\\')
			appendStringInfoChar(out, '\\');
		else if (c < ' ')
		{
			appendStringInfoChar(out, '\\');
			if (c >= '\b' && c <= '\r' && c != '\v')
				c = short_escapes[c - '\b'];
			else
			{
				appendStringInfoString(out, c < 0x10 ? "u000" : "u001");
				c = hex[c & 0x0f];
			}
		}
		appendStringInfoChar(out, c);
	}
	appendStringInfoChar(out, '"');
}

static void
append_number(StringInfo out, Numeric number)
{
	Datum		trimmed = DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(number));

	char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, trimmed));

	appendStringInfoString(out, text);
	pfree(text);
}

static void
append_value(StringInfo out, const JsonbValue *value)
{
	int			len;
	char	   *utf8;

	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			break;
		case jbvBool:
			appendStringInfoString(out, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			append_number(out, value->val.numeric);
			break;
		case jbvString:
			len = value->val.string.len;
			utf8 = to_utf8(value->val.string.val, &len);
			append_string(out, utf8, len);
			break;
		case jbvBinary:
			append_container(out, value->val.binary.data, NULL);
			break;
		default:
			elog(ERROR, "unexpected jsonb value of type %d", (int) value->type);
	}
}

static int
compare_members(const void *a, const void *b)
{
	const Member *x = a;
	const Member *y = b;
	int			result = memcmp(x->name, y->name, Min(x->len, y->len));

	return result != 0 ? result : x->len - y->len;
}

static void
append_object(StringInfo out, JsonbContainer *object, const char *leave_out)
{
	Member	   *members = palloc(sizeof(Member) * Max(JsonContainerSize(object), 1));
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			n = 0;

	(void) JsonbIteratorNext(&it, &value, true);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			members[n].len = value.val.string.len;
			members[n].name = to_utf8(value.val.string.val, &members[n].len);
		}
		else if (token == WJB_VALUE)
		{
			members[n].value = value;
			if (leave_out == NULL || members[n].len != strlen(leave_out) ||
				memcmp(members[n].name, leave_out, members[n].len) != 0)
				n++;
		}
	}
	qsort(members, n, sizeof(Member), compare_members);

	appendStringInfoChar(out, '{');
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		append_string(out, members[i].name, members[i].len);
		appendStringInfoChar(out, ':');
		append_value(out, &members[i].value);
	}
	appendStringInfoChar(out, '}');
	pfree(members);
}

static void
append_container(StringInfo out, JsonbContainer *container, const char *leave_out)
{
	int			count = JsonContainerSize(container);

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (JsonContainerIsObject(container))
	{
		append_object(out, container, leave_out);
		return;
	}
	if (!JsonContainerIsScalar(container))
		appendStringInfoChar(out, '[');
	for (int i = 0; i < count; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		append_value(out, getIthJsonbValueFromContainer(container, i));
	}
	if (!JsonContainerIsScalar(container))
		appendStringInfoChar(out, ']');
}

void
tide_canonical_json(StringInfo out, Jsonb *value, const char *leave_out)
{
	append_container(out, &value->root, leave_out);
}

void
tide_signed_message(StringInfo out, const char *kind, Jsonb *content)
{
	appendStringInfo(out, "tide.%s.v1\n", kind);
	tide_canonical_json(out, content, NULL);
}

static void
append_name(StringInfo out, const char *name)
{
	int			len = strlen(name);
	char	   *utf8 = to_utf8(name, &len);

	for (int i = 0; i < len; i++)
	{
		if (utf8[i] == '\\' || utf8[i] == '|')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, utf8[i]);
	}
	appendStringInfoChar(out, '|');
}

void
tide_envelope_aad(StringInfo out, const char *table, const char *column, Jsonb *key)
{
	if (!JB_ROOT_IS_OBJECT(key) || JB_ROOT_COUNT(key) == 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("key of an encrypted value must be a JSON object of the row's key columns")));
	append_name(out, table);
	append_name(out, column);
	tide_canonical_json(out, key, NULL);
}
