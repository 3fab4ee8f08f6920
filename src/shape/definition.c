/*
 * definition.c
 *	  Reads the JSON of a shape definition, field by field.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "shape/definition.h"
#include "util/errors.h"

typedef void (*FieldReader) (TideShapeDefinition *definition, JsonbValue *value);

typedef struct DefinitionField
{
	const char *name;
	FieldReader read;			/* NULL: known, but not supported yet */
	const char *hint;			/* for those */
} DefinitionField;

static void read_table(TideShapeDefinition *definition, JsonbValue *value);
static void read_where(TideShapeDefinition *definition, JsonbValue *value);
static void read_columns(TideShapeDefinition *definition, JsonbValue *value);

static const DefinitionField fields[] = {
	{"table", read_table, NULL},
	{"where", read_where, NULL},
	{"columns", read_columns, NULL},
	{"include", NULL, "Create one shape per table; a client can pull several together."},
	{"order_by", NULL, "Leave it out: a shape holds all rows its \"where\" selects, and the client orders them."},
	{"limit", NULL, "Leave it out, or narrow \"where\"."},
	{"encrypted", NULL, "Leave it out: a column that holds ciphertext is synced like any other."},
};

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
read_table(TideShapeDefinition *definition, JsonbValue *value)
{
	definition->table = string_of(value, "table");
}

static void
read_where(TideShapeDefinition *definition, JsonbValue *value)
{
	definition->where = string_of(value, "where");
}

static void
read_columns(TideShapeDefinition *definition, JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;

	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"columns\" must be an array of column names")));

	definition->has_columns = true;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			definition->columns = lappend(definition->columns,
										  string_of(&element, "columns[]"));
	}
}

static char *
valid_fields(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < lengthof(fields); i++)
	{
		if (fields[i].read != NULL)
			appendStringInfo(&names, "%s\"%s\"", i > 0 ? ", " : "",
							 fields[i].name);
	}
	return names.data;
}

static const DefinitionField *
field_of_key(JsonbValue *key)
{
	char	   *name = pnstrdup(key->val.string.val, key->val.string.len);

	for (int i = 0; i < lengthof(fields); i++)
	{
		if (strcmp(fields[i].name, name) != 0)
			continue;
		if (fields[i].read == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("shape field \"%s\" is not supported by this version of pg_tide",
							name),
					 errhint("%s", fields[i].hint)));
		return &fields[i];
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("unknown shape field \"%s\"", name),
			 errhint("Valid fields are %s.", valid_fields())));
}

TideShapeDefinition *
tide_shape_definition_read(Jsonb *json)
{
	TideShapeDefinition *definition = palloc0(sizeof(TideShapeDefinition));
	const DefinitionField *field = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape definition must be a JSON object")));

	it = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			field = field_of_key(&value);
		else if (token == WJB_VALUE)
			field->read(definition, &value);
	}

	if (definition->table == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("shape field \"table\" is missing"),
				 errhint("Valid fields are %s.", valid_fields())));
	return definition;
}
