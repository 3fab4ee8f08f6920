/*
 * template_words.c
 *	  The words of templates: values, lists of columns, wrappers and conditions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "client/template_words.h"

typedef char *(*ValueFn) (const Scope *scope);
typedef bool (*ColumnFn) (const Scope *scope, const TideClientColumn *column);
typedef char *(*WrapFn) (const Scope *scope, const char *inner);

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

/* the shapes' names as literals */
static char *
value_shape_list(const Scope *scope)
{
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	foreach(lc, scope->shape_names)
		appendStringInfo(&out, "%s%s", foreach_current_index(lc) == 0 ? "" : ", ",
						 scope->dialect->quote_literal(lfirst(lc)));
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

/* the name without quotes and schema, as a literal */
static char *
value_synced_name(const Scope *scope)
{
	return scope->dialect->quote_literal(tide_dialect_table_name(scope->dialect, scope->table, "_synced"));
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

/* after the type; SQLite only */
static char *
value_collate(const Scope *scope)
{
	const char *collation = scope->dialect->classes[scope->column->type_class].collation;

	return collation == NULL ? pstrdup("") : psprintf(" COLLATE %s", collation);
}

static char *
value_literal(const Scope *scope)
{
	return scope->dialect->quote_literal(scope->column->name);
}

static char *
value_holder(const Scope *scope)
{
	return psprintf("(%s, %s)", scope->dialect->quote_literal(scope->holder->shape),
					scope->dialect->quote_literal(scope->holder->path));
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
	{"shape_list", value_shape_list},
	{"table", value_table},
	{"synced", value_synced},
	{"synced_name", value_synced_name},
	{"local", value_local},
	{"table_text", value_table_text},
	{"name", value_name},
	{"id", value_id},
	{"schema", value_schema},
	{"firstkey", value_firstkey},
	{"c", value_column},
	{"type", value_type},
	{"collate", value_collate},
	{"lit", value_literal},
	{"holder", value_holder},
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

/* keys and generated columns may have the table's policy, but are not sent */
static bool
column_is_difference(const Scope *scope, const TideClientColumn *column)
{
	return column->is_difference && column_is_writable(scope, column);
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
	{"differences", column_is_difference},
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

/* the same out of a change, whose member "row" is that object; SQLite only */
static char *
wrap_decrow(const Scope *scope, const char *inner)
{
	char	   *path = scope->dialect->json_path(scope->column->name);

	/* some paths are known to the client only */
	if (strncmp(path, "'$", 2) != 0)
		return wrap_dec(scope, psprintf("(%s -> '$.row')", inner));
	return fill_class(scope->dialect->classes[scope->column->type_class].dec, inner,
					  psprintf("'$.row%s", path + 2));
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
	{"decrow", wrap_decrow},
	{"decode", wrap_decode},
	{"rekey", wrap_rekey},
};

/* ---- looking words up ---- */

char *
tide_template_value(const char *name, const Scope *scope)
{
	for (int i = 0; i < lengthof(values); i++)
	{
		if (strcmp(values[i].name, name) == 0)
			return values[i].value(scope);
	}
	elog(ERROR, "unknown template tag \"%s\"", name);
	return NULL;				/* keep the compiler quiet */
}

bool
tide_template_is_wrapper(const char *name)
{
	for (int i = 0; i < lengthof(wrappers); i++)
	{
		if (strcmp(wrappers[i].name, name) == 0)
			return true;
	}
	return false;
}

char *
tide_template_wrap(const char *name, const Scope *scope, const char *inner)
{
	int			i = 0;

	while (strcmp(wrappers[i].name, name) != 0)
		i++;
	return wrappers[i].wrap(scope, inner);
}

bool
tide_template_columns(const char *name, const Scope *scope, List **columns)
{
	ListCell   *lc;

	if (strcmp(name, "keys") == 0)
	{
		*columns = scope->table->keys;
		return true;
	}
	for (int i = 0; i < lengthof(column_lists); i++)
	{
		if (strcmp(column_lists[i].name, name) != 0)
			continue;
		*columns = NIL;
		foreach(lc, scope->table->columns)
		{
			if (column_lists[i].filter(scope, lfirst(lc)))
				*columns = lappend(*columns, lfirst(lc));
		}
		return true;
	}
	return false;
}

bool
tide_template_condition(const char *name, const Scope *scope)
{
	bool		wanted = strncmp(name, "no", 2) != 0;
	const TideClientColumn *key = linitial(scope->table->keys);
	List	   *columns;

	if (strcmp(name, "uuidkey") == 0)
		return list_length(scope->table->keys) == 1 && key->type == UUIDOID;
	/* the server writes such a key as the client does */
	if (strcmp(name, "plainkey") == 0 || strcmp(name, "noplainkey") == 0)
		return wanted == (list_length(scope->table->keys) == 1 &&
						  (key->type_class == TIDE_CLIENT_INTEGER || key->type == UUIDOID));
	if (strcmp(name, "compositekey") == 0)
		return list_length(scope->table->keys) > 1;
	if (strcmp(name, "iskey") == 0)
		return scope->column->is_key;
	if (strcmp(name, "isvalue") == 0)
		return !scope->column->is_key;
	if (strcmp(name, "iswritable") == 0)
		return column_is_writable(scope, scope->column);
	if (strcmp(name, "ispartial") == 0)
		return scope->column->is_partial;
	if (strcmp(name, "noispartial") == 0)
		return !scope->column->is_partial;
	if (strcmp(name, "isdifference") == 0)
		return column_is_difference(scope, scope->column);
	if (strcmp(name, "isreadonly") == 0)
		return column_is_readonly(scope, scope->column);
	if (strcmp(name, "schema") == 0)
		return strcmp(scope->table->schema, "public") != 0;
	if (!tide_template_columns(wanted ? name : name + 2, scope, &columns))
		elog(ERROR, "unknown template condition \"%s\"", name);
	return (columns != NIL) == wanted;
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
