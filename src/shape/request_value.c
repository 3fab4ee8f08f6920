/*
 * request_value.c
 *	  What a request gives for params.<name> and claims.<name>, as typed values.
 *
 * Values go through the type's input function, so a uuid is a uuid however it is
 * written. What a claim holds is never told, not even in an error.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"

#include "catalog/missing.h"
#include "shape/request_value.h"
#include "util/errors.h"

/* a declared numeric has no more */
#define MAX_NUMBER_LEN	1000

/* for error messages: whose value is being read */
typedef struct ValueContext
{
	const TideShape *shape;
	TideValueName name;
} ValueContext;

/* a value an input function does not accept is the request's error */
static void
value_error_callback(void *context)
{
	ValueContext *value = context;

	if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
		return;					/* a cancelled query, say */
	errcode(TIDE_ERRCODE_BAD_REQUEST);
	if (value->name.is_claim)
		errmsg("claim \"%s\" does not have the type shape \"%s\" needs",
			   value->name.name, value->shape->name);
	else
		errcontext("parameter \"%s\" of shape \"%s\"", value->name.name,
				   value->shape->name);
}

static void
refuse_value(const TideShapeRequest *request, TideValueName name, const char *wanted)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("%s \"%s\" of shape \"%s\" must be %s",
					name.is_claim ? "claim" : "parameter", name.name,
					request->shape->name, wanted)));
}

void
tide_value_reader_init(TideValueReader *reader, const TideShapeRequest *request, Oid type)
{
	Oid			input;

	tide_type_require(type);
	reader->request = request;
	reader->type = type;
	getTypeInputInfo(type, &input, &reader->io_param);
	fmgr_info(input, &reader->input);
}

static void
refuse_missing(const TideShapeRequest *request, const char *name)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("parameter \"%s\" of shape \"%s\" is missing",
					name, request->shape->name)));
}

bool
tide_request_value_find(const TideShapeRequest *request, TideValueName name,
						JsonbValue *json)
{
	Jsonb	   *source = name.is_claim ? request->claims : request->params;

	if (source == NULL || !JB_ROOT_IS_OBJECT(source) ||
		getKeyJsonValueFromContainer(&source->root, name.name, strlen(name.name),
									 json) == NULL)
	{
		if (!name.is_claim)
			refuse_missing(request, name.name);
		return false;
	}
	return json->type != jbvNull;
}

Datum
tide_request_value_scalar(TideValueReader *reader, TideValueName name, JsonbValue *json)
{
	ValueContext context = {reader->request->shape, name};
	ErrorContextCallback callback;
	char	   *text = NULL;
	Datum		value;

	switch (json->type)
	{
		case jbvString:
			text = pnstrdup(json->val.string.val, json->val.string.len);
			break;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(json->val.numeric)));

			/*
			 * 1e131071 is short in JSON: an array of them must not fill the
			 * memory
			 */
			if (strlen(text) > MAX_NUMBER_LEN)
				refuse_value(reader->request, name,
							 psprintf("a number of at most %d characters", MAX_NUMBER_LEN));
			break;
		case jbvBool:
			text = pstrdup(json->val.boolean ? "true" : "false");
			break;
		default:
			refuse_value(reader->request, name, "a string, a number or a boolean");
	}

	callback.callback = value_error_callback;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	value = InputFunctionCall(&reader->input, text, reader->io_param, -1);
	error_context_stack = callback.previous;
	return value;
}

JsonbContainer *
tide_request_value_array(const TideShapeRequest *request, TideValueName name,
						 JsonbValue *json)
{
	if (json->type != jbvBinary || !JsonContainerIsArray(json->val.binary.data))
		refuse_value(request, name, "an array");
	return json->val.binary.data;
}

/* a JSON array as an SQL array of one dimension */
static Datum
read_array(const TideShapeRequest *request, TideValueName name, JsonbValue *json, Oid element)
{
	JsonbContainer *array = tide_request_value_array(request, name, json);
	int			n = JsonContainerSize(array);
	Datum	   *values = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	int			lower = 1;
	TideValueReader reader;
	int16		length;
	bool		by_value;
	char		align;

	tide_value_reader_init(&reader, request, element);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);

		nulls[i] = value->type == jbvNull;
		if (!nulls[i])
			values[i] = tide_request_value_scalar(&reader, name, value);
	}
	get_typlenbyvalalign(element, &length, &by_value, &align);
	if (n == 0)
		return PointerGetDatum(construct_empty_array(element));
	return PointerGetDatum(construct_md_array(values, nulls, 1, &n, &lower, element, length,
											  by_value, align));
}

Datum
tide_request_value_read(const TideShapeRequest *request, TideValueName name, Oid type,
						bool *isnull)
{
	Oid			element = get_element_type(getBaseType(type));
	TideValueReader reader;
	JsonbValue	json;

	*isnull = !tide_request_value_find(request, name, &json);
	if (*isnull)
		return (Datum) 0;
	if (type == JSONBOID)
		return JsonbPGetDatum(JsonbValueToJsonb(&json));
	if (OidIsValid(element))
		return read_array(request, name, &json, element);
	tide_value_reader_init(&reader, request, type);
	return tide_request_value_scalar(&reader, name, &json);
}

/* the parameters a shape needs, doubles included: list of char * */
static List *
needed_params(const TideShape *shape)
{
	List	   *result = NIL;
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	foreach(lc, shape->nodes)
	{
		const TideShapeNode *node = lfirst(lc);

		foreach(lc2, node->key_parts)
		{
			foreach(lc3, ((TideKeyPart *) lfirst(lc2))->args)
			{
				TideKeyArg *arg = lfirst(lc3);

				if (arg->name != NULL && !arg->is_claim)
					result = lappend(result, arg->name);
			}
		}
		foreach(lc2, node->lookups)
		{
			foreach(lc3, ((TideKeyLookup *) lfirst(lc2))->refs)
			{
				TideLookupRef *ref = lfirst(lc3);

				if (!ref->is_claim)
					result = lappend(result, ref->name);
			}
		}
	}
	return result;
}

static void
check_known(const TideShapeRequest *request, List *needed, const char *name)
{
	ListCell   *lc;

	foreach(lc, needed)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return;
	}
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("shape \"%s\" has no parameter \"%s\"",
					request->shape->name, name)));
}

void
tide_request_check_params(const TideShapeRequest *request)
{
	List	   *needed = needed_params(request->shape);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	ListCell   *lc;

	if (request->params != NULL && !JB_ROOT_IS_OBJECT(request->params))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("parameters of shape \"%s\" must be a JSON object",
						request->shape->name)));
	if (request->params != NULL)
	{
		it = JsonbIteratorInit(&request->params->root);
		(void) JsonbIteratorNext(&it, &key, false);
		while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
			if (token == WJB_KEY)
				check_known(request, needed,
							pnstrdup(key.val.string.val, key.val.string.len));
	}
	foreach(lc, needed)
	{
		TideValueName name = {false, lfirst(lc)};

		(void) tide_request_value_find(request, name, &key);
	}
}
