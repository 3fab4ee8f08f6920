/*
 * table_pattern.c
 *	  Lists of schema.table with "*" for any characters; "*" alone is any table.
 */
#include "postgres.h"

#include "utils/varlena.h"

#include "decode/table_pattern.h"
#include "util/errors.h"

/* cut the next item off *rest at a comma outside of quotes */
static char *
next_item(char **rest)
{
	char	   *item = *rest;
	bool		quoted = false;

	for (char *p = item; *p; p++)
	{
		if (*p == '"')
			quoted = !quoted;
		else if (*p == ',' && !quoted)
		{
			*p = '\0';
			*rest = p + 1;
			return item;
		}
	}
	*rest = NULL;
	return item;
}

static bool
is_pattern(const List *names)
{
	return list_length(names) == 2 ||
		(list_length(names) == 1 && strcmp(linitial(names), "*") == 0);
}

List *
tide_table_patterns_parse(const char *option, const char *value)
{
	List	   *patterns = NIL;
	char	   *rest = pstrdup(value);

	while (rest != NULL)
	{
		char	   *item = next_item(&rest);
		char	   *shown = pstrdup(item);
		List	   *names;
		TideTablePattern *pattern;

		if (!SplitIdentifierString(item, '.', &names) || !is_pattern(names))
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("invalid table name in option \"%s\": \"%s\"", option, shown),
					 errhint("Write schema.table; * stands for any characters.")));
		pattern = palloc(sizeof(*pattern));
		pattern->schema = linitial(names);
		pattern->table = llast(names);
		patterns = lappend(patterns, pattern);
	}
	return patterns;
}

/* "*" matches any number of bytes; back to the last one seen on a mismatch */
static bool
matches(const char *pattern, const char *name)
{
	const char *star = NULL;
	const char *star_name = NULL;

	while (*name)
	{
		if (*pattern == '*')
		{
			star = pattern++;
			star_name = name;
		}
		else if (*pattern == *name)
		{
			pattern++;
			name++;
		}
		else if (star != NULL)
		{
			pattern = star + 1;
			name = ++star_name;
		}
		else
			return false;
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

bool
tide_table_patterns_match(const List *patterns, const char *schema, const char *table)
{
	ListCell   *cell;

	foreach(cell, patterns)
	{
		TideTablePattern *pattern = lfirst(cell);

		if (matches(pattern->schema, schema) && matches(pattern->table, table))
			return true;
	}
	return false;
}
