/*
 * options.c
 *	  The output plugin's options: one table of name, parser, place.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "decode/options.h"
#include "decode/table_pattern.h"
#include "util/compat.h"
#include "util/errors.h"

typedef struct OptionKind
{
	const char *name;
	/* sets *field from value, which is never NULL */
	void		(*parse) (TideDecodeOptions *options, void *field,
						  const char *name, const char *value);
	size_t		offset;			/* of the field in TideDecodeOptions */
} OptionKind;

const char *const tide_line_type_names[TIDE_LINE_TYPES] = {
	[TIDE_LINE_INSERT] = "insert",
	[TIDE_LINE_UPDATE] = "update",
	[TIDE_LINE_DELETE] = "delete",
	[TIDE_LINE_TRUNCATE] = "truncate",
};

static void parse_switch(TideDecodeOptions *options, void *field,
						 const char *name, const char *value);
static void parse_names(TideDecodeOptions *options, void *field,
						const char *name, const char *value);
static void parse_object(TideDecodeOptions *options, void *field,
						 const char *name, const char *value);
static void parse_tables(TideDecodeOptions *options, void *field,
						 const char *name, const char *value);
static void parse_actions(TideDecodeOptions *options, void *field,
						  const char *name, const char *value);
static void parse_messages(TideDecodeOptions *options, void *field,
						   const char *name, const char *value);
static void parse_origin(TideDecodeOptions *options, void *field,
						 const char *name, const char *value);
static void parse_numbers(TideDecodeOptions *options, void *field,
						  const char *name, const char *value);
static void parse_format(TideDecodeOptions *options, void *field,
						 const char *name, const char *value);
static void parse_partitions(TideDecodeOptions *options, void *field,
							 const char *name, const char *value);

#define FIELD(name) offsetof(TideDecodeOptions, name)

/* in alphabetical order, as the error message lists them */
static const OptionKind option_kinds[] = {
	{"actions", parse_actions, FIELD(actions)},
	{"claims", parse_object, FIELD(claims)},
	{"ddl", parse_switch, FIELD(ddl)},
	{"format", parse_format, FIELD(whole_transactions)},
	{"include-key", parse_switch, FIELD(include_key)},
	{"include-lsn", parse_switch, FIELD(include_lsn)},
	{"include-old", parse_switch, FIELD(include_old)},
	{"include-timestamp", parse_switch, FIELD(include_timestamp)},
	{"include-types", parse_switch, FIELD(include_types)},
	{"include-xid", parse_switch, FIELD(include_xid)},
	{"messages", parse_messages, FIELD(messages)},
	{"numbers", parse_numbers, FIELD(numbers_as_strings)},
	{"origin", parse_origin, FIELD(local_origin_only)},
	{"params", parse_object, FIELD(params)},
	{"partitions", parse_partitions, FIELD(partitions_as_root)},
	{"shapes", parse_names, FIELD(shapes)},
	{"streaming", parse_switch, FIELD(streaming)},
	{"tables", parse_tables, FIELD(tables)},
	{"two-phase", parse_switch, FIELD(two_phase)},
};

static void
set_defaults(TideDecodeOptions *options)
{
	memset(options, 0, sizeof(*options));
	options->actions = TIDE_ALL_ACTIONS;
	options->include_lsn = true;
	options->include_xid = true;
	options->include_key = true;
	options->messages = true;
}

TIDE_NORETURN static void
report_unknown_option(const char *name)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; i < lengthof(option_kinds); i++)
		appendStringInfo(&valid, "%s%s", i > 0 ? ", " : "", option_kinds[i].name);
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("unrecognized option \"%s\" of output plugin \"%s\"", name, "pg_tide"),
			 errhint("Valid options are: %s.", valid.data)));
}

static const OptionKind *
find_option(const char *name)
{
	for (int i = 0; i < lengthof(option_kinds); i++)
	{
		if (strcmp(option_kinds[i].name, name) == 0)
			return &option_kinds[i];
	}
	report_unknown_option(name);
}

/* error context: core's parsers do not know whose text they read */
static void
report_option(void *arg)
{
	const DefElem *element = arg;

	errcontext("option \"%s\"", element->defname);
}

