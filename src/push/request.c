/*
 * request.c
 *	  A push request, checked and taken apart.
 *
 * What is wrong here is wrong with the client's program, whatever the database
 * holds, and refuses the push as a whole before anything is written. What only
 * the database can tell (tables, columns, keys, values, rights) is not looked
 * at here: that rejects one mutation and lets the queue go on.
 *
 * A null field counts as absent, an unknown one is an error.
 */
#include "postgres.h"

#include <ctype.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/pg_lsn.h"

#include "push/request.h"
#include "util/errors.h"
#include "util/guc.h"
#include "util/json_read.h"

#define OP_BIT(op)	(1 << (op))
#define ALL_TABLE_OPS \
	(OP_BIT(TIDE_PUSH_INSERT) | OP_BIT(TIDE_PUSH_UPDATE) | OP_BIT(TIDE_PUSH_DELETE))
#define ALL_OPS		(ALL_TABLE_OPS | OP_BIT(TIDE_PUSH_CALL))

typedef enum FieldType
{
	FIELD_STRING,
	FIELD_NUMBER,
	FIELD_BOOLEAN,
	FIELD_OBJECT,
	FIELD_ARRAY
} FieldType;

typedef struct Field
{
	const char *name;
	FieldType	type;
	int			allowed;		/* OP_BITs, in a mutation */
	int			required;
} Field;

enum RequestField
{
	REQUEST_CLIENT,
	REQUEST_TOKEN,
	REQUEST_CLAIMS,
	REQUEST_MUTATIONS,
	REQUEST_ATOMIC,
	REQUEST_REJECTED_SEEN,
	REQUEST_NFIELDS
};

static const Field request_fields[] = {
	[REQUEST_CLIENT] = {"client", FIELD_STRING},
	[REQUEST_TOKEN] = {"token", FIELD_STRING},
	[REQUEST_CLAIMS] = {"claims", FIELD_OBJECT},
	[REQUEST_MUTATIONS] = {"mutations", FIELD_ARRAY},
	[REQUEST_ATOMIC] = {"atomic", FIELD_BOOLEAN},
	[REQUEST_REJECTED_SEEN] = {"rejected_seen", FIELD_NUMBER}
};

enum MutationField
{
	MUTATION_ID,
	MUTATION_OP,
	MUTATION_TABLE,
	MUTATION_KEY,
	MUTATION_VALUES,
	MUTATION_BASE,
	MUTATION_HLC,
	MUTATION_VCLOCK,
	MUTATION_SEEN,
	MUTATION_TX,
	MUTATION_CALL,
	MUTATION_ARGS,
	MUTATION_SIGNATURE,
	MUTATION_NFIELDS
};

static const Field mutation_fields[] = {
	[MUTATION_ID] = {"id", FIELD_NUMBER, ALL_OPS, ALL_OPS},
	[MUTATION_OP] = {"op", FIELD_STRING, ALL_TABLE_OPS, ALL_TABLE_OPS},
	[MUTATION_TABLE] = {"table", FIELD_STRING, ALL_TABLE_OPS, ALL_TABLE_OPS},
	[MUTATION_KEY] = {"key", FIELD_OBJECT, ALL_TABLE_OPS, ALL_TABLE_OPS},
	[MUTATION_VALUES] = {"values", FIELD_OBJECT,
	OP_BIT(TIDE_PUSH_INSERT) | OP_BIT(TIDE_PUSH_UPDATE), OP_BIT(TIDE_PUSH_UPDATE)},
	[MUTATION_BASE] = {"base", FIELD_OBJECT, ALL_TABLE_OPS},
	[MUTATION_HLC] = {"hlc", FIELD_STRING, ALL_TABLE_OPS},
	[MUTATION_VCLOCK] = {"vclock", FIELD_OBJECT, ALL_TABLE_OPS},
	[MUTATION_SEEN] = {"seen", FIELD_STRING, ALL_TABLE_OPS},
	[MUTATION_TX] = {"tx", FIELD_NUMBER, ALL_OPS},
	[MUTATION_CALL] = {"call", FIELD_STRING, OP_BIT(TIDE_PUSH_CALL), OP_BIT(TIDE_PUSH_CALL)},
	[MUTATION_ARGS] = {"args", FIELD_OBJECT, OP_BIT(TIDE_PUSH_CALL)},
	[MUTATION_SIGNATURE] = {"signature", FIELD_OBJECT, ALL_OPS}
};

