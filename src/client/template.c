/*
 * template.c
 *	  Expands the template of a client schema.
 *
 * The SQL is all in the templates, what it is about in the model; here is only the
 * walk. A block is expanded where it stands: its inner text is found by counting the
 * block tags up to its {{end}}.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "client/template.h"

/* what the text at hand is about; inner blocks see what outer ones set */
typedef struct Scope
{
	const TideDialect *dialect;
	List	   *shape_names;
	List	   *tables;
	const TideClientTable *table;
	const TideClientSet *set;
	const TideClientColumn *column;
	const char *shape;			/* in {{each holders}} */
} Scope;

typedef char *(*ValueFn) (const Scope *scope);
typedef bool (*ColumnFn) (const Scope *scope, const TideClientColumn *column);
typedef char *(*WrapFn) (const Scope *scope, const char *inner);

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
static void expand_columns(StringInfo out, const Tag *tag, const Scope *scope, ColumnFn filter,
						   List *columns);
static bool test_condition(const char *name, const Scope *scope);
static char *fill_class(const char *pattern, const char *value, const char *path);

/* ---- values ---- */

static char *
value_version(const Scope *scope)
{
	return pstrdup(TIDE_VERSION);
}

static char *
value_shapes(const Scope *scope)
{
	StringInfoData out;
	ListCell   *lc;

	/* stands in a comment: no line may end in a name */
	initStringInfo(&out);
	foreach(lc, scope->shape_names)
	{
		appendStringInfoString(&out, foreach_current_index(lc) == 0 ? "" : ", ");
		for (const char *c = lfirst(lc); *c != '\0'; c++)
			appendStringInfoChar(&out, (unsigned char) *c < ' ' ? ' ' : *c);
	}
	return out.data;
}

static char *
qualified_name(const Scope *scope, const char *suffix)
{
	const TideDialect *d = scope->dialect;
	char	   *name = d->quote_identifier(tide_dialect_table_name(d, scope->table, suffix));

	if (!d->has_schemas)
		return name;
	return psprintf("%s.%s", d->quote_identifier(scope->table->schema), name);
}

static char *
value_table(const Scope *scope)
{
	return qualified_name(scope, "");
}

static char *
value_synced(const Scope *scope)
{
	return qualified_name(scope, "_synced");
}

static char *
value_local(const Scope *scope)
{
	return qualified_name(scope, "_local");
}

/* for messages and comments */
static char *
value_table_text(const Scope *scope)
{
	char	   *name = tide_dialect_table_name(scope->dialect, scope->table, "");

	for (char *c = name; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ')
			*c = ' ';
	}
	return name;
}

/* the table's name in the protocol, as a literal */
static char *
value_name(const Scope *scope)
{
	return scope->dialect->quote_literal(quote_qualified_identifier(scope->table->schema,
																	scope->table->name));
}

static char *
value_id(const Scope *scope)
{
	return psprintf("%d", scope->table->id);
}

static char *
value_schema(const Scope *scope)
{
	return scope->dialect->quote_identifier(scope->table->schema);
}

static char *
value_firstkey(const Scope *scope)
{
	const TideClientColumn *column = linitial(scope->table->keys);

	return scope->dialect->quote_identifier(column->name);
}

static char *
value_column(const Scope *scope)
{
	return scope->dialect->quote_identifier(scope->column->name);
}

static char *
value_type(const Scope *scope)
{
	return scope->dialect->column_type(scope->column);
}

static char *
value_literal(const Scope *scope)
{
	return scope->dialect->quote_literal(scope->shape != NULL ? scope->shape : scope->column->name);
}

static char *
value_path(const Scope *scope)
{
	return scope->dialect->json_path(scope->column->name);
}

static char *
value_number(const Scope *scope)
{
	return psprintf("%d", scope->column->attnum);
}

static const struct
{
	const char *name;
	ValueFn		value;
}			values[] =