/* options that make no sense together */
static void
check_conflicts(const TideDecodeOptions *options)
{
	if (options->shapes == NIL && (options->params || options->claims))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("option \"%s\" needs option \"%s\"",
						options->params ? "params" : "claims", "shapes")));
	if (options->streaming && options->whole_transactions)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("option \"%s\" cannot be used with format \"%s\"",
						"streaming", "transaction"),
				 errhint("Use format \"%s\".", "lines")));
	if (options->streaming && !options->include_xid)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("option \"%s\" needs option \"%s\"", "streaming", "include-xid"),
				 errdetail("Without it nobody could tell the lines of a subtransaction that is rolled back.")));
}

void
tide_decode_options_parse(TideDecodeOptions *options, List *given)
{
	bool		seen[lengthof(option_kinds)] = {false};
	ListCell   *cell;

	set_defaults(options);
	foreach(cell, given)
	{
		DefElem    *element = lfirst_node(DefElem, cell);
		const OptionKind *kind = find_option(element->defname);

		/* pg_recvlogical -o name gives no value: a switch is on */
		const char *value = element->arg ? defGetString(element) : "";
		ErrorContextCallback context;

		if (seen[kind - option_kinds])
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("option \"%s\" given more than once", kind->name)));
		seen[kind - option_kinds] = true;
		context.callback = report_option;
		context.arg = element;
		context.previous = error_context_stack;
		error_context_stack = &context;
		kind->parse(options, (char *) options + kind->offset, kind->name, value);
		error_context_stack = context.previous;
	}
	check_conflicts(options);
}

TIDE_NORETURN static void
report_bad_value(const char *name, const char *value, const char *valid)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("invalid value for option \"%s\": \"%s\"", name, value),
			 errhint("Valid values are: %s.", valid)));
}

static void
parse_switch(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	if (*value == '\0')
		*(bool *) field = true;
	else if (!parse_bool(value, (bool *) field))
		report_bad_value(name, value, "true, false");
}

/* true for second, false for first */
static bool
parse_choice(const char *name, const char *value, const char *first, const char *second)
{
	if (strcmp(value, second) == 0)
		return true;
	if (strcmp(value, first) != 0)
		report_bad_value(name, value, psprintf("%s, %s", first, second));
	return false;
}

static void
parse_origin(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	*(bool *) field = parse_choice(name, value, "any", "none");
}

static void
parse_numbers(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	*(bool *) field = parse_choice(name, value, "json", "string");
}

static void
parse_format(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	*(bool *) field = parse_choice(name, value, "lines", "transaction");
}

static void
parse_partitions(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	*(bool *) field = parse_choice(name, value, "leaf", "root");
}

/* names separated by commas, without the blanks around them; none is empty */
static List *
split_names(const char *name, const char *value)
{
	List	   *names = NIL;
	char	   *rest = pstrdup(value);
	char	   *item;

	while ((item = strsep(&rest, ",")) != NULL)
	{
		char	   *end;

		item += strspn(item, " \t");
		end = item + strlen(item);
		while (end > item && (end[-1] == ' ' || end[-1] == '\t'))
			*--end = '\0';
		if (*item == '\0')
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("option \"%s\" has an empty name in its list", name)));
		names = lappend(names, item);
	}
	return names;
}

static void
parse_names(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	*(List **) field = split_names(name, value);
}

static void
parse_object(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	Jsonb	   *object;

	object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(value)));
	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("option \"%s\" must be a JSON object", name)));
	*(Jsonb **) field = object;
}

static void
parse_tables(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	*(List **) field = tide_table_patterns_parse(name, value);
}

static void
parse_actions(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	ListCell   *cell;

	options->actions = 0;
	foreach(cell, split_names(name, value))
	{
		int			type = 0;

		while (type < TIDE_LINE_TYPES &&
			   strcmp(tide_line_type_names[type], lfirst(cell)) != 0)
			type++;
		if (type == TIDE_LINE_TYPES)
			report_bad_value(name, lfirst(cell), "insert, update, delete, truncate");
		options->actions |= TIDE_ACTION(type);
	}
}

/* true, false, or the prefixes wanted */
static void
parse_messages(TideDecodeOptions *options, void *field, const char *name, const char *value)
{
	if (*value == '\0')
		options->messages = true;
	else if (!parse_bool(value, &options->messages))
	{
		options->messages = true;
		options->message_prefixes = split_names(name, value);
	}
}
