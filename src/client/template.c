/*
 * template.c
 *	  Expands the template of a client schema.
 *
 * The SQL is all in the templates, what it is about in the model; here is only the
 * walk. A block is expanded where it stands: its inner text is found by counting the
 * block tags up to its {{end}}.
 */
#include "postgres.h"

#include "client/template.h"
#include "client/template_words.h"

/* a tag, and for a block its inner text */
typedef struct Tag
{
	char	   *word;
	char	   *arg;			/* NULL if none */
	char	   *separator;		/* of {{each}}, or "" */
	const char *inner;
	const char *inner_end;
	const char *next;			/* text after the tag or block */
} Tag;

static void expand(StringInfo out, const char *text, const char *end, const Scope *scope);
static Tag	parse_tag(const char *start, const char *open, const char *end);
static bool is_block(const char *word);
static const char *skip_own_line(const char *start, const char *open, const char *after,
								 const char *end);
static void expand_each(StringInfo out, const Tag *tag, const Scope *scope);
static void expand_holders(StringInfo out, const Tag *tag, const Scope *scope);

void
tide_template_expand(StringInfo out, const TideDialect *dialect,
					 List *shape_names, List *tables)
{
	Scope		scope = {
		.dialect = dialect,
		.shape_names = shape_names,
		.tables = tables
	};

	expand(out, dialect->template, dialect->template + strlen(dialect->template), &scope);
}

static void
expand(StringInfo out, const char *text, const char *end, const Scope *scope)
{
	const char *start = text;

	while (text < end)
	{
		const char *open = strstr(text, "{{");
		Tag			tag;

		if (open == NULL || open >= end)
			break;
		tag = parse_tag(start, open, end);
		appendBinaryStringInfo(out, text, open - text);
		text = tag.next;

		if (strcmp(tag.word, "each") == 0)
			expand_each(out, &tag, scope);
		else if (strcmp(tag.word, "if") == 0)
		{
			if (tide_template_condition(tag.arg, scope))
				expand(out, tag.inner, tag.inner_end, scope);
		}
		else if (is_block(tag.word))
		{
			StringInfoData inner;

			initStringInfo(&inner);
			expand(&inner, tag.inner, tag.inner_end, scope);
			appendStringInfoString(out, tide_template_wrap(tag.word, scope, inner.data));
		}
		else
			appendStringInfoString(out, tide_template_value(tag.word, scope));
	}
	if (text < end)
		appendBinaryStringInfo(out, text, end - text);
}

/* the tag at open; start is where the text being expanded begins */
static Tag
parse_tag(const char *start, const char *open, const char *end)
{
	Tag			tag = {0};
	const char *close = strstr(open, "}}");
	char	   *body;
	int			depth = 1;

	if (close == NULL || close >= end)
		elog(ERROR, "unterminated template tag");
	body = pnstrdup(open + 2, close - open - 2);
	tag.word = body;
	tag.separator = "";
	tag.next = close + 2;
	if (strchr(body, '|') != NULL)
	{
		tag.separator = strchr(body, '|') + 1;
		*strchr(body, '|') = '\0';
	}
	if (strchr(body, ' ') != NULL)
	{
		tag.arg = strchr(body, ' ') + 1;
		*strchr(body, ' ') = '\0';
	}
	if (!is_block(tag.word))
		return tag;

	tag.inner = skip_own_line(start, open, close + 2, end);
	for (const char *p = tag.inner; depth > 0;)
	{
		const char *next = strstr(p, "{{");
		const char *word;
		size_t		len;

		if (next == NULL || next >= end)
			elog(ERROR, "template block \"%s\" has no end", tag.word);
		word = next + 2;
		len = strcspn(word, " |}");
		if (len == 3 && strncmp(word, "end", 3) == 0)
			depth--;
		else if (is_block(pnstrdup(word, len)))
			depth++;
		p = word + len;
		tag.inner_end = next;
		tag.next = strstr(p, "}}") + 2;
	}
	tag.next = skip_own_line(tag.inner, tag.inner_end, tag.next, end);
	return tag;
}

static bool
is_block(const char *word)
{
	return strcmp(word, "each") == 0 || strcmp(word, "if") == 0 ||
		tide_template_is_wrapper(word);
}

/* after, or past the line end there if the tag from open to after is alone on its line */
static const char *
skip_own_line(const char *start, const char *open, const char *after, const char *end)
{
	if ((open == start || open[-1] == '\n') && after < end && *after == '\n')
		return after + 1;
	return after;
}

static void
expand_each(StringInfo out, const Tag *tag, const Scope *scope)
{
	Scope		inner = *scope;
	List	   *columns;
	ListCell   *lc;

	Assert(tag->arg != NULL);
	if (strcmp(tag->arg, "tables") == 0)
	{
		foreach(lc, scope->tables)
		{
			inner.table = lfirst(lc);
			expand(out, tag->inner, tag->inner_end, &inner);
		}
		return;
	}
	if (strcmp(tag->arg, "sets") == 0)
	{
		Assert(scope->table != NULL);
		foreach(lc, scope->table->sets)
		{
			inner.set = lfirst(lc);
			expand(out, tag->inner, tag->inner_end, &inner);
		}
		return;
	}
	if (strcmp(tag->arg, "holders") == 0)
	{
		expand_holders(out, tag, scope);
		return;
	}
	if (!tide_template_columns(tag->arg, scope, &columns))
		elog(ERROR, "unknown template list \"%s\"", tag->arg);
	foreach(lc, columns)
	{
		inner.column = lfirst(lc);
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, tag->separator);
		expand(out, tag->inner, tag->inner_end, &inner);
	}
}

/* the nodes of shapes that show the column at hand */
static void
expand_holders(StringInfo out, const Tag *tag, const Scope *scope)
{
	Scope		inner = *scope;
	bool		first = true;
	ListCell   *lc;

	foreach(lc, scope->table->sets)
	{
		const TideClientSet *set = lfirst(lc);
		ListCell   *holder;

		if (!bms_is_member(scope->column->attnum, set->attnums))
			continue;
		foreach(holder, set->holders)
		{
			inner.holder = lfirst(holder);
			appendStringInfoString(out, first ? "" : tag->separator);
			first = false;
			expand(out, tag->inner, tag->inner_end, &inner);
		}
	}
}
