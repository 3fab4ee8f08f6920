/*
 * key_part.c
 *	  Conditions on params and claims to bucket key parts.
 *
 *	  a conjunct				becomes
 *	  ----------------------	----------------------------------------------
 *	  expr = p, p = expr		key part expr, args {p}
 *	  expr IN (p, q, 'const')	key part expr, args {p, q, 'const'}
 *	  expr = ANY (p)			key part expr, args {elements of p}
 *	  p = ANY (expr)			key part elements of expr, args {p}
 *	  expr && p					key part elements of expr, args {elements of p}
 *	  expr @> ARRAY[p, q]		the same for each of p and q
 *	  p, NOT p					key part true or false, args {p}
 *	  anything else with p		ERROR
 *
 * "=" is the default equality of the type, and both sides are of that type: only
 * then is "the row's text equals the request's text" what the condition says.
 * A constant on the row's side (claims.role = 'admin') makes a key part like any other.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "shape/bucket_key.h"
#include "shape/key_split.h"
#include "shape/time_window.h"
#include "util/compat.h"

#define KEY_HINT \
	"Write such a condition as expression = parameter, expression IN (parameters) or expression = ANY (parameter), joined to the others by AND."
#define ARRAY_HINT \
	"Write parameter = ANY (array), array && parameter or array @> ARRAY[parameter]."

TIDE_NORETURN static void refuse_param(TideExpr *expr, Node *node, const char *reason,
									   const char *hint);

static void
refuse_param(TideExpr *expr, Node *node, const char *reason, const char *hint)
{
	Param	   *param = tide_expr_first_param(node);

	/* the row's side of a subquery's equality has none */
	if (param == NULL)
		param = tide_expr_first_param(expr->tree);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("no bucket key can be made of the condition on %s",
					tide_expr_param_name(expr, param)),
			 errdetail("%s", reason),
			 errhint("%s", hint),
			 parser_errposition(expr->pstate, param->location)));
}

/*
 * The Param a value consists of, or NULL. A varchar seen as text is the same value, so
 * such a relabelling, of the value or of an array's elements, does not count.
 */
static Param *
bare_param(Node *node)
{
	for (;;)
	{
		if (IsA(node, Param))
			return (Param *) node;
		if (IsA(node, RelabelType) &&
			((RelabelType *) node)->resulttype == TEXTOID &&
			exprType((Node *) ((RelabelType *) node)->arg) == VARCHAROID)
			node = (Node *) ((RelabelType *) node)->arg;
		else if (IsA(node, ArrayCoerceExpr) &&
				 ((ArrayCoerceExpr *) node)->resulttype == TEXTARRAYOID &&
				 exprType((Node *) ((ArrayCoerceExpr *) node)->arg) == VARCHARARRAYOID)
			node = (Node *) ((ArrayCoerceExpr *) node)->arg;
		else
			return NULL;
	}
}

static TideKeyArg *
arg_of_param(TideExpr *expr, Param *param, bool is_array)
{
	TideParamRef *ref = list_nth(expr->refs, param->paramid - 1);
	TideKeyArg *arg = palloc0(sizeof(TideKeyArg));

	arg->is_claim = ref->is_claim;
	arg->is_array = is_array;
	arg->name = pstrdup(ref->name);
	return arg;
}

/* what no part can be made of on the row's side */
static void
check_row_side(TideExpr *expr, Node *row_side)
{
	Node	   *now = tide_first_now(row_side);

	if (tide_expr_first_param(row_side) != NULL)
		refuse_param(expr, row_side,
					 "Both sides of the comparison depend on parameters; nothing of the row is compared.",
					 KEY_HINT);
	if (checkExprHasSubLink(row_side))
		refuse_param(expr, row_side,
					 "The row's side of the comparison has a subquery.", KEY_HINT);
	if (now != NULL)
		refuse_param(expr, row_side,
					 "The row's side of the comparison depends on the current time.",
					 "Join the condition on now() to the others by AND.");
}

/*
 * A key part for the row's side of a condition, without args yet. is_set: the row's side is an array,
 * compared by its elements.
 */
