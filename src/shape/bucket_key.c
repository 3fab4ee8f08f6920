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

#include "catalog/missing.h"
#include "shape/bucket_key.h"
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

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* the texts of the values one arg gives, added to texts; null gives none, as nothing equals it */
static List *
add_arg(List *texts, TideValueReader *reader, TideKeyCodec *codec, const TideKeyArg *arg)
{
	TideValueName name = {arg->is_claim, arg->name};
	JsonbContainer *array;
	JsonbValue	json;

	if (arg->name == NULL)
		return lappend(texts, arg->constant);
	if (!tide_request_value_find(reader->request, name, &json))
		return texts;
	if (!arg->is_array)
		return lappend(texts, tide_key_codec_text(codec,
												  tide_request_value_scalar(reader, name, &json)));
	array = tide_request_value_array(reader->request, name, &json);
	for (uint32 i = 0; i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		if (element->type != jbvNull)
			texts = lappend(texts, tide_key_codec_text(codec,
													   tide_request_value_scalar(reader, name, element)));
	}
	return texts;
}

List *
tide_key_part_values(const TideShapeRequest *request, const TideKeyPart *part)
{
	TideKeyCodec *codec;
	TideValueReader reader;
	List	   *texts = NIL;
	List	   *result = NIL;
	ListCell   *lc;

	tide_type_require(part->type);
	codec = tide_key_codec_create(CurrentMemoryContext, part->type);
	tide_value_reader_init(&reader, request, part->type);
	foreach(lc, part->args)
		texts = add_arg(texts, &reader, codec, lfirst(lc));
	list_sort(texts, compare_texts);
	foreach(lc, texts)
	{
		if (result == NIL || strcmp(llast(result), lfirst(lc)) != 0)
			result = lappend(result, lfirst(lc));
	}
	return result;
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

			Assert(count > 0);
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
	TideShapeRequest request = {shape, params, claims};
	TideShapeNode *root;
	List	  **values;
	List	   *result;
	ListCell   *lc;
	int			nest_level;

	if (shape->nodes == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("shape \"%s\" is not compiled", shape->name)));
	root = linitial(shape->nodes);
	if (root->lookups != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("buckets of shape \"%s\" are found by subqueries", shape->name)));
	tide_request_check_params(&request);

	values = palloc0(Max(list_length(root->key_parts), 1) * sizeof(List *));
	nest_level = tide_settings_push();
	foreach(lc, root->key_parts)
		values[foreach_current_index(lc)] = tide_key_part_values(&request, lfirst(lc));
	result = combine(values, list_length(root->key_parts));
	tide_settings_pop(nest_level);
	return result;
}
