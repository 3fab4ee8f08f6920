/*
 * ddl_line.c
 *	  The messages by which pg_tide's event triggers tell of DDL.
 *
 * Whoever may call pg_logical_emit_message() can write a message of this prefix. It must
 * not end the stream nor put on the looks of another line, so content is checked by
 * core's JSON parser, which reports what it finds instead of raising an ERROR, and may not
 * have the members that the line itself has.
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"

#include "decode/ddl_line.h"
#include "util/compat.h"
#include "util/json_text.h"

/* core's parser recurses, and raises an ERROR where its stack ends */
#define MAX_NESTING				100

typedef struct MemberCheck
{
	JsonLexContext *lex;
	bool		is_object;
	bool		is_empty;
	bool		is_reserved;	/* a member has a name of ours */
} MemberCheck;

static TIDE_JSON_ACTION_RESULT
check_object(void *state)
{
	MemberCheck *check = state;

	if (check->lex->lex_level == 0)
		check->is_object = true;
	TIDE_JSON_ACTION_RETURN;
}

static TIDE_JSON_ACTION_RESULT
check_member(void *state, char *name, bool isnull)
{
	MemberCheck *check = state;

	if (check->lex->lex_level == 1)
	{
		check->is_empty = false;
		if (strcmp(name, "type") == 0 || strcmp(name, "lsn") == 0 ||
			strcmp(name, "xid") == 0)
			check->is_reserved = true;
	}
	TIDE_JSON_ACTION_RETURN;
}

/* right for JSON; of anything else the parser sees no more than what is counted here */
static bool
is_nested_too_deeply(const char *content, int len)
{
	int			depth = 0;
	bool		in_string = false;

	for (int i = 0; i < len; i++)
	{
		if (content[i] == '"')
			in_string = !in_string;
		else if (in_string)
			i += content[i] == '\\';
		else if (content[i] == '{' || content[i] == '[')
		{
			if (++depth > MAX_NESTING)
				return true;
		}
		else if (content[i] == '}' || content[i] == ']')
			depth--;
	}
	return false;
}

static bool
is_ddl_object(char *content, int len, bool *is_empty)
{
	MemberCheck check = {.is_empty = true};
	JsonSemAction actions = {
		.semstate = &check,
		.object_start = check_object,
		.object_field_start = check_member,
	};

	if (is_nested_too_deeply(content, len))
		return false;
	check.lex = tide_json_lexer_compat(content, len);
	if (pg_parse_json(check.lex, &actions) != JSON_SUCCESS)
		return false;
	*is_empty = check.is_empty;
	return check.is_object && !check.is_reserved;
}

bool
tide_ddl_members(StringInfo out, const char *content, Size size)
{
	int			encoding = GetDatabaseEncoding();
	char	   *copy;
	char	   *first;
	char	   *last;
	bool		is_empty;

	if (size == 0 ||
		!pg_verify_mbstr(encoding == PG_SQL_ASCII ? PG_UTF8 : encoding, content,
						 (int) size, true))
		return false;
	copy = pnstrdup(content, size);
	if (!is_ddl_object(copy, (int) size, &is_empty))
		return false;
	if (is_empty)
		return true;

	/* valid JSON has line breaks between its tokens only */
	for (char *c = copy; *c != '\0'; c++)
	{
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}
	first = strchr(copy, '{') + 1;
	last = strrchr(copy, '}');
	tide_json_char(out, ',');
	tide_json_raw(out, first, (int) (last - first));
	return true;
}
