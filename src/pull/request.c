/*
 * request.c
 *	  A pull request, checked and taken apart. "token" and "claims" are for auth/.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "pull/request.h"
#include "util/errors.h"
#include "util/json_read.h"

typedef struct FieldReader
{
	const char *name;
	void		(*read) (TidePullRequest *request, const JsonbValue *value);
} FieldReader;

static void read_client(TidePullRequest *request, const JsonbValue *value);
static void read_shapes(TidePullRequest *request, const JsonbValue *value);
static void read_cookie(TidePullRequest *request, const JsonbValue *value);
static void read_limit(TidePullRequest *request, const JsonbValue *value);
static void read_resync(TidePullRequest *request, const JsonbValue *value);

#define FIELD_NAMES	"client, token, claims, shapes, cookie, limit, resync"

/* in the order of FIELD_NAMES; NULL: read elsewhere */
static const FieldReader fields[] = {
	{"client", read_client},
	{"token", NULL},
	{"claims", NULL},
	{"shapes", read_shapes},
	{"cookie", read_cookie},
	{"limit", read_limit},
	{"resync", read_resync},
};

static void
bad_field(const char *field, const char *must_be)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("field \"%s\" of the request must be %s", field, must_be)));
}

static const FieldReader *
find_field(const char *name)
{
	for (int i = 0; i < lengthof(fields); i++)
		if (strcmp(fields[i].name, name) == 0)
			return &fields[i];
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("unrecognized field \"%s\" of the request", name),
			 errhint("Valid fields are: %s.", FIELD_NAMES)));
}

TidePullRequest *
tide_pull_request_parse(Jsonb *request)
{
	TidePullRequest *result = palloc0(sizeof(TidePullRequest));
	const FieldReader *field = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		has_shapes = false;

	if (!JB_ROOT_IS_OBJECT(request))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("request must be a JSON object")));
	result->limit = TIDE_PULL_DEFAULT_LIMIT;
	it = JsonbIteratorInit(&request->root);
	(void) JsonbIteratorNext(&it, &value, false);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			field = find_field(pnstrdup(value.val.string.val, value.val.string.len));
		else if (token == WJB_VALUE && field != NULL && field->read != NULL && value.type != jbvNull)
		{
			field->read(result, &value);
			has_shapes |= field->read == read_shapes;
		}
	}
	if (!has_shapes)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request is missing", "shapes")));
	return result;
}

bool
tide_looks_like_uuid(const char *text)
{
	int			digits = 0;

	if (strlen(text) != 36)
		return false;
	for (int i = 0; i < 36; i++)
	{
		if (i == 8 || i == 13 || i == 18 || i == 23)
		{
			if (text[i] != '-')
				return false;
		}
		else
			digits += isxdigit((unsigned char) text[i]) != 0;
	}
	return digits == 32;
}

static void
read_client(TidePullRequest *request, const JsonbValue *value)
{
	char	   *text;

	if (value->type != jbvString)
		bad_field("client", "a uuid");
	text = pnstrdup(value->val.string.val, value->val.string.len);
	if (!tide_looks_like_uuid(text))
		bad_field("client", "a uuid");
	request->client = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
	request->has_client = true;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data);
}

/* one shape's parameters: an object, or an array of objects */
static void
read_shape(TidePullRequest *request, char *name, JsonbValue *value)
{
	TideAskedShape *shape = palloc(sizeof(TideAskedShape));
	JsonbContainer *array;

	shape->name = name;
	shape->params = NIL;
	request->shapes = lappend(request->shapes, shape);
	if (is_object(value))
	{
		shape->params = list_make1(JsonbValueToJsonb(value));
		return;
	}
	if (!is_array(value))
		bad_field(psprintf("shapes.%s", name), "an array of objects with parameters");
	array = value->val.binary.data;
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (!is_object(element))
			bad_field(psprintf("shapes.%s[%u]", name, i), "an object with parameters");
		shape->params = lappend(shape->params, JsonbValueToJsonb(element));
	}
}

static void
read_shapes(TidePullRequest *request, const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	member;
	char	   *name = NULL;

	if (!is_object(value))
		bad_field("shapes", "an object of shape names");
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &member, false);
	while ((token = JsonbIteratorNext(&it, &member, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(member.val.string.val, member.val.string.len);
		else if (token == WJB_VALUE)
			read_shape(request, name, &member);
	}
}

static void
read_cookie(TidePullRequest *request, const JsonbValue *value)
{
	request->cookie = JsonbValueToJsonb(unconstify(JsonbValue *, value));
}

static void
read_limit(TidePullRequest *request, const JsonbValue *value)
{
	int64		limit;

	if (!tide_jsonb_int64(value, &limit) || limit < 1 || limit > TIDE_PULL_MAX_LIMIT)
		bad_field("limit", psprintf("a whole number between 1 and %d",
									TIDE_PULL_MAX_LIMIT));
	request->limit = (int) limit;
}

static void
read_resync(TidePullRequest *request, const JsonbValue *value)
{
	JsonbContainer *array;

	if (!is_array(value))
		bad_field("resync", "an array of bucket ids");
	array = value->val.binary.data;
	request->resync = palloc(sizeof(int64) * Max(JsonContainerSize(array), 1));
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (!tide_jsonb_int64(element, &request->resync[request->nresync++]))
			bad_field(psprintf("resync[%u]", i), "a bucket id");
	}
}