static TideKeyPart *
key_part_of(TideExpr *expr, Node *row_side, bool is_set, Node *condition, Oid collation)
{
	TideKeyPart *part = palloc0(sizeof(TideKeyPart));
	Oid			type = getBaseType(exprType(row_side));

	/* requests' values are not put to a domain's constraints */
	if (is_set)
		type = getBaseType(get_element_type(type));
	check_row_side(expr, row_side);
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		refuse_param(expr, condition,
					 "Under its collation equal texts can have different bytes.",
					 "Compare under a deterministic collation, such as COLLATE \"C\".");
	if (!tide_bucket_key_type_ok(type, collation))
		refuse_param(expr, condition,
					 psprintf("Equal values of type %s can have different texts.",
							  format_type_be(type)),
					 "Compare texts, or values of another type, made of it.");
	part->expr = (Node *) expression_planner((Expr *) copyObject(row_side));
	part->is_set = is_set;
	part->type = type;
	part->typmod = is_set ? -1 : exprTypmod(part->expr);
	part->collation = exprCollation(part->expr);
	return part;
}

/* refuse all but the default equality of one type */
static void
check_equality(TideExpr *expr, Node *condition, Oid operator, Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR);
	Oid			left;
	Oid			right;

	if (entry->eq_opr == operator)
		return;
	op_input_types(operator, &left, &right);
	if (left != right)
		refuse_param(expr, condition,
					 psprintf("It compares %s with %s.", format_type_be(left),
							  format_type_be(right)),
					 "Leave out the parameter's cast, or cast both sides to the same type.");
	refuse_param(expr, condition,
				 "Only equality, by the default operator of the type, makes a bucket key.",
				 KEY_HINT);
}

/* expr = param, param = expr */
static TideKeyPart *
key_part_of_op(TideExpr *expr, OpExpr *op)
{
	Node	   *left = linitial(op->args);
	Node	   *right = lsecond(op->args);
	Node	   *row_side;
	Param	   *param;
	TideKeyPart *part;

	param = bare_param(right);
	row_side = left;
	if (param == NULL)
	{
		param = bare_param(left);
		row_side = right;
	}
	if (param == NULL)
		refuse_param(expr, (Node *) op,
					 "The parameter is only part of what is compared.", KEY_HINT);
	check_equality(expr, (Node *) op, op->opno, exprType(row_side));
	part = key_part_of(expr, row_side, false, (Node *) op, op->inputcollid);
	part->args = list_make1(arg_of_param(expr, param, false));
	return part;
}

/* one element of IN (...): a parameter, or a constant; NULL for a null constant */
static TideKeyArg *
arg_of_element(TideExpr *expr, Node *element, Oid type)
{
	Param	   *param = bare_param(element);
	TideKeyArg *arg;
	Node	   *value;

	if (param != NULL)
		return arg_of_param(expr, param, false);
	if (tide_expr_first_param(element) != NULL)
		refuse_param(expr, element,
					 "The parameter is only part of what is compared.", KEY_HINT);

	value = (Node *) expression_planner((Expr *) copyObject(element));
	if (!IsA(value, Const))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("columns cannot stand beside parameters in a list"),
				 errhint("%s", KEY_HINT),
				 parser_errposition(expr->pstate, exprLocation(element))));
	if (((Const *) value)->constisnull)
		return NULL;
	arg = palloc0(sizeof(TideKeyArg));
	arg->constant = tide_key_codec_text(tide_key_codec_create(CurrentMemoryContext, type),
										((Const *) value)->constvalue);
	return arg;
}

/* param = ANY (expr) */
static TideKeyPart *
key_part_of_element(TideExpr *expr, ScalarArrayOpExpr *op)
{
	Node	   *array = lsecond(op->args);
	Param	   *param = bare_param(linitial(op->args));
	TideKeyPart *part;

	if (param == NULL)
		refuse_param(expr, (Node *) op,
					 "The parameter is only part of what is compared.", KEY_HINT);
	check_equality(expr, (Node *) op, op->opno,
				   get_element_type(getBaseType(exprType(array))));
	part = key_part_of(expr, array, true, (Node *) op, op->inputcollid);
	part->args = list_make1(arg_of_param(expr, param, false));
	return part;
}

