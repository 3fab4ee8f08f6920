/*
 * node_form.c
 *	  Compiled nodes as rows of tide_internal.shape_nodes, both ways.
 *
 * Trees are stored as nodeToString() writes them; what is not in a tree goes into two jsonb columns:
 *
 *	  key_args	per key part an array of {"param": name}, {"claim": name}, both also with
 *				"array": true, or {"const": text}
 *	  details	{"sets": [numbers of key parts over elements],
 *				 "lookups": [{"first", "parts", "negated", "refs": [{"param" | "claim": name, "type"}]}],
 *				 "order": [{"desc", "nulls_first"}]}; null if there is nothing of it
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog/missing.h"
#include "catalog/node_form.h"

/* ---------- to a row ---------- */

static Datum
json_datum(StringInfo json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data));
}

/* "param": name or "claim": name */
static void
append_request_name(StringInfo json, bool is_claim, const char *name)
{
	appendStringInfoString(json, is_claim ? "\"claim\":" : "\"param\":");
	escape_json(json, name);
}

typedef void (*AppendItem) (StringInfo json, const void *item);

/* [item, …] */
static void
append_list(StringInfo json, List *items, AppendItem append)
{
	ListCell   *lc;

	appendStringInfoChar(json, '[');
	foreach(lc, items)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoChar(json, ',');
		append(json, lfirst(lc));
	}
	appendStringInfoChar(json, ']');
}

static void
append_key_arg(StringInfo json, const void *item)
{
	const TideKeyArg *arg = item;

	appendStringInfoChar(json, '{');
	if (arg->name != NULL)
		append_request_name(json, arg->is_claim, arg->name);
	else
	{
		appendStringInfoString(json, "\"const\":");
		escape_json(json, arg->constant);
	}
	appendStringInfoString(json, arg->is_array ? ",\"array\":true}" : "}");
}

static void
append_key_args(StringInfo json, const void *item)
{
	append_list(json, ((const TideKeyPart *) item)->args, append_key_arg);
}

static void
append_ref(StringInfo json, const void *item)
{
	const TideLookupRef *ref = item;

	appendStringInfoChar(json, '{');
	append_request_name(json, ref->is_claim, ref->name);
	appendStringInfo(json, ",\"type\":%u}", ref->type);
}

static void
append_lookup(StringInfo json, const void *item)
{
	const TideKeyLookup *lookup = item;

	appendStringInfo(json, "{\"first\":%d,\"parts\":%d,\"negated\":%s,\"refs\":",
					 lookup->first_part, lookup->nparts, lookup->negated ? "true" : "false");
	append_list(json, lookup->refs, append_ref);
	appendStringInfoChar(json, '}');
}

static void
append_sort_key(StringInfo json, const void *item)
{
	const TideSortKey *key = item;

	appendStringInfo(json, "{\"desc\":%s,\"nulls_first\":%s}",
					 key->descending ? "true" : "false", key->nulls_first ? "true" : "false");
}

static void
append_number(StringInfo json, const void *item)
{
	appendStringInfo(json, "%d", *(const int *) item);
}

/* numbers of the key parts over elements */
static List *
set_numbers(List *key_parts)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, key_parts)
	{
		int		   *number = palloc(sizeof(int));

		*number = foreach_current_index(lc);
		if (((TideKeyPart *) lfirst(lc))->is_set)
			result = lappend(result, number);
	}
	return result;
}

static void
set_details(const TideShapeNode *node, Datum *values, char *nulls)
{
	List	   *sets = set_numbers(node->key_parts);
	StringInfoData json;

	if (sets == NIL && node->lookups == NIL && node->order_by == NIL)
		return;
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"sets\":");
	append_list(&json, sets, append_number);
	appendStringInfoString(&json, ",\"lookups\":");
	append_list(&json, node->lookups, append_lookup);
	appendStringInfoString(&json, ",\"order\":");
	append_list(&json, node->order_by, append_sort_key);
	appendStringInfoChar(&json, '}');
	values[Anum_nodes_details - 1] = json_datum(&json);
	nulls[Anum_nodes_details - 1] = ' ';
}

