/*
 * plan_share.c
 *	  Shapes that differ only in constants compared for equality: what of their nodes is the same.
 *
 * The ingest evaluates what is the same once for each row and finds the nodes by the values
 * that are compared with their constants (ingest/plan_group.c). A comparison qualifies
 * if it is the equality of a type whose equal values have equal images, or can be given such:
 * the types a bucket key may have, and integers of any width among each other.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/stratnum.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"

#include "catalog/missing.h"
#include "catalog/shape_catalog.h"
#include "shape/bucket_key.h"
#include "shape/plan_share.h"
#include "util/spi.h"

/* longer IN lists are not taken apart, nor several with more combinations of constants */
#define MAX_COMBINATIONS	100

struct TidePlanImager
{
	Oid			type;
	int16		typlen;
	bool		typbyval;
	TideKeyCodec *codec;		/* of types whose equal values differ in their
								 * bytes, else NULL */
};

static SPIPlanPtr sharers_plan = NULL;

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

TidePlanImager *
tide_plan_imager(MemoryContext context, Oid type)
{
	TidePlanImager *imager = MemoryContextAllocZero(context, sizeof(TidePlanImager));

	imager->type = getBaseType(type);
	get_typlenbyval(imager->type, &imager->typlen, &imager->typbyval);
	if (imager->type == NUMERICOID || imager->type == FLOAT4OID ||
		imager->type == FLOAT8OID || imager->type == BPCHAROID)
		imager->codec = tide_key_codec_create(context, imager->type);
	return imager;
}

/* one as a length and so many bytes, so that several can follow each other */
static void
append_bytes(StringInfo out, const char *bytes, int length)
{
	appendBinaryStringInfo(out, (const char *) &length, sizeof(length));
	appendBinaryStringInfo(out, bytes, length);
}

void
tide_plan_image(StringInfo out, TidePlanImager *imager, Datum value)
{
	if (imager->codec != NULL)
	{
		char	   *text = tide_key_codec_text(imager->codec, value);

		append_bytes(out, text, strlen(text));
	}
	else if (imager->typbyval)
	{
		/* integers of all widths alike, and no bits that are not the value's */
		int64		number = imager->typlen == 1 ? (int8) DatumGetChar(value) :
		imager->typlen == 2 ? DatumGetInt16(value) :
		imager->typlen == 4 ? DatumGetInt32(value) : DatumGetInt64(value);

		append_bytes(out, (const char *) &number, sizeof(number));
	}
	else if (imager->typlen == -1)
	{
		struct varlena *flat = PG_DETOAST_DATUM_PACKED(value);

		append_bytes(out, VARDATA_ANY(flat), VARSIZE_ANY_EXHDR(flat));
	}
	else if (imager->typlen > 0)
		append_bytes(out, DatumGetPointer(value), imager->typlen);
	else
		append_bytes(out, DatumGetCString(value), strlen(DatumGetCString(value)));
}

static bool
has_param(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return true;
	return expression_tree_walker(node, has_param, context);
}

/* whether images can stand for the values in "left op right" */
static bool
is_image_equality(Oid opno, Oid collation, Oid left, Oid right)
{
	left = getBaseType(left);
	right = getBaseType(right);
	if (is_integer(left) && is_integer(right))
		return get_op_opfamily_strategy(opno, INTEGER_BTREE_FAM_OID) == BTEqualStrategyNumber;
	return left == right && tide_bucket_key_type_ok(left, collation) &&
		lookup_type_cache(left, TYPECACHE_EQ_OPR)->eq_opr == opno;
}

static void
add_image(TidePlanStep *step, TidePlanImager *imager, Datum value)
{
	StringInfoData image;
	bytea	   *packed;
	ListCell   *lc;

	initStringInfo(&image);
	tide_plan_image(&image, imager, value);
	foreach(lc, step->images)
	{
		bytea	   *other = lfirst(lc);

		if (VARSIZE(other) == VARHDRSZ + image.len &&
			memcmp(VARDATA(other), image.data, image.len) == 0)
			return;
	}
	packed = palloc(VARHDRSZ + image.len);
	SET_VARSIZE(packed, VARHDRSZ + image.len);
	memcpy(VARDATA(packed), image.data, image.len);
	step->images = lappend(step->images, packed);
	pfree(image.data);
}

