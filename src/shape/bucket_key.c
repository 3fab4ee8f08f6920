/*
 * bucket_key.c
 *	  Bucket keys: one canonical text per key part.
 *
 * A type qualifies if its equality means the same image (what btree deduplication
 * asks of it too): then equal values have equal output. Numeric, float4, float8 and
 * char(n) do not, and are brought to a normal form first. Output depends on
 * settings: callers run under tide_settings_push().
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/typcache.h"

#include "shape/bucket_key.h"
#include "util/errors.h"
#include "util/spi.h"

/* more combinations of IN lists than this in one request are a mistake, or an attack */
#define MAX_KEYS_PER_REQUEST	65536

struct TideKeyCodec
{
	Oid			type;
	FmgrInfo	output;
};

bool
tide_bucket_key_type_ok(Oid type, Oid collation)
{
	TypeCacheEntry *entry;
	Oid			equal_image;

	type = getBaseType(type);
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		return false;
	if (type == NUMERICOID || type == FLOAT4OID || type == FLOAT8OID ||
		type == BPCHAROID)
		return true;

	entry = lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY);
	if (!OidIsValid(entry->btree_opf))
		return false;
	equal_image = get_opfamily_proc(entry->btree_opf, entry->btree_opintype,
									entry->btree_opintype, BTEQUALIMAGE_PROC);
	if (!OidIsValid(equal_image))
		return false;
	if (type_is_collatable(type) && !OidIsValid(collation))
		collation = get_typcollation(type);
	return DatumGetBool(OidFunctionCall1Coll(equal_image, collation,
											 ObjectIdGetDatum(entry->btree_opintype)));
}

TideKeyCodec *
tide_key_codec_create(MemoryContext context, Oid type)
{
	TideKeyCodec *codec = MemoryContextAllocZero(context, sizeof(TideKeyCodec));
	Oid			output;
	bool		is_varlena;

	codec->type = getBaseType(type);
	getTypeOutputInfo(codec->type, &output, &is_varlena);
	fmgr_info_cxt(output, &codec->output, context);
	return codec;
}

char *
tide_key_codec_text(TideKeyCodec *codec, Datum value)
{
	char	   *text;
	int			length;

	switch (codec->type)
	{
		case NUMERICOID:
			return numeric_normalize(DatumGetNumeric(value));
		case FLOAT4OID:
			/* -0 equals 0 */
			if (DatumGetFloat4(value) == 0)
				value = Float4GetDatum(0);
			break;
		case FLOAT8OID:
			if (DatumGetFloat8(value) == 0)
				value = Float8GetDatum(0);
			break;
		default:
			break;
	}

	text = OutputFunctionCall(&codec->output, value);
	if (codec->type == BPCHAROID)
	{
		for (length = strlen(text); length > 0 && text[length - 1] == ' '; length--)
			text[length - 1] = '\0';
	}
	return text;
}

/* turns request values of one key part to canonical text */
typedef struct PartReader
{
	const TideShape *shape;
	TideKeyPart *part;
	TideKeyCodec *codec;
	FmgrInfo	input;
	Oid			io_param;
	List	   *texts;			/* of char * */
} PartReader;

/* the value a request gives for one arg, for error messages */
typedef struct ValueContext
{
	const TideShape *shape;
	const TideKeyArg *arg;
} ValueContext;

/*
 * A value an input function does not accept is the request's error. What a claim
 * holds is not told.
 */
static void
value_error_callback(void *context)
{
	ValueContext *value = context;

	if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
		return;					/* a cancelled query, say */
	errcode(TIDE_ERRCODE_BAD_REQUEST);
	if (value->arg->is_claim)
		errmsg("claim \"%s\" does not have the type shape \"%s\" needs",
			   value->arg->name, value->shape->name);
	else
		errcontext("parameter \"%s\" of shape \"%s\"", value->arg->name,
				   value->shape->name);
}

static void
refuse_value(PartReader *reader, const TideKeyArg *arg, const char *wanted)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("%s \"%s\" of shape \"%s\" must be %s",
					arg->is_claim ? "claim" : "parameter", arg->name,
					reader->shape->name, wanted)));
}

/* a JSON scalar; null gives no value, as nothing equals null */
static void
add_scalar(PartReader *reader, const TideKeyArg *arg, JsonbValue *json)
{
	ValueContext context = {reader->shape, arg};
	ErrorContextCallback callback;
	char	   *text = NULL;
	Datum		value;

	switch (json->type)
	{
		case jbvNull:
			return;
		case jbvString:
			text = pnstrdup(json->val.string.val, json->val.string.len);
			break;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(json->val.numeric)));
			break;
		case jbvBool:
			text = pstrdup(json->val.boolean ? "true" : "false");
			break;
		default:
			refuse_value(reader, arg, "a string, a number or a boolean");
	}

	callback.callback = value_error_callback;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	value = InputFunctionCall(&reader->input, text, reader->io_param, -1);
	error_context_stack = callback.previous;
	reader->texts = lappend(reader->texts,
							tide_key_codec_text(reader->codec, value));
}