StaticAssertDecl(lengthof(request_fields) == REQUEST_NFIELDS, "request fields");
StaticAssertDecl(lengthof(mutation_fields) == MUTATION_NFIELDS, "mutation fields");

static const char *const op_names[] = {
	[TIDE_PUSH_INSERT] = "insert",
	[TIDE_PUSH_UPDATE] = "update",
	[TIDE_PUSH_DELETE] = "delete",
	[TIDE_PUSH_CALL] = "call"
};

static void parse_mutation(JsonbValue *element, const char *path, TideMutation *mutation);
static TidePushOp parse_op(const JsonbValue *value, const char *path);
static int64 whole_number(const JsonbValue *value);
static int64 parse_positive(const JsonbValue *value, const char *path, const char *name);
static XLogRecPtr parse_lsn(const JsonbValue *value, const char *path);
static void check_vclock(Jsonb *vclock, const char *path);
static void check_groups(const TidePushRequest *request);
static int	compare_int64(const void *a, const void *b);
static Jsonb *object_value(JsonbValue *value);
static void parse_client(const JsonbValue *value, pg_uuid_t *client);
static void check_fields_of_op(const JsonbValue *values, TidePushOp op, const char *path);
static void read_fields(JsonbContainer *object, const char *path, const Field *fields,
						int nfields, JsonbValue *values);
static void check_type(const JsonbValue *value, const Field *field, const char *path);
static bool has_type(const JsonbValue *value, FieldType type);
static const char *field_path(const char *path, const char *name);
static char *string_value(const JsonbValue *value);

const char *
tide_push_op_name(TidePushOp op)
{
	return op_names[op];
}

TidePushRequest *
tide_push_request_parse(Jsonb *request)
{
	TidePushRequest *result = palloc0(sizeof(TidePushRequest));
	JsonbValue	values[REQUEST_NFIELDS];
	JsonbContainer *array;

	read_fields(&request->root, "", request_fields, REQUEST_NFIELDS, values);

	parse_client(&values[REQUEST_CLIENT], &result->client);
	if (values[REQUEST_ATOMIC].type == jbvBool)
		result->atomic = values[REQUEST_ATOMIC].val.boolean;

	if (values[REQUEST_REJECTED_SEEN].type != jbvNull)
	{
		result->rejected_seen = whole_number(&values[REQUEST_REJECTED_SEEN]);
		if (result->rejected_seen < 0)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("field \"%s\" of the request must be a whole number",
							"rejected_seen")));
	}
	if (values[REQUEST_MUTATIONS].type == jbvNull)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" is missing in the request", "mutations")));
	array = values[REQUEST_MUTATIONS].val.binary.data;
	result->nmutations = JsonContainerSize(array);
	if (result->nmutations > tide_max_push_mutations)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("push has more than %d mutations", tide_max_push_mutations),
				 errhint("Send fewer at a time, or raise \"%s\".",
						 "tide.max_push_mutations")));
	result->mutations = palloc0(sizeof(TideMutation) * Max(result->nmutations, 1));

	for (int i = 0; i < result->nmutations; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		const char *path = psprintf("mutations[%d]", i);

		CHECK_FOR_INTERRUPTS();
		if (!has_type(element, FIELD_OBJECT))
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("field \"%s\" of the request must be a JSON object", path)));
		parse_mutation(element, path, &result->mutations[i]);
	}
	check_groups(result);
	return result;
}