Datum
tide_attnums_datum(const AttrNumber *attnums, int count)
{
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = Int16GetDatum(attnums[i]);
	return PointerGetDatum(construct_array(elements, count, INT2OID, sizeof(int16), true,
										   TYPALIGN_SHORT));
}

/* the tree as text; a column stays null if there is none */
static void
set_tree(int attnum, const void *tree, Datum *values, char *nulls)
{
	if (tree == NULL)
		return;
	values[attnum - 1] = CStringGetTextDatum(nodeToString(tree));
	nulls[attnum - 1] = ' ';
}

static void
set_trees(const TideShapeNode *node, Datum *values, char *nulls)
{
	List	   *keys = NIL;
	List	   *queries = NIL;
	List	   *sort_exprs = NIL;
	List	   *windows = NIL;
	ListCell   *lc;

	foreach(lc, node->key_parts)
		keys = lappend(keys, ((TideKeyPart *) lfirst(lc))->expr);
	foreach(lc, node->lookups)
		queries = lappend(queries, ((TideKeyLookup *) lfirst(lc))->query);
	foreach(lc, node->order_by)
		sort_exprs = lappend(sort_exprs, ((TideSortKey *) lfirst(lc))->expr);
	foreach(lc, node->windows)
	{
		TideTimeWindow *window = lfirst(lc);

		windows = lappend(windows, list_make2(window->expr, window->bound));
	}
	set_tree(Anum_nodes_filter, node->filter, values, nulls);
	set_tree(Anum_nodes_keys, keys, values, nulls);
	set_tree(Anum_nodes_join_on, node->join_on, values, nulls);
	set_tree(Anum_nodes_subfilter, node->subfilter, values, nulls);
	set_tree(Anum_nodes_lookups, queries, values, nulls);
	set_tree(Anum_nodes_order_by, sort_exprs, values, nulls);
	set_tree(Anum_nodes_windows, windows, values, nulls);
}

void
tide_node_form(int shape_id, const TideShapeNode *node, Datum *values, char *nulls)
{
	StringInfoData key_args;

	memset(values, 0, sizeof(Datum) * Natts_nodes);
	memset(nulls, 'n', Natts_nodes);
	values[Anum_nodes_shape_id - 1] = Int32GetDatum(shape_id);
	values[Anum_nodes_node_id - 1] = Int16GetDatum(node->node_id);
	values[Anum_nodes_source_id - 1] = Int32GetDatum(node->source_id);
	values[Anum_nodes_path - 1] = CStringGetTextDatum(node->path);
	values[Anum_nodes_attnums - 1] = tide_attnums_datum(node->columns, node->ncolumns);
	initStringInfo(&key_args);
	append_list(&key_args, node->key_parts, append_key_args);
	values[Anum_nodes_key_args - 1] = json_datum(&key_args);
	nulls[Anum_nodes_shape_id - 1] = nulls[Anum_nodes_node_id - 1] =
		nulls[Anum_nodes_source_id - 1] = nulls[Anum_nodes_path - 1] =
		nulls[Anum_nodes_attnums - 1] = nulls[Anum_nodes_key_args - 1] = ' ';
	if (node->parent_id >= 0)
	{
		values[Anum_nodes_parent_id - 1] = Int16GetDatum(node->parent_id);
		nulls[Anum_nodes_parent_id - 1] = ' ';
	}
	if (node->row_limit > 0)
	{
		values[Anum_nodes_row_limit - 1] = Int64GetDatum(node->row_limit);
		nulls[Anum_nodes_row_limit - 1] = ' ';
	}
	set_trees(node, values, nulls);
	set_details(node, values, nulls);
}

/* ---------- from a row ---------- */