/* expr && param, param && expr */
static List *
key_parts_of_overlap(TideExpr *expr, OpExpr *op)
{
	Node	   *row_side = linitial(op->args);
	Param	   *param = bare_param(lsecond(op->args));
	TideKeyPart *part;

	if (param == NULL)
	{
		row_side = lsecond(op->args);
		param = bare_param(linitial(op->args));
	}
	if (param == NULL)
		refuse_param(expr, (Node *) op,
					 "The parameter is only part of what is compared.", ARRAY_HINT);
	part = key_part_of(expr, row_side, true, (Node *) op, op->inputcollid);
	part->args = list_make1(arg_of_param(expr, param, true));
	return list_make1(part);
}

/* row_side @> ARRAY[params]: each of them is an element of it */
static List *
key_parts_of_containment(TideExpr *expr, OpExpr *op, Node *row_side, Node *array)
{
	List	   *parts = NIL;
	ListCell   *lc;

	if (IsA(array, RelabelType))
		array = (Node *) ((RelabelType *) array)->arg;
	if (!IsA(array, ArrayExpr) || ((ArrayExpr *) array)->multidims)
		refuse_param(expr, (Node *) op,
					 "Which of its elements an array contains all of cannot be told from one key.",
					 ARRAY_HINT);
	foreach(lc, ((ArrayExpr *) array)->elements)
	{
		Param	   *param = bare_param(lfirst(lc));
		TideKeyPart *part;

		if (param == NULL)
			refuse_param(expr, array, "The parameter is only part of the array.", ARRAY_HINT);
		part = key_part_of(expr, row_side, true, (Node *) op, op->inputcollid);
		part->args = list_make1(arg_of_param(expr, param, false));
		parts = lappend(parts, part);
	}
	return parts;
}

/* expr IN (...), expr = ANY (ARRAY[...]), expr = ANY (param) */
static TideKeyPart *
key_part_of_array_op(TideExpr *expr, ScalarArrayOpExpr *op)
{
	Node	   *row_side = linitial(op->args);
	Node	   *array = lsecond(op->args);
	Param	   *param = bare_param(array);
	TideKeyPart *part;
	ListCell   *lc;

	if (!op->useOr)
		refuse_param(expr, (Node *) op,
					 "It is about all or none of the values.", KEY_HINT);
	if (tide_expr_first_param(array) == NULL)
		return key_part_of_element(expr, op);
	check_equality(expr, (Node *) op, op->opno, exprType(row_side));
	part = key_part_of(expr, row_side, false, (Node *) op, op->inputcollid);
	if (param != NULL)
	{
		part->args = list_make1(arg_of_param(expr, param, true));
		return part;
	}

	if (IsA(array, ArrayCoerceExpr) &&
		((ArrayCoerceExpr *) array)->resulttype == TEXTARRAYOID)
		array = (Node *) ((ArrayCoerceExpr *) array)->arg;
	if (!IsA(array, ArrayExpr) || ((ArrayExpr *) array)->multidims)
		refuse_param(expr, array,
					 "The parameter is only part of the array.", KEY_HINT);
	foreach(lc, ((ArrayExpr *) array)->elements)
	{
		TideKeyArg *arg = arg_of_element(expr, lfirst(lc), part->type);

		if (arg != NULL)
			part->args = lappend(part->args, arg);
	}
	return part;
}

/* p or NOT p: the row's side is a constant */
static TideKeyPart *
key_part_of_flag(TideExpr *expr, Param *param, bool wanted)
{
	TideKeyPart *part = palloc0(sizeof(TideKeyPart));

	part->expr = makeBoolConst(wanted, false);
	part->type = BOOLOID;
	part->typmod = -1;
	part->args = list_make1(arg_of_param(expr, param, false));
	return part;
}