/* make it dispatch by expr = each of the array's elements; false if there are too many */
static bool
take_array(TidePlanStep *step, Const *array)
{
	ArrayType  *value = DatumGetArrayTypeP(array->constvalue);
	Oid			type = ARR_ELEMTYPE(value);
	TidePlanImager *imager = tide_plan_imager(CurrentMemoryContext, type);
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	int16		typlen;
	bool		typbyval;
	char		typalign;

	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	deconstruct_array(value, type, typlen, typbyval, typalign, &elems, &nulls, &n);
	if (n > MAX_COMBINATIONS)
		return false;
	for (int i = 0; i < n; i++)
		if (!nulls[i])			/* "= null" is never true */
			add_image(step, imager, elems[i]);
	return true;
}

static bool
is_constant(Node *node)
{
	return IsA(node, Const) && !((Const *) node)->constisnull;
}

/* whether the conjunct compares something for equality with constants; then step is set to that */
static bool
take_equality(Node *conjunct, TidePlanStep *step)
{
	List	   *args;
	Const	   *constant;
	Oid			right;
	Oid			opno;
	Oid			collation;
	bool		is_list = IsA(conjunct, ScalarArrayOpExpr);

	/* reading shapes must not fail: who evaluates it says so */
	if (tide_missing_text(conjunct) != NULL)
		return false;
	if (IsA(conjunct, OpExpr))
	{
		args = ((OpExpr *) conjunct)->args;
		opno = ((OpExpr *) conjunct)->opno;
		collation = ((OpExpr *) conjunct)->inputcollid;
	}
	else if (is_list && ((ScalarArrayOpExpr *) conjunct)->useOr)
	{
		args = ((ScalarArrayOpExpr *) conjunct)->args;
		opno = ((ScalarArrayOpExpr *) conjunct)->opno;
		collation = ((ScalarArrayOpExpr *) conjunct)->inputcollid;
	}
	else
		return false;
	if (list_length(args) != 2)
		return false;
	step->expr = linitial(args);
	if (!is_list && is_constant(step->expr))
		args = list_make2(lsecond(args), linitial(args));
	step->expr = linitial(args);
	if (!is_constant(lsecond(args)) || has_param(step->expr, NULL) ||
		contain_mutable_functions(step->expr) || !contain_var_clause(step->expr))
		return false;
	constant = lsecond_node(Const, args);
	right = is_list ? get_element_type(constant->consttype) : constant->consttype;
	if (!OidIsValid(right) || !is_image_equality(opno, collation, exprType(step->expr), right))
		return false;
	if (is_list)
		return take_array(step, constant);
	add_image(step, tide_plan_imager(CurrentMemoryContext, right), constant->constvalue);
	return true;
}

/* the Var of a step that only compares a column, or NULL */
static Var *
column_of(const TidePlanStep *step)
{
	Node	   *expr = step->expr;

	while (step->is_dispatch && IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	return step->is_dispatch && IsA(expr, Var) ? (Var *) expr : NULL;
}

static int
compare_columns(const ListCell *a, const ListCell *b)
{
	return (int) column_of(lfirst(a))->varattno - (int) column_of(lfirst(b))->varattno;
}

/* nodeToString, but the same wherever in a text the expression stood */
static void
append_node(StringInfo out, const void *node)
{
	const char *p = nodeToString(node);
	const char *location = strstr(p, " :location ");

	for (; location != NULL; location = strstr(p, " :location "))
	{
		appendBinaryStringInfo(out, p, location - p);
		p = location + strlen(" :location ");
		p += strspn(p, "-0123456789");
	}
	appendStringInfoString(out, p);
}

static char *
template_text(const TidePlanTemplate *template, const TideShapeNode *node)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, template->steps)
	{
		TidePlanStep *step = lfirst(lc);

		appendStringInfoString(&text, step->is_dispatch ? "=" : "?");
		append_node(&text, step->expr);
	}
	foreach(lc, node->key_parts)
	{
		appendStringInfoChar(&text, '#');
		append_node(&text, ((TideKeyPart *) lfirst(lc))->expr);
	}
	return text.data;
}