/* a member of a jsonb object, in *buffer, or NULL */
static JsonbValue *
member(JsonbContainer *object, const char *name, JsonbValue *buffer)
{
	return getKeyJsonValueFromContainer(object, name, strlen(name), buffer);
}

static char *
string_member(JsonbContainer *object, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = member(object, name, &buffer);

	if (value == NULL || value->type != jbvString)
		return NULL;
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static bool
bool_member(JsonbContainer *object, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = member(object, name, &buffer);

	return value != NULL && value->type == jbvBool && value->val.boolean;
}

static int64
int_of(JsonbValue *value)
{
	if (value == NULL || value->type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("compiled shape lacks a number")));
	return DatumGetInt64(DirectFunctionCall1(numeric_int8,
											 NumericGetDatum(value->val.numeric)));
}

static int64
int_member(JsonbContainer *object, const char *name)
{
	JsonbValue	buffer;

	return int_of(member(object, name, &buffer));
}

/* an array that is a member, or NULL */
static JsonbContainer *
array_member(JsonbContainer *object, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = member(object, name, &buffer);

	if (value == NULL || value->type != jbvBinary)
		return NULL;
	return value->val.binary.data;
}

/* element i of an array of objects or arrays */
static JsonbContainer *
element(JsonbContainer *array, int i)
{
	JsonbValue *value = array ? getIthJsonbValueFromContainer(array, i) : NULL;

	if (value == NULL || value->type != jbvBinary)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("compiled shape lacks an element")));
	return value->val.binary.data;
}

static char *
request_name(JsonbContainer *object, bool *is_claim)
{
	char	   *name = string_member(object, "claim");

	*is_claim = name != NULL;
	return name ? name : string_member(object, "param");
}

/* an item from its object and, where it has one, its tree */
typedef void *(*ReadItem) (JsonbContainer *object, void *expr);

/* an item for each element of an array of objects */
static List *
read_list(JsonbContainer *array, ReadItem read)
{
	int			count = array ? JsonContainerSize(array) : 0;
	List	   *result = NIL;

	for (int i = 0; i < count; i++)
		result = lappend(result, read(element(array, i), NULL));
	return result;
}

/* an item for each tree of a list, with its element of the array that belongs to it */
static List *
read_list_of(List *exprs, JsonbContainer *array, ReadItem read)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, exprs)
		result = lappend(result, read(element(array, foreach_current_index(lc)), lfirst(lc)));
	return result;
}

static void *
read_key_arg(JsonbContainer *object, void *expr)
{
	TideKeyArg *arg = palloc0(sizeof(TideKeyArg));

	arg->name = request_name(object, &arg->is_claim);
	arg->constant = string_member(object, "const");
	arg->is_array = bool_member(object, "array");
	return arg;
}

static void *
read_ref(JsonbContainer *object, void *expr)
{
	TideLookupRef *ref = palloc0(sizeof(TideLookupRef));

	ref->name = request_name(object, &ref->is_claim);
	ref->type = (Oid) int_member(object, "type");
	return ref;
}

static void *
read_lookup(JsonbContainer *object, void *expr)
{
	TideKeyLookup *lookup = palloc0(sizeof(TideKeyLookup));

	lookup->query = castNode(Query, expr);
	lookup->first_part = (int) int_member(object, "first");
	lookup->nparts = (int) int_member(object, "parts");
	lookup->negated = bool_member(object, "negated");
	lookup->refs = read_list(array_member(object, "refs"), read_ref);
	return lookup;
}

static void *
read_sort_key(JsonbContainer *object, void *expr)
{
	TideSortKey *key = palloc0(sizeof(TideSortKey));

	key->expr = expr;
	key->descending = bool_member(object, "desc");
	key->nulls_first = bool_member(object, "nulls_first");
	return key;
}

static bool
is_in_array(JsonbContainer *array, int number)
{
	int			count = array ? JsonContainerSize(array) : 0;

	for (int i = 0; i < count; i++)
	{
		if (int_of(getIthJsonbValueFromContainer(array, i)) == number)
			return true;
	}
	return false;
}

