/*
 * definition.c
 *	  Reads the JSON of a shape definition, field by field, includes included.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "shape/definition.h"
#include "util/errors.h"

/* more is a mistake, or an attack */
#define MAX_DEFINITION_SIZE	(64 * 1024)
#define MAX_DEPTH			16
#define MAX_LIMIT			10000

typedef void (*FieldReader) (TideShapeDefinition *definition, const char *field,
							 JsonbValue *value);

typedef struct DefinitionField
{
	const char *name;
	FieldReader read;
} DefinitionField;

static void read_table(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_where(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_on(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_order_by(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_limit(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_columns(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_encrypted(TideShapeDefinition *definition, const char *field, JsonbValue *value);
static void read_include(TideShapeDefinition *definition, const char *field, JsonbValue *value);

static const DefinitionField fields[] = {
	{"table", read_table},
	{"where", read_where},
	{"columns", read_columns},
	{"include", read_include},
	{"on", read_on},
	{"order_by", read_order_by},
	{"limit", read_limit},
	{"encrypted", read_encrypted},
};

/* names that mean something else in conditions */
static const char *const reserved_names[] = {"params", "claims", "parent"};

char *
tide_shape_field_name(const TideShapeDefinition *definition, const char *field)
{
	StringInfoData name;

	initStringInfo(&name);
	for (const char *step = definition->path; *step != '\0';)
	{
		int			length = strcspn(step, ".");

		appendStringInfo(&name, "include.%.*s.", length, step);
		step += length + (step[length] == '.' ? 1 : 0);
	}
	appendStringInfoString(&name, field);
	return name.data;
}

static char *
string_of(JsonbValue *value, const char *field)
{
	if (value->type != jbvString)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" must be a string", field)));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static void
read_table(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	definition->table = string_of(value, field);
}

static void
read_where(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	definition->where = string_of(value, field);
}

static void
read_on(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	definition->on = string_of(value, field);
	if (definition->name == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"on\" has nothing to join at the root"),
				 errhint("It belongs to an include; conditions on the table itself belong into \"where\".")));
}

static void
read_order_by(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	definition->order_by = string_of(value, field);
}

static void
read_limit(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	Numeric		number;

	if (value->type != jbvNumeric)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" must be a number", field)));
	number = value->val.numeric;
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(number),
										  DirectFunctionCall1(numeric_floor, NumericGetDatum(number)))) ||
		!DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(number),
										  NumericGetDatum(int64_to_numeric(0)))))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" must be a positive integer", field)));
	if (DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(number),
										 NumericGetDatum(int64_to_numeric(MAX_LIMIT)))))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("shape field \"%s\" must be at most %d", field, MAX_LIMIT)));
	definition->row_limit = DatumGetInt64(DirectFunctionCall1(numeric_int8,
															  NumericGetDatum(number)));
}

/* a list of char * */
static List *
names_of(JsonbValue *value, const char *field)
{
	List	   *names = NIL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" must be an array of column names", field)));

	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			names = lappend(names, string_of(&element, psprintf("%s[]", field)));
	}
	return names;
}

static void
read_columns(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	definition->has_columns = true;
	definition->columns = names_of(value, field);
}

static void
read_encrypted(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	definition->encrypted = names_of(value, field);
}

static char *
valid_fields(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(fields); i++)
	{
		appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "", fields[i].name);
	}
	return names.data;
}

static const DefinitionField *
field_of_key(const TideShapeDefinition *definition, JsonbValue *key)
{
	char	   *name = pnstrdup(key->val.string.val, key->val.string.len);

	for (int i = 0; i < lengthof(fields); i++)
	{
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("unknown shape field \"%s\"", tide_shape_field_name(definition, name)),
			 errhint("Valid fields are %s.", valid_fields())));
}

static void
check_complete(const TideShapeDefinition *definition)
{
	if (definition->table == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" is missing",
						tide_shape_field_name(definition, "table")),
				 errhint("Valid fields are %s.", valid_fields())));
	if (definition->row_limit > 0 && definition->order_by == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" needs \"order_by\"",
						tide_shape_field_name(definition, "limit")),
				 errhint("Say which rows come first, such as \"order_by\": \"created_at DESC\".")));
}

/* the fields of the definition in object; name and path are set */
static void
read_object(TideShapeDefinition *definition, JsonbContainer *object)
{
	const DefinitionField *field = NULL;
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;

	check_stack_depth();
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			field = field_of_key(definition, &value);
		else if (token == WJB_VALUE && field != NULL)
			field->read(definition, tide_shape_field_name(definition, field->name), &value);
	}
	check_complete(definition);
}

static void
check_include_name(const char *name, const char *field)
{
	if (name[0] == '\0' || strchr(name, '.') != NULL || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("\"%s\" cannot be the name of an include", name),
				 errdetail("It must have 1 to %d bytes and no dot.", NAMEDATALEN - 1)));
	for (int i = 0; i < lengthof(reserved_names); i++)
	{
		if (strcmp(name, reserved_names[i]) == 0)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("shape field \"%s\" cannot have an include of the name \"%s\"",
							field, name),
					 errdetail("The name stands for something else in conditions.")));
	}
}

/* how deep in the tree a definition is; the root is 0 */
static int
depth_of(const TideShapeDefinition *definition)
{
	int			depth = definition->path[0] == '\0' ? 0 : 1;

	for (const char *p = definition->path; *p != '\0'; p++)
		depth += *p == '.';
	return depth;
}

static TideShapeDefinition *
new_include(const TideShapeDefinition *parent, const char *field, JsonbValue *key)
{
	TideShapeDefinition *definition = palloc0(sizeof(TideShapeDefinition));

	definition->name = pnstrdup(key->val.string.val, key->val.string.len);
	check_include_name(definition->name, field);
	definition->path = parent->path[0] == '\0' ? definition->name :
		psprintf("%s.%s", parent->path, definition->name);
	if (depth_of(definition) > MAX_DEPTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("includes of a shape are nested more than %d deep", MAX_DEPTH)));
	return definition;
}

static void
read_include(TideShapeDefinition *definition, const char *field, JsonbValue *value)
{
	TideShapeDefinition *include = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	member;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"%s\" must be an object of definitions", field)));

	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &member, false);
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			include = new_include(definition, field, &member);
		if (token != WJB_VALUE || include == NULL)
			continue;
		if (member.type != jbvBinary || !JsonContainerIsObject(member.val.binary.data))
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("shape field \"%s.%s\" must be a definition, as an object",
							field, include->name)));
		read_object(include, member.val.binary.data);
		definition->includes = lappend(definition->includes, include);
	}
}

TideShapeDefinition *
tide_shape_definition_read(Jsonb *json)
{
	TideShapeDefinition *definition = palloc0(sizeof(TideShapeDefinition));

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape definition must be a JSON object")));
	if (VARSIZE(json) > MAX_DEFINITION_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("shape definition is larger than %d kB", MAX_DEFINITION_SIZE / 1024)));
	definition->path = pstrdup("");
	read_object(definition, &json->root);
	return definition;
}