static void
parse_mutation(JsonbValue *element, const char *path, TideMutation *mutation)
{
	JsonbValue	values[MUTATION_NFIELDS];

	read_fields(element->val.binary.data, path, mutation_fields, MUTATION_NFIELDS, values);

	mutation->id = parse_positive(&values[MUTATION_ID], path, "id");
	if (values[MUTATION_CALL].type != jbvNull)
		mutation->op = TIDE_PUSH_CALL;
	else
		mutation->op = parse_op(&values[MUTATION_OP], path);
	check_fields_of_op(values, mutation->op, path);

	mutation->table = string_value(&values[MUTATION_TABLE]);
	mutation->call = string_value(&values[MUTATION_CALL]);
	mutation->key = object_value(&values[MUTATION_KEY]);
	mutation->values = object_value(&values[MUTATION_VALUES]);
	mutation->base = object_value(&values[MUTATION_BASE]);
	mutation->hlc = string_value(&values[MUTATION_HLC]);
	mutation->vclock = object_value(&values[MUTATION_VCLOCK]);
	mutation->seen = parse_lsn(&values[MUTATION_SEEN], path);
	mutation->args = object_value(&values[MUTATION_ARGS]);
	mutation->signature = object_value(&values[MUTATION_SIGNATURE]);
	if (mutation->signature != NULL)
		mutation->sent = JsonbValueToJsonb(element);
	if (values[MUTATION_TX].type != jbvNull)
		mutation->tx = parse_positive(&values[MUTATION_TX], path, "tx");
	if (mutation->vclock != NULL)
		check_vclock(mutation->vclock, path);
}

static TidePushOp
parse_op(const JsonbValue *value, const char *path)
{
	char	   *name = string_value(value);

	if (name == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" is missing in the request",
						field_path(path, "op"))));

	for (int op = TIDE_PUSH_INSERT; op <= TIDE_PUSH_DELETE; op++)
	{
		if (strcmp(name, op_names[op]) == 0)
			return (TidePushOp) op;
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("invalid value for field \"%s\" of the request: \"%s\"",
					field_path(path, "op"), name),
			 errdetail("Valid values are: insert, update, delete.")));
	return TIDE_PUSH_CALL;		/* keep compiler quiet */
}

/* -1 unless it is a whole number from 0 on that fits bigint */
static int64
whole_number(const JsonbValue *value)
{
	int64		number;

	return tide_jsonb_int64(value, &number) && number >= 0 ? number : -1;
}

static int64
parse_positive(const JsonbValue *value, const char *path, const char *name)
{
	int64		number = whole_number(value);

	if (number <= 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request must be a positive integer",
						field_path(path, name))));
	return number;
}

/* as tide.pull writes it: two hexadecimal numbers with a slash between */
static XLogRecPtr
parse_lsn(const JsonbValue *value, const char *path)
{
	char	   *text = string_value(value);
	bool		invalid = false;
	XLogRecPtr	lsn;

	if (text == NULL)
		return InvalidXLogRecPtr;
	lsn = pg_lsn_in_internal(text, &invalid);
	if (invalid)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request must be a WAL position",
						field_path(path, "seen"))));
	return lsn;
}

/* a vector clock has a counter for each node */
static void
check_vclock(Jsonb *vclock, const char *path)
{
	JsonbIterator *it = JsonbIteratorInit(&vclock->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_VALUE && whole_number(&value) < 0)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("field \"%s\" of the request must be an object of whole numbers",
							field_path(path, "vclock"))));
	}
}

/*
 * A group is consecutive: its number does not come back after another one's, or none.
 * Mutations that are in the request a second time do not count.
 */
static void
check_groups(const TidePushRequest *request)
{
	int64	   *begun = palloc(sizeof(int64) * Max(request->nmutations, 1));
	int			nbegun = 0;
	int64		last_id = 0;
	int64		last_tx = 0;

	for (int i = 0; i < request->nmutations; i++)
	{
		const TideMutation *mutation = &request->mutations[i];

		if (mutation->id <= last_id)
			continue;
		if (mutation->tx != 0 && mutation->tx != last_tx)
			begun[nbegun++] = mutation->tx;
		last_id = mutation->id;
		last_tx = mutation->tx;
	}
	qsort(begun, nbegun, sizeof(int64), compare_int64);
	for (int i = 1; i < nbegun; i++)
	{
		if (begun[i] == begun[i - 1])
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("mutations of group " INT64_FORMAT " are not consecutive",
							begun[i]),
					 errdetail("Mutations with the same \"tx\" must follow each other.")));
	}
	pfree(begun);
}