/* a type that is gone is left as it is: whoever uses it says so, reading a shape must not fail */
static Oid
base_type(Oid type)
{
	return tide_type_exists(type) ? getBaseType(type) : type;
}

/* by its args: an array */
static void *
read_key_part(JsonbContainer *args, void *expr)
{
	TideKeyPart *part = palloc0(sizeof(TideKeyPart));

	part->expr = expr;
	part->type = base_type(exprType(expr));
	part->typmod = exprTypmod(expr);
	part->collation = exprCollation(expr);
	part->args = read_list(args, read_key_arg);
	return part;
}

static List *
key_parts_of(List *exprs, JsonbContainer *key_args, JsonbContainer *details)
{
	JsonbContainer *sets = details ? array_member(details, "sets") : NULL;
	List	   *result = read_list_of(exprs, key_args, read_key_part);
	ListCell   *lc;

	foreach(lc, result)
	{
		TideKeyPart *part = lfirst(lc);

		part->is_set = is_in_array(sets, foreach_current_index(lc));
		if (part->is_set)
		{
			part->type = base_type(get_element_type(part->type));
			part->typmod = -1;
		}
	}
	return result;
}

static List *
windows_of(List *pairs)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, pairs)
	{
		TideTimeWindow *window = palloc0(sizeof(TideTimeWindow));
		List	   *pair = lfirst_node(List, lc);

		window->expr = linitial(pair);
		window->bound = lsecond(pair);
		result = lappend(result, window);
	}
	return result;
}

static void *
tree_of(int attnum, const Datum *values, const bool *nulls)
{
	if (nulls[attnum - 1])
		return NULL;
	return stringToNode(TextDatumGetCString(values[attnum - 1]));
}

static void
read_attnums(TideShapeNode *node, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);

	node->ncolumns = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	node->columns = palloc(Max(node->ncolumns, 1) * sizeof(AttrNumber));
	memcpy(node->columns, ARR_DATA_PTR(array), node->ncolumns * sizeof(AttrNumber));
}

TideShapeNode *
tide_node_deform(const Datum *values, const bool *nulls)
{
	TideShapeNode *node = palloc0(sizeof(TideShapeNode));
	Jsonb	   *key_args = DatumGetJsonbP(values[Anum_nodes_key_args - 1]);
	JsonbContainer *details = NULL;

	if (!nulls[Anum_nodes_details - 1])
		details = &DatumGetJsonbP(values[Anum_nodes_details - 1])->root;
	node->node_id = DatumGetInt16(values[Anum_nodes_node_id - 1]);
	node->source_id = DatumGetInt32(values[Anum_nodes_source_id - 1]);
	node->parent_id = nulls[Anum_nodes_parent_id - 1] ? -1 :
		DatumGetInt16(values[Anum_nodes_parent_id - 1]);
	node->path = TextDatumGetCString(values[Anum_nodes_path - 1]);
	read_attnums(node, values[Anum_nodes_attnums - 1]);
	node->filter = tree_of(Anum_nodes_filter, values, nulls);
	node->join_on = tree_of(Anum_nodes_join_on, values, nulls);
	node->subfilter = tree_of(Anum_nodes_subfilter, values, nulls);
	node->key_parts = key_parts_of(tree_of(Anum_nodes_keys, values, nulls), &key_args->root,
								   details);
	node->lookups = read_list_of(tree_of(Anum_nodes_lookups, values, nulls),
								 details ? array_member(details, "lookups") : NULL, read_lookup);
	node->order_by = read_list_of(tree_of(Anum_nodes_order_by, values, nulls),
								  details ? array_member(details, "order") : NULL, read_sort_key);
	if (!nulls[Anum_nodes_row_limit - 1])
		node->row_limit = DatumGetInt64(values[Anum_nodes_row_limit - 1]);
	node->windows = windows_of(tree_of(Anum_nodes_windows, values, nulls));
	return node;
}
