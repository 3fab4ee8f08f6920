/*
 * dialect.c
 *	  The databases a client schema can be for.
 *
 * What a client stores for each type, and why, is in doc/clients.md.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/lsyscache.h"

#include "client/dialect.h"

/* the dollar quote of function bodies in the postgres template */
#define BODY_TAG	"$tide_body$"

static char *sqlite_quote_identifier(const char *name);
static char *sqlite_quote_literal(const char *text);
static char *sqlite_column_type(const TideClientColumn *column);
static char *sqlite_json_path(const char *name);
static char *postgres_quote_identifier(const char *name);
static char *postgres_quote_literal(const char *text);
static char *postgres_column_type(const TideClientColumn *column);
static char *postgres_json_path(const char *name);
static bool is_portable_type(Oid type);

/* sql/client/<name>.sql, quoted for C by the Makefile */
static const char sqlite_template[] = {
#include "client/sqlite.inc"
};
static const char postgres_template[] = {
#include "client/postgres.inc"
};

/*
 * SQLite has no booleans, its JSON functions round numbers that are no 64-bit
 * integers and print 15 digits. A numeric that may be too large for the server goes as text,
 * for its column to refuse: as a number it would be all of the push. ->> gives an SQL value, -> the JSON text as it was sent.
 */
static const TideDialectClass sqlite_classes[TIDE_CLIENT_NCLASSES] = {
	[TIDE_CLIENT_BOOL] = {
		.type = "BOOLEAN",
		.enc = "CASE %v WHEN 1 THEN 'true' WHEN 0 THEN 'false' ELSE json_quote(%v) END",
		.dec = "(%v ->> %p)",
	},
	[TIDE_CLIENT_INTEGER] = {
		.type = "INTEGER",
		.enc = "json_quote(CASE WHEN CAST(%v AS INTEGER) = %v THEN CAST(%v AS INTEGER) ELSE %v END)",
		.dec = "(%v ->> %p)",
	},
	[TIDE_CLIENT_FLOAT] = {
		.type = "REAL",
		.enc = "CASE WHEN %v IS NULL OR CAST(%v AS REAL) <> %v THEN json_quote(%v)"
		" WHEN CAST(%v AS REAL) = 9e999 THEN '\"Infinity\"' WHEN CAST(%v AS REAL) = -9e999 THEN '\"-Infinity\"'"
		" WHEN CAST(printf('%!.15g', %v) AS REAL) = CAST(%v AS REAL) THEN printf('%!.15g', %v)"
		" ELSE printf('%!.17g', %v) END",
		.dec = "(%v ->> %p)",
	},
	[TIDE_CLIENT_NUMERIC] = {
		.type = "TEXT",
		.enc = "CASE WHEN json_valid(%v) AND json_type(%v) IN ('integer', 'real') AND length(%v) < 10000 AND NOT instr(lower(%v), 'e')"
		" THEN CAST(%v AS TEXT) ELSE json_quote(%v) END",
		.dec = "nullif(trim(%v -> %p, '\"'), 'null')",
	},
	[TIDE_CLIENT_TEXT] = {
		.type = "TEXT",
		.enc = "json_quote(CASE typeof(%v) WHEN 'blob' THEN %v ELSE CAST(%v AS TEXT) END)",
		.dec = "(%v ->> %p)",
	},
	/* the server does not tell upper from lower case */
	[TIDE_CLIENT_UUID] = {
		.type = "TEXT",
		.collation = "NOCASE",
		.enc = "json_quote(CASE typeof(%v) WHEN 'blob' THEN %v ELSE lower(%v) END)",
		.dec = "(%v ->> %p)",
	},
	[TIDE_CLIENT_JSON] = {
		.type = "TEXT",
		.enc = "CASE WHEN json_valid(%v) THEN json(%v) ELSE json_quote(%v) END",
		.dec = "nullif(%v -> %p, 'null')",
	},
};

static const TideDialect dialects[] = {
	{
		.name = "postgres",
		.template = postgres_template,
		.has_schemas = true,
		.folds_case = false,
		.classes = NULL,
		.quote_identifier = postgres_quote_identifier,
		.quote_literal = postgres_quote_literal,
		.column_type = postgres_column_type,
		.json_path = postgres_json_path,
	},
	{
		.name = "sqlite",
		.template = sqlite_template,
		.has_schemas = false,
		.folds_case = true,
		.classes = sqlite_classes,
		.quote_identifier = sqlite_quote_identifier,
		.quote_literal = sqlite_quote_literal,
		.column_type = sqlite_column_type,
		.json_path = sqlite_json_path,
	},
};