{
	{"version", value_version},
	{"shapes", value_shapes},
	{"table", value_table},
	{"synced", value_synced},
	{"local", value_local},
	{"table_text", value_table_text},
	{"name", value_name},
	{"id", value_id},
	{"schema", value_schema},
	{"firstkey", value_firstkey},
	{"c", value_column},
	{"type", value_type},
	{"lit", value_literal},
	{"path", value_path},
	{"n", value_number},
};

/* ---- lists of columns ---- */

static bool
column_any(const Scope *scope, const TideClientColumn *column)
{
	return true;
}

static bool
column_is_value(const Scope *scope, const TideClientColumn *column)
{
	return !column->is_key;
}

static bool
column_is_writable(const Scope *scope, const TideClientColumn *column)
{
	return !column->is_key && !column->is_generated;
}

static bool
column_is_readonly(const Scope *scope, const TideClientColumn *column)
{
	return column->is_key || column->is_generated;
}

static bool
column_is_partial(const Scope *scope, const TideClientColumn *column)
{
	return column->is_partial;
}

static bool
column_in_set(const Scope *scope, const TideClientColumn *column)
{
	return bms_is_member(column->attnum, scope->set->attnums);
}

static bool
column_in_set_value(const Scope *scope, const TideClientColumn *column)
{
	return column_in_set(scope, column) && !column->is_key;
}

static bool
column_in_set_extra(const Scope *scope, const TideClientColumn *column)
{
	return column_in_set(scope, column) && column->is_partial;
}

static const struct
{
	const char *name;
	ColumnFn	filter;
}			column_lists[] =

{
	{"columns", column_any},
	{"values", column_is_value},
	{"writable", column_is_writable},
	{"readonly", column_is_readonly},
	{"partial", column_is_partial},
	{"setcolumns", column_in_set},
	{"setvalues", column_in_set_value},
	{"setextra", column_in_set_extra},
};

/* ---- wrappers ---- */

static char *
wrap_str(const Scope *scope, const char *inner)
{
	return scope->dialect->quote_literal(inner);
}

static char *
wrap_ident(const Scope *scope, const char *inner)
{
	return scope->dialect->quote_identifier(inner);
}

/* a stored value to JSON text */
static char *
wrap_enc(const Scope *scope, const char *inner)
{
	return fill_class(scope->dialect->classes[scope->column->type_class].enc, inner, "");
}

/* the column's value out of a JSON object that has it as a member */
static char *
wrap_dec(const Scope *scope, const char *inner)
{
	return fill_class(scope->dialect->classes[scope->column->type_class].dec, inner,
					  scope->dialect->json_path(scope->column->name));
}

/* the column's value out of its own JSON text */
static char *
wrap_decode(const Scope *scope, const char *inner)
{
	return fill_class(scope->dialect->classes[scope->column->type_class].dec, inner,
					  scope->dialect->json_path(NULL));
}

/* JSON text of the column's value in a JSON object, as enc writes it */
static char *
wrap_rekey(const Scope *scope, const char *inner)
{
	return wrap_enc(scope, wrap_dec(scope, inner));
}

static const struct
{
	const char *name;
	WrapFn		wrap;
}			wrappers[] =

{
	{"str", wrap_str},
	{"ident", wrap_ident},
	{"enc", wrap_enc},
	{"dec", wrap_dec},
	{"decode", wrap_decode},
	{"rekey", wrap_rekey},
};

