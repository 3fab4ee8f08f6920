/*
 * row_filter.c
 *	  Single-table shapes in the stream: which rows they hold.
 *
 * A shape's filter and the expressions of its bucket key are evaluated on the rows of
 * the WAL. A decoder must not run code that reads tables or that somebody else
 * wrote, so expressions are held to an allow-list: columns, constants, and
 * immutable built-in functions and operators over built-in types and enums.
 *
 * For an update, with "-" for a row the shape does not hold:
 *
 *		old		new		line
 *		-		-		none
 *		-		held	insert
 *		held	-		delete
 *		held	held	update
 *
 * The old row is wholly known under REPLICA IDENTITY FULL. Else the WAL has old
 * values of the identity's columns, if they changed; a filter that needs
 * more than those is refused.
 *
 * A bucket key is held as one string: the canonical text of each part, each after its
 * length and a colon. Sorted, they are looked up by bsearch.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/shape_catalog.h"
#include "decode/row_filter.h"
#include "shape/bucket_key.h"
#include "util/compat.h"
#include "util/errors.h"

typedef struct FilterPart
{
	ExprState  *expr;
	TideKeyCodec *codec;
} FilterPart;

struct TideRowFilter
{
	ExprContext *econtext;
	ExprState  *filter;			/* NULL: every row */
	int			nparts;
	FilterPart *parts;
	int			nkeys;			/* sorted; owned by the TideBoundShape */
	char	  **keys;
};

TIDE_NORETURN static void
report_not_streamable(const char *shape, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("shape \"%s\" cannot be decided row by row", shape),
			 errdetail_internal("%s", detail),
			 errhint("Use tide.pull for this shape.")));
}

/* ---------- binding params and claims ---------- */

static void
append_key_part(StringInfo out, const char *text, int len)
{
	appendStringInfo(out, "%d:", len);
	appendBinaryStringInfo(out, text, len);
}

static char *
key_of_array(ArrayType *array)
{
	StringInfoData key;
	Datum	   *parts;
	int			count;

	initStringInfo(&key);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &parts, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		text	   *part = DatumGetTextPP(parts[i]);

		append_key_part(&key, VARDATA_ANY(part), (int) VARSIZE_ANY_EXHDR(part));
	}
	return key.data;
}

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* whether a parameter of the name is among what the shape asks for */
static bool
shape_takes_param(const TideShapeNode *node, const char *name, int len)
{
	ListCell   *cell;
	ListCell   *inner;

	foreach(cell, node->key_parts)
	{
		foreach(inner, ((TideKeyPart *) lfirst(cell))->args)
		{
			TideKeyArg *arg = lfirst(inner);

			/* constants have no name */
			if (arg->name != NULL && !arg->is_claim &&
				strlen(arg->name) == (size_t) len &&
				memcmp(arg->name, name, len) == 0)
				return true;
		}
	}
	return false;
}

/*
 * The parameters of one shape out of those given for all. used, one flag per member of
 * params, gets true for those taken.
 */