const TideDialect *
tide_dialect_find(const char *name)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; i < lengthof(dialects); i++)
	{
		if (strcmp(dialects[i].name, name) == 0)
			return &dialects[i];
		appendStringInfo(&valid, "%s%s", i == 0 ? "" : ", ", dialects[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized client schema dialect \"%s\"", name),
			 errdetail("Valid dialects are: %s.", valid.data)));
}

char *
tide_dialect_table_name(const TideDialect *dialect, const TideClientTable *table,
						const char *suffix)
{
	if (dialect->has_schemas || strcmp(table->schema, "public") == 0)
		return psprintf("%s%s", table->name, suffix);
	return psprintf("%s_%s%s", table->schema, table->name, suffix);
}

/* the name of a table as the client compares it */
static char *
compared_name(const TideDialect *dialect, const char *schema, const char *name)
{
	char	   *full = dialect->has_schemas ? psprintf("%s.%s", schema, name) : pstrdup(name);

	return dialect->folds_case ? asc_tolower(full, strlen(full)) : full;
}

/* ERROR if compared is among those seen, else put it there */
static void
add_name(List **seen, const TideDialect *dialect, const char *kind, const char *compared,
		 const char *name)
{
	ListCell   *lc;

	foreach(lc, *seen)
	{
		if (strcmp(lfirst(lc), compared) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("two %ss of the client schema would be named \"%s\"", kind, name),
					 errdetail("Dialect \"%s\" cannot tell them apart.", dialect->name)));
	}
	*seen = lappend(*seen, unconstify(char *, compared));
}

static void
check_columns(const TideDialect *dialect, const TideClientTable *table)
{
	List	   *seen = NIL;
	ListCell   *lc;

	add_name(&seen, dialect, "column", "tide_deleted", "tide_deleted");
	add_name(&seen, dialect, "column", "tide_bucket", "tide_bucket");
	add_name(&seen, dialect, "column", "tide_hash", "tide_hash");
	if (!dialect->has_schemas)
		add_name(&seen, dialect, "column", "tide_rowid", "tide_rowid");
	foreach(lc, table->columns)
	{
		const TideClientColumn *column = lfirst(lc);

		add_name(&seen, dialect, "column",
				 dialect->folds_case ? asc_tolower(column->name, strlen(column->name)) : column->name,
				 column->name);
		(void) dialect->json_path(column->name);
	}
}

void
tide_dialect_check_names(const TideDialect *dialect, List *tables)
{
	static const char *const suffixes[] = {"", "_synced", "_local"};
	List	   *seen = NIL;
	ListCell   *lc;

	foreach(lc, tables)
	{
		const TideClientTable *table = lfirst(lc);

		for (int i = 0; i < lengthof(suffixes); i++)
		{
			char	   *name = tide_dialect_table_name(dialect, table, suffixes[i]);

			if (pg_strncasecmp(name, "tide_", 5) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_RESERVED_NAME),
						 errmsg("table name \"%s\" is reserved in client schemas", name),
						 errdetail("Names beginning with \"tide_\" are those of the client schema itself.")));
			if (!dialect->has_schemas && pg_strncasecmp(name, "sqlite_", 7) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_RESERVED_NAME),
						 errmsg("table name \"%s\" is reserved in dialect \"%s\"", name, dialect->name),
						 errdetail("Names beginning with \"sqlite_\" are SQLite's own.")));
			if (strlen(name) >= NAMEDATALEN && dialect->has_schemas)
				ereport(ERROR,
						(errcode(ERRCODE_NAME_TOO_LONG),
						 errmsg("table name \"%s\" is too long for a client schema", name)));
			add_name(&seen, dialect, "table", compared_name(dialect, table->schema, name), name);
		}
		check_columns(dialect, table);
	}
}

/* text between two marks, with the marks in it doubled */
static char *
quote_with(const char *text, char mark)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, mark);
	for (; *text != '\0'; text++)
	{
		if (*text == mark)
			appendStringInfoChar(&out, mark);
		appendStringInfoChar(&out, *text);
	}
	appendStringInfoChar(&out, mark);
	return out.data;
}