/* ---- the walk ---- */

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
			if (test_condition(tag.arg, scope))
				expand(out, tag.inner, tag.inner_end, scope);
		}
		else if (is_block(tag.word))
		{
			StringInfoData inner;

			initStringInfo(&inner);
			expand(&inner, tag.inner, tag.inner_end, scope);
			for (int i = 0; i < lengthof(wrappers); i++)
			{
				if (strcmp(wrappers[i].name, tag.word) == 0)
					appendStringInfoString(out, wrappers[i].wrap(scope, inner.data));
			}
		}
		else
		{
			int			i = 0;

			while (i < lengthof(values) && strcmp(values[i].name, tag.word) != 0)
				i++;
			if (i == lengthof(values))
				elog(ERROR, "unknown template tag \"%s\"", tag.word);
			appendStringInfoString(out, values[i].value(scope));
		}
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
	if (strcmp(word, "each") == 0 || strcmp(word, "if") == 0)
		return true;
	for (int i = 0; i < lengthof(wrappers); i++)
	{
		if (strcmp(wrappers[i].name, word) == 0)
			return true;
	}
	return false;
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
	ListCell   *lc;

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
	if (strcmp(tag->arg, "keys") == 0)
	{
		expand_columns(out, tag, scope, column_any, scope->table->keys);
		return;
	}
	for (int i = 0; i < lengthof(column_lists); i++)
	{
		if (strcmp(column_lists[i].name, tag->arg) == 0)
		{
			expand_columns(out, tag, scope, column_lists[i].filter, scope->table->columns);
			return;
		}
	}
	elog(ERROR, "unknown template list \"%s\"", tag->arg);
}

/* the shapes that show the column at hand */
static void
expand_holders(StringInfo out, const Tag *tag, const Scope *scope)
{
	Scope		inner = *scope;
	bool		first = true;
	ListCell   *lc;

	foreach(lc, scope->table->sets)
	{
		const TideClientSet *set = lfirst(lc);
		ListCell   *shape;

		if (!bms_is_member(scope->column->attnum, set->attnums))
			continue;
		foreach(shape, set->shapes)
		{
			inner.shape = lfirst(shape);
			appendStringInfoString(out, first ? "" : tag->separator);
			first = false;
			expand(out, tag->inner, tag->inner_end, &inner);
		}
	}
}

static void
expand_columns(StringInfo out, const Tag *tag, const Scope *scope, ColumnFn filter,
			   List *columns)
{
	Scope		inner = *scope;
	bool		first = true;
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (!filter(scope, lfirst(lc)))
			continue;
		inner.column = lfirst(lc);
		appendStringInfoString(out, first ? "" : tag->separator);
		first = false;
		expand(out, tag->inner, tag->inner_end, &inner);
	}
}

/*
 * "<list>" holds if the list of columns is not empty, "no<list>" if it is; "is<what>"
 * asks the column at hand.
 */
static bool
test_condition(const char *name, const Scope *scope)
{
	bool		wanted = strncmp(name, "no", 2) != 0;
	const char *list = wanted ? name : name + 2;
	const TideClientColumn *key = linitial(scope->table->keys);

	if (strcmp(name, "uuidkey") == 0)
		return list_length(scope->table->keys) == 1 && key->type == UUIDOID;
	if (strcmp(name, "compositekey") == 0)
		return list_length(scope->table->keys) > 1;
	if (strcmp(name, "iskey") == 0)
		return scope->column->is_key;
	if (strcmp(name, "isvalue") == 0)
		return !scope->column->is_key;
	if (strcmp(name, "iswritable") == 0)
		return column_is_writable(scope, scope->column);
	if (strcmp(name, "isreadonly") == 0)
		return column_is_readonly(scope, scope->column);
	if (strcmp(name, "schema") == 0)
		return strcmp(scope->table->schema, "public") != 0;
	for (int i = 0; i < lengthof(column_lists); i++)
	{
		ListCell   *lc;

		if (strcmp(column_lists[i].name, list) != 0)
			continue;
		foreach(lc, scope->table->columns)
		{
			if (column_lists[i].filter(scope, lfirst(lc)))
				return wanted;
		}
		return !wanted;
	}
	elog(ERROR, "unknown template condition \"%s\"", name);
	return false;				/* keep the compiler quiet */
}

/* pattern with %v and %p replaced */
static char *
fill_class(const char *pattern, const char *value, const char *path)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = pattern; *p != '\0'; p++)
	{
		if (p[0] == '%' && (p[1] == 'v' || p[1] == 'p'))
			appendStringInfoString(&out, *++p == 'v' ? value : path);
		else
			appendStringInfoChar(&out, *p);
	}
	return out.data;
}