static int
compare_int64(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* the canonical form only: 8-4-4-4-12 hexadecimal digits */
static void
parse_client(const JsonbValue *value, pg_uuid_t *client)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
	char	   *text = string_value(value);
	bool		valid = text != NULL && strlen(text) == strlen(form);

	for (int i = 0; valid && form[i] != '\0'; i++)
		valid = form[i] == '-' ? text[i] == '-' : isxdigit((unsigned char) text[i]);

	if (!valid)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request must be a UUID", "client")));
	*client = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
}

/* each field the operation needs is there, and none it has no use for */
static void
check_fields_of_op(const JsonbValue *values, TidePushOp op, const char *path)
{
	for (int i = 0; i < MUTATION_NFIELDS; i++)
	{
		const Field *field = &mutation_fields[i];
		bool		present = values[i].type != jbvNull;

		if (!present && (field->required & OP_BIT(op)) != 0)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("field \"%s\" is missing in the request",
							field_path(path, field->name))));
		if (present && (field->allowed & OP_BIT(op)) == 0)
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("field \"%s\" of the request is not allowed with \"%s\"",
							field_path(path, field->name), op_names[op])));
	}
}

/*
 * Members of object into values, in the order of fields and checked against their
 * types; absent ones become jbvNull.
 */
static void
read_fields(JsonbContainer *object, const char *path, const Field *fields,
			int nfields, JsonbValue *values)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	member;

	for (int i = 0; i < nfields; i++)
		values[i].type = jbvNull;

	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		char	   *name;
		int			i;

		if (token != WJB_KEY)
			continue;
		name = string_value(&member);
		for (i = 0; i < nfields && strcmp(fields[i].name, name) != 0; i++)
			;
		if (i == nfields)
		{
			StringInfoData valid;

			initStringInfo(&valid);
			for (i = 0; i < nfields; i++)
				appendStringInfo(&valid, "%s%s", i > 0 ? ", " : "", fields[i].name);
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("unknown field \"%s\" in the request", field_path(path, name)),
					 errdetail("Valid fields are: %s.", valid.data)));
		}
		(void) JsonbIteratorNext(&it, &values[i], true);
		if (values[i].type != jbvNull)
			check_type(&values[i], &fields[i], path);
	}
}

static void
check_type(const JsonbValue *value, const Field *field, const char *path)
{
	static const char *const names[] = {
		[FIELD_STRING] = "string",
		[FIELD_NUMBER] = "number",
		[FIELD_BOOLEAN] = "boolean",
		[FIELD_OBJECT] = "object",
		[FIELD_ARRAY] = "array"
	};

	if (!has_type(value, field->type))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request must be a JSON %s",
						field_path(path, field->name), names[field->type])));
}

static bool
has_type(const JsonbValue *value, FieldType type)
{
	switch (type)
	{
		case FIELD_STRING:
			return value->type == jbvString;
		case FIELD_NUMBER:
			return value->type == jbvNumeric;
		case FIELD_BOOLEAN:
			return value->type == jbvBool;
		case FIELD_OBJECT:
			return value->type == jbvBinary &&
				JsonContainerIsObject(value->val.binary.data);
		case FIELD_ARRAY:
			return value->type == jbvBinary &&
				JsonContainerIsArray(value->val.binary.data);
	}
	return false;
}

static const char *
field_path(const char *path, const char *name)
{
	return path[0] == '\0' ? name : psprintf("%s.%s", path, name);
}

/* NULL if the field is absent */
static Jsonb *
object_value(JsonbValue *value)
{
	return value->type == jbvNull ? NULL : JsonbValueToJsonb(value);
}

/* NULL if the value is not a string */
static char *
string_value(const JsonbValue *value)
{
	if (value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}