/* ---- sqlite ---- */

static char *
sqlite_quote_identifier(const char *name)
{
	return quote_with(name, '"');
}

static char *
sqlite_quote_literal(const char *text)
{
	return quote_with(text, '\'');
}

static char *
sqlite_column_type(const TideClientColumn *column)
{
	return pstrdup(sqlite_classes[column->type_class].type);
}

/*
 * The path of a member. A backslash is escaped within a quoted name, but a quote there is
 * understood by the newest SQLite only. An unquoted name may hold quotes (no dots and
 * brackets): JSON text as it is, escapes included, before SQLite 3.45; unescaped since. Such
 * a name gives an expression that asks the SQLite it runs on.
 */
static char *
sqlite_json_path(const char *name)
{
	StringInfoData path;
	bool		has_quote;

	if (name == NULL)
		return pstrdup("'$'");
	if (pg_strcasecmp(name, "true") == 0 || pg_strcasecmp(name, "false") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" cannot be had in dialect \"sqlite\"", name),
				 errdetail("SQLite's views cannot have a column of that name.")));
	has_quote = strchr(name, '"') != NULL;
	initStringInfo(&path);
	appendStringInfoString(&path, has_quote ? "$." : "$.\"");
	for (const char *c = name; *c != '\0'; c++)
	{
		if ((unsigned char) *c < ' ' || (has_quote && (*c == '.' || *c == '[' || name[0] == '"')))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" cannot be had in dialect \"sqlite\"", name),
					 errdetail("SQLite's JSON functions cannot address a member of that name.")));
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(&path, '\\');
		appendStringInfoChar(&path, *c);
	}
	if (!has_quote)
	{
		appendStringInfoChar(&path, '"');
		return sqlite_quote_literal(path.data);
	}
	return psprintf("(CASE WHEN '{\"a\\\"\":0}' -> '$.a\"' IS NULL THEN %s ELSE %s END)",
					sqlite_quote_literal(path.data),
					sqlite_quote_literal(psprintf("$.%s", name)));
}

/* ---- postgres ---- */

static void
refuse_body_tag(const char *text)
{
	if (strstr(text, BODY_TAG) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("name \"%s\" cannot be had in a client schema", text)));
}

/* quoted always: PL/pgSQL has key words of its own, and the client's PostgreSQL may have more than ours */
static char *
postgres_quote_identifier(const char *name)
{
	refuse_body_tag(name);
	return quote_with(name, '"');
}

static char *
postgres_quote_literal(const char *text)
{
	refuse_body_tag(text);
	return quote_literal_cstr(text);
}

static char *
postgres_json_path(const char *name)
{
	return name == NULL ? pstrdup("") : postgres_quote_literal(name);
}

/*
 * Built-in types stay what they are. Of others the client, which has no
 * extension and none of the server's types, keeps the JSON or the text.
 */
static char *
postgres_column_type(const TideClientColumn *column)
{
	Oid			element = get_element_type(column->type);

	if (OidIsValid(element))
	{
		element = getBaseType(element);
		if (is_portable_type(element))
			return psprintf("%s[]", format_type_be(element));
		return pstrdup(type_is_rowtype(element) ? "jsonb" : "text[]");
	}
	if (is_portable_type(column->type))
		return format_type_with_typemod(column->type, column->typmod);
	return pstrdup(column->type_class == TIDE_CLIENT_JSON ? "jsonb" : "text");
}

/* a built-in type whose values mean the same in any database of PostgreSQL 14 or later */
static bool
is_portable_type(Oid type)
{
	static const Oid not_portable[] = {
		REGPROCOID, REGPROCEDUREOID, REGOPEROID, REGOPERATOROID, REGCLASSOID,
		REGCOLLATIONOID, REGTYPEOID, REGROLEOID, REGNAMESPACEOID, REGCONFIGOID,
		REGDICTIONARYOID, MONEYOID, XMLOID, ACLITEMOID, PG_NODE_TREEOID
	};

	for (int i = 0; i < lengthof(not_portable); i++)
	{
		if (type == not_portable[i])
			return false;
	}
	return type < FirstGenbkiObjectId && !type_is_rowtype(type);
}