List *
tide_key_parts_of_conjunct(TideExpr *expr, Node *conjunct)
{
	if (IsA(conjunct, Param))
		return list_make1(key_part_of_flag(expr, (Param *) conjunct, true));
	if (is_notclause(conjunct) && IsA(get_notclausearg(conjunct), Param))
		return list_make1(key_part_of_flag(expr, (Param *) get_notclausearg(conjunct),
										   false));
	if (IsA(conjunct, OpExpr) && list_length(((OpExpr *) conjunct)->args) == 2)
	{
		OpExpr	   *op = (OpExpr *) conjunct;

		switch (op->opfuncid)
		{
			case F_ARRAYOVERLAP:
				return key_parts_of_overlap(expr, op);
			case F_ARRAYCONTAINS:
				return key_parts_of_containment(expr, op, linitial(op->args), lsecond(op->args));
			case F_ARRAYCONTAINED:
				return key_parts_of_containment(expr, op, lsecond(op->args), linitial(op->args));
			default:
				return list_make1(key_part_of_op(expr, op));
		}
	}
	if (IsA(conjunct, ScalarArrayOpExpr))
		return list_make1(key_part_of_array_op(expr, (ScalarArrayOpExpr *) conjunct));

	refuse_param(expr, conjunct,
				 is_notclause(conjunct) ? "The condition is negated." :
				 "The parameter is not compared by equality.",
				 KEY_HINT);
	return NIL;					/* keep compiler quiet */
}

TideKeyPart *
tide_key_part_of(TideExpr *expr, Node *row_side, bool is_set, Node *condition)
{
	Oid			type = exprType(row_side);
	Oid			collation = exprInputCollation(condition);
	Oid			operator = is_set ? ((ScalarArrayOpExpr *) condition)->opno :
	((OpExpr *) condition)->opno;

	check_equality(expr, condition, operator,
				   is_set ? get_element_type(getBaseType(type)) : type);
	return key_part_of(expr, row_side, is_set, condition, collation);
}

/* whether the values an expression is compared with are parameters and constants */
static bool
is_list_of_values(Node *array)
{
	ListCell   *lc;

	if (bare_param(array) != NULL)
		return true;
	if (!IsA(array, ArrayExpr) || ((ArrayExpr *) array)->multidims)
		return false;
	foreach(lc, ((ArrayExpr *) array)->elements)
	{
		if (bare_param(lfirst(lc)) == NULL && tide_expr_has_params(lfirst(lc)))
			return false;
	}
	return tide_expr_has_params(array);
}

bool
tide_is_constant_key(Node *conjunct)
{
	ScalarArrayOpExpr *array_op = (ScalarArrayOpExpr *) conjunct;
	OpExpr	   *op = (OpExpr *) conjunct;
	Node	   *constant;

	if (is_notclause(conjunct))
		return IsA(get_notclausearg(conjunct), Param);
	if (IsA(conjunct, OpExpr) && list_length(op->args) == 2)
	{
		constant = bare_param(lsecond(op->args)) ? linitial(op->args) : lsecond(op->args);
		return (bare_param(linitial(op->args)) || bare_param(lsecond(op->args))) &&
			!tide_expr_has_params(constant) && !checkExprHasSubLink(constant) &&
			tide_first_now(constant) == NULL &&
			lookup_type_cache(exprType(constant), TYPECACHE_EQ_OPR)->eq_opr == op->opno &&
			tide_bucket_key_type_ok(exprType(constant), op->inputcollid);
	}
	if (IsA(conjunct, ScalarArrayOpExpr) && array_op->useOr)
	{
		constant = linitial(array_op->args);
		return !tide_expr_has_params(constant) && !checkExprHasSubLink(constant) &&
			is_list_of_values(lsecond(array_op->args)) &&
			lookup_type_cache(exprType(constant), TYPECACHE_EQ_OPR)->eq_opr == array_op->opno &&
			tide_bucket_key_type_ok(exprType(constant), array_op->inputcollid);
	}
	return IsA(conjunct, Param);
}