static Jsonb *
params_of_shape(Jsonb *params, const TideShapeNode *node, bool *used)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&params->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			member = -1;
	bool		taken = false;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	(void) JsonbIteratorNext(&it, &value, true);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY)
		{
			member++;
			taken = shape_takes_param(node, value.val.string.val, value.val.string.len);
			used[member] |= taken;
		}
		if (taken)
			pushJsonbValue(&state, token, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* the name of a parameter that no shape takes, or NULL */
static char *
unused_param(Jsonb *params, const bool *used)
{
	JsonbIterator *it = JsonbIteratorInit(&params->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	int			member = -1;

	(void) JsonbIteratorNext(&it, &value, true);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_END_OBJECT)
	{
		if (token == WJB_KEY && !used[++member])
			return pnstrdup(value.val.string.val, value.val.string.len);
	}
	return NULL;
}

/* what more than the row, or other than its own buckets, decides about */
static void
check_streamable(const TideShape *shape)
{
	const TideShapeNode *root;
	ListCell   *cell;

	if (shape->nodes == NIL)
		return;
	root = linitial(shape->nodes);
	foreach(cell, shape->nodes)
	{
		if (((TideShapeNode *) lfirst(cell))->parent_id >= 0)
			report_not_streamable(shape->name, "It has rows of several tables.");
	}
	if (list_length(shape->nodes) > 1)
		report_not_streamable(shape->name, "Its parameters are in branches of an OR.");
	if (!tide_shape_is_plain(shape) || root->lookups != NIL)
		report_not_streamable(shape->name, "Other rows decide about its rows: it has a subquery or a limit.");
	if (root->windows != NIL)
		report_not_streamable(shape->name, "Its rows depend on the time.");
	foreach(cell, root->key_parts)
	{
		if (((TideKeyPart *) lfirst(cell))->is_set)
			report_not_streamable(shape->name, "A row of it is in the buckets of several parameter values.");
	}
}

static void
bind_shape(TideBoundShape *bound, TideShape *shape, const TideDecodeOptions *options,
		   bool *used)
{
	Jsonb	   *params = options->params;
	List	   *keys;
	ListCell   *cell;

	check_streamable(shape);
	if (shape->nodes != NIL &&
		get_rel_relkind(((TideShapeNode *) linitial(shape->nodes))->relid) ==
		RELKIND_PARTITIONED_TABLE)
		report_not_streamable(shape->name, "Its table is partitioned.");
	if (params != NULL && shape->nodes != NIL)
		params = params_of_shape(params, linitial(shape->nodes), used);

	/* refuses shapes that are not compiled */
	keys = tide_bucket_keys_resolve(shape, params, options->claims);
	bound->node = linitial(shape->nodes);
	bound->keys = palloc(sizeof(char *) * (list_length(keys) + 1));
	foreach(cell, keys)
		bound->keys[bound->nkeys++] = key_of_array(lfirst(cell));
	qsort(bound->keys, bound->nkeys, sizeof(char *), compare_keys);
}

List *
tide_bound_shapes_load(const TideDecodeOptions *options, bool missing_ok)
{
	int			nparams = options->params ? JB_ROOT_COUNT(options->params) : 0;

	/* the past may lie before CREATE EXTENSION */
	bool		no_extension = missing_ok && !OidIsValid(get_extension_oid("pg_tide", true));
	bool	   *used = palloc0(sizeof(bool) * (nparams + 1));
	List	   *shapes = NIL;
	ListCell   *cell;
	char	   *unused;

	foreach(cell, options->shapes)
	{
		TideBoundShape *bound = palloc0(sizeof(*bound));
		TideShape  *shape = NULL;

		bound->name = lfirst(cell);
		if (!no_extension)
			shape = tide_catalog_shape_by_name(bound->name);
		if (shape != NULL)
			bind_shape(bound, shape, options, used);
		else if (!missing_ok)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("shape \"%s\" does not exist", bound->name)));
		shapes = lappend(shapes, bound);
	}
	if (!missing_ok && nparams > 0 && (unused = unused_param(options->params, used)))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("no shape of the stream has a parameter \"%s\"", unused)));
	return shapes;
}

/* ---------- what a decoder may run ---------- */

/* built-in types, enums, and arrays of both */
static bool
type_is_allowed(Oid type)
{
	Oid			element;

	if (type < FirstNormalObjectId)
		return true;
	type = getBaseType(type);
	element = get_element_type(type);
	if (OidIsValid(element))
		type = getBaseType(element);
	return type < FirstNormalObjectId || type_is_enum(type);
}

static bool
function_is_refused(Oid function, void *context)
{
	return function >= FirstNormalObjectId ||
		func_volatile(function) != PROVOLATILE_IMMUTABLE;
}

/* true if the node itself is of an allowed kind */
static bool
node_is_allowed(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varattno > 0;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_RowCompareExpr:
		case T_Const:
		case T_FuncExpr:
		case T_BoolExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
		case T_CollateExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_SubscriptingRef:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_List:
			return true;
		default:
			return false;
	}
}

/* context is the shape's name; never returns true, raises an ERROR instead */
static bool
check_expression(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!node_is_allowed(node))
		report_not_streamable(context, "Its filter uses more than columns, constants, and immutable built-in functions and operators.");
	if (!IsA(node, List) && !IsA(node, CaseWhen))
	{
		if (!type_is_allowed(exprType(node)))
			report_not_streamable(context, "Its filter uses a type that is neither built in nor an enum.");
		if (check_functions_in_node(node, function_is_refused, NULL))
			report_not_streamable(context, "Its filter uses a function that is not built in or not immutable.");
		if (exprCollation(node) >= FirstNormalObjectId ||
			exprInputCollation(node) >= FirstNormalObjectId)
			report_not_streamable(context, "Its filter uses a collation that is not built in.");
	}
	return expression_tree_walker(node, check_expression, context);
}