TidePlanTemplate *
tide_plan_template(const TideShapeNode *node)
{
	TidePlanTemplate *template = palloc0(sizeof(TidePlanTemplate));
	List	   *columns = NIL;
	List	   *others = NIL;
	int64		combinations = 1;
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) node->filter))
	{
		TidePlanStep *step = palloc0(sizeof(TidePlanStep));

		step->is_dispatch = take_equality(lfirst(lc), step) &&
			combinations * list_length(step->images) <= MAX_COMBINATIONS;
		if (step->is_dispatch)
		{
			combinations *= Max(list_length(step->images), 1);
			template->ndispatch++;
		}
		else
			step->expr = lfirst(lc);
		if (column_of(step) != NULL)
			columns = lappend(columns, step);
		else
			others = lappend(others, step);
	}
	list_sort(columns, compare_columns);
	template->steps = list_concat(columns, others);
	template->text = template_text(template, node);
	return template;
}

/* ---- explain ---- */

/* how many nodes of live shapes of this owner have the template */
static int
count_sharers(const TideShape *shape, const TideShapeNode *node, const char *text)
{
	Oid			types[] = {INT4OID, OIDOID};
	Datum		values[] = {Int32GetDatum(node->source_id), ObjectIdGetDatum(shape->owner)};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "tide plan sharers",
												  ALLOCSET_DEFAULT_SIZES);
	TideSpiFrame frame;
	int			n = 0;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&sharers_plan,
				 "SELECT DISTINCT shape_id FROM tide_internal.shape_nodes n"
				 " JOIN tide_internal.shapes s USING (shape_id)"
				 " WHERE n.source_id = $1 AND s.owner = $2 AND s.state IN ('building', 'live')",
				 lengthof(types), types, values, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			shape_id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
														   SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext old = MemoryContextSwitchTo(context);
		TideShape  *other = tide_catalog_shape_by_id(shape_id);
		ListCell   *lc;
		bool		shares = false;

		foreach(lc, other ? other->nodes : NIL)
		{
			TideShapeNode *of = lfirst(lc);

			shares |= of->source_id == node->source_id && tide_node_is_direct(of) &&
				strcmp(tide_plan_template(of)->text, text) == 0;
		}
		n += shares;
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	tide_spi_end(&frame);
	MemoryContextDelete(context);
	return n;
}

static void
explain_node(StringInfo out, const TideShape *shape, const TideShapeNode *node)
{
	TidePlanTemplate *template = tide_plan_template(node);
	int			n = count_sharers(shape, node, template->text);
	char	   *table = get_rel_name(node->relid);
	const char *separator = "";
	List	   *context;
	ListCell   *lc;

	if (table == NULL || (n < 2 && template->ndispatch == 0))
		return;
	if (n > 1)
		appendStringInfo(out, "\n  plan: shared by %d shapes", n);
	else
		appendStringInfoString(out, "\n  plan: its own");
	if (template->ndispatch == 0)
		return;
	appendStringInfoString(out, n > 1 ? " that differ in constants of (" :
						   ", to be shared by shapes that differ in constants of (");
	context = deparse_context_for(table, node->relid);
	foreach(lc, template->steps)
	{
		TidePlanStep *step = lfirst(lc);

		if (!step->is_dispatch)
			continue;
		appendStringInfo(out, "%s%s", separator,
						 deparse_expression(step->expr, context, false, false));
		separator = ", ";
	}
	appendStringInfoChar(out, ')');
}

void
tide_plan_explain(StringInfo out, const TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		const TideShapeNode *node = lfirst(lc);

		if (tide_node_is_direct(node))
			explain_node(out, shape, node);
	}
}