static void
add_arg(PartReader *reader, const TideKeyArg *arg, Jsonb *params, Jsonb *claims)
{
	Jsonb	   *source = arg->is_claim ? claims : params;
	JsonbValue	buffer;
	JsonbValue *json = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;

	if (arg->name == NULL)
	{
		reader->texts = lappend(reader->texts, arg->constant);
		return;
	}
	if (source != NULL && JB_ROOT_IS_OBJECT(source))
		json = getKeyJsonValueFromContainer(&source->root, arg->name,
											strlen(arg->name), &buffer);
	if (json == NULL && arg->is_claim)
		return;
	if (json == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("parameter \"%s\" of shape \"%s\" is missing",
						arg->name, reader->shape->name)));
	if (json->type == jbvNull)
		return;
	if (!arg->is_array)
	{
		add_scalar(reader, arg, json);
		return;
	}
	if (json->type != jbvBinary || !JsonContainerIsArray(json->val.binary.data))
		refuse_value(reader, arg, "an array");
	it = JsonbIteratorInit(json->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &buffer, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			add_scalar(reader, arg, &buffer);
	}
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* the values a request gives for one key part: list of char *, sorted, without doubles */
static List *
resolve_part(const TideShape *shape, TideKeyPart *part, Jsonb *params, Jsonb *claims)
{
	PartReader	reader = {.shape = shape, .part = part};
	List	   *texts = NIL;
	Oid			input;
	ListCell   *lc;

	getTypeInputInfo(part->type, &input, &reader.io_param);
	fmgr_info(input, &reader.input);
	reader.codec = tide_key_codec_create(CurrentMemoryContext, part->type);
	foreach(lc, part->args)
		add_arg(&reader, lfirst(lc), params, claims);

	list_sort(reader.texts, compare_texts);
	foreach(lc, reader.texts)
	{
		if (texts == NIL || strcmp(llast(texts), lfirst(lc)) != 0)
			texts = lappend(texts, lfirst(lc));
	}
	return texts;
}

static bool
shape_has_param(TideShapeNode *root, const char *name)
{
	ListCell   *lc;

	foreach(lc, root->key_parts)
	{
		TideKeyPart *part = lfirst(lc);
		ListCell   *lc2;

		foreach(lc2, part->args)
		{
			TideKeyArg *arg = lfirst(lc2);

			if (arg->name != NULL && !arg->is_claim &&
				strcmp(arg->name, name) == 0)
				return true;
		}
	}
	return false;
}

static void
check_params_known(const TideShape *shape, Jsonb *params)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;

	if (params == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(params))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("parameters of shape \"%s\" must be a JSON object",
						shape->name)));
	it = JsonbIteratorInit(&params->root);
	(void) JsonbIteratorNext(&it, &key, false);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(key.val.string.val, key.val.string.len);
		if (!shape_has_param(linitial(shape->nodes), name))
			ereport(ERROR,
					(errcode(TIDE_ERRCODE_BAD_REQUEST),
					 errmsg("shape \"%s\" has no parameter \"%s\"",
							shape->name, name)));
	}
}

/*
 * All combinations of the parts' values, the first part varying slowest.
 * values[i] is the list for part i.
 */
static List *
combine(List **values, int nparts)
{
	double		total = 1;
	List	   *result = NIL;
	Datum	   *elements = palloc(Max(nparts, 1) * sizeof(Datum));

	for (int i = 0; i < nparts; i++)
		total *= list_length(values[i]);
	if (total > MAX_KEYS_PER_REQUEST)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("request asks for more than %d buckets of one shape",
						MAX_KEYS_PER_REQUEST)));

	for (int n = 0; n < (int) total; n++)
	{
		int			rest = n;
		ArrayType  *key;

		for (int i = nparts - 1; i >= 0; i--)
		{
			int			count = list_length(values[i]);

			elements[i] = CStringGetTextDatum(list_nth(values[i], rest % count));
			rest /= count;
		}
		key = construct_array(elements, nparts, TEXTOID, -1, false,
							  TYPALIGN_INT);
		result = lappend(result, key);
	}
	return result;
}

List *
tide_bucket_keys_resolve(const TideShape *shape, Jsonb *params, Jsonb *claims)
{
	TideShapeNode *root;
	List	  **values;
	List	   *result;
	ListCell   *lc;
	int			nest_level;

	if (shape->nodes == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shape \"%s\" is not compiled", shape->name)));
	check_params_known(shape, params);

	root = linitial(shape->nodes);
	values = palloc0(Max(list_length(root->key_parts), 1) * sizeof(List *));
	nest_level = tide_settings_push();
	foreach(lc, root->key_parts)
		values[foreach_current_index(lc)] = resolve_part(shape, lfirst(lc),
														 params, claims);
	result = combine(values, list_length(root->key_parts));
	tide_settings_pop(nest_level);
	return result;
}