/* every column the expression uses must be among those the WAL has old values of */
static void
check_columns(const char *shape, Node *expr, Relation relation,
			  const TideIdentity *identity)
{
	Bitmapset  *used = NULL;
	int			member = -1;
	char	   *table;

	pull_varattnos(expr, 1, &used);
	while ((member = bms_next_member(used, member)) >= 0)
	{
		AttrNumber	attnum = member + FirstLowInvalidHeapAttributeNumber;

		if (bms_is_member(attnum, identity->columns))
			continue;
		table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
										   RelationGetRelationName(relation));
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot stream shape \"%s\": the WAL lacks old values of column \"%s\" of table %s",
						shape, get_attname(RelationGetRelid(relation), attnum, false),
						table),
				 errdetail("Without them it cannot be told which rows leave the shape."),
				 errhint("Run ALTER TABLE %s REPLICA IDENTITY FULL, and stream what comes after it; or use tide.pull.",
						 table)));
	}
}

static ExprState *
prepare_expression(const TideBoundShape *bound, Node *expr, Relation relation,
				   const TideIdentity *identity)
{
	(void) check_expression(expr, bound->name);
	check_columns(bound->name, expr, relation, identity);
	return ExecInitExpr(expression_planner((Expr *) copyObject(expr)), NULL);
}

TideRowFilter *
tide_row_filter_create(const TideBoundShape *bound, Relation relation,
					   const TideIdentity *identity)
{
	TideRowFilter *filter = palloc0(sizeof(*filter));
	ListCell   *cell;

	if (identity->nkeys == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot stream shape \"%s\": table \"%s\" has no replica identity",
						bound->name, RelationGetRelationName(relation)),
				 errhint("Add a primary key, or set REPLICA IDENTITY FULL.")));

	filter->econtext = CreateStandaloneExprContext();
	if (bound->node->filter != NULL)
		filter->filter = prepare_expression(bound, bound->node->filter, relation, identity);
	filter->parts = palloc0(sizeof(FilterPart) * (list_length(bound->node->key_parts) + 1));
	foreach(cell, bound->node->key_parts)
	{
		TideKeyPart *part = lfirst(cell);
		FilterPart *prepared = &filter->parts[filter->nparts++];

		prepared->expr = prepare_expression(bound, part->expr, relation, identity);
		prepared->codec = tide_key_codec_create(CurrentMemoryContext, part->type);
	}
	filter->nkeys = bound->nkeys;
	filter->keys = bound->keys;
	return filter;
}

void
tide_bound_shapes_check(List *shapes)
{
	ListCell   *cell;

	foreach(cell, shapes)
	{
		TideBoundShape *bound = lfirst(cell);
		Relation	relation = table_open(bound->node->relid, AccessShareLock);
		TideIdentity identity;

		tide_identity_init(&identity, relation);
		(void) tide_row_filter_create(bound, relation, &identity);
		table_close(relation, AccessShareLock);
	}
}

/* ---------- deciding ---------- */

/* whether the row's key is one of those asked for */
static bool
key_is_held(TideRowFilter *filter)
{
	StringInfoData key;
	const char *text;

	if (filter->nkeys == 0)
		return false;
	if (filter->nparts == 0)
		return true;
	initStringInfo(&key);
	for (int i = 0; i < filter->nparts; i++)
	{
		FilterPart *part = &filter->parts[i];
		bool		isnull;
		Datum		value = ExecEvalExpr(part->expr, filter->econtext, &isnull);

		if (isnull)
			return false;
		text = tide_key_codec_text(part->codec, value);
		append_key_part(&key, text, (int) strlen(text));
	}
	return bsearch(&key.data, filter->keys, filter->nkeys, sizeof(char *),
				   compare_keys) != NULL;
}

static bool
row_is_held(TideRowFilter *filter, TupleTableSlot *slot)
{
	filter->econtext->ecxt_scantuple = slot;
	if (filter->filter != NULL)
	{
		bool		isnull;
		Datum		holds = ExecEvalExpr(filter->filter, filter->econtext, &isnull);

		if (isnull || !DatumGetBool(holds))
			return false;
	}
	return key_is_held(filter);
}

TideLineType
tide_row_filter_decide(TideRowFilter *filter, TideLineType change,
					   TupleTableSlot *old, TupleTableSlot *new)
{
	bool		was_held;
	bool		is_held;

	if (change == TIDE_LINE_INSERT)
		return row_is_held(filter, new) ? TIDE_LINE_INSERT : TIDE_LINE_NONE;
	if (change == TIDE_LINE_DELETE)
		return old && row_is_held(filter, old) ? TIDE_LINE_DELETE : TIDE_LINE_NONE;

	is_held = row_is_held(filter, new);
	was_held = old ? row_is_held(filter, old) : is_held;
	if (was_held)
		return is_held ? TIDE_LINE_UPDATE : TIDE_LINE_DELETE;
	return is_held ? TIDE_LINE_INSERT : TIDE_LINE_NONE;
}
