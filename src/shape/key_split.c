/*
 * key_split.c
 *	  Takes a typed "where" apart into row filter and bucket key.
 *
 *	  a conjunct				becomes
 *	  ----------------------	----------------------------------------------
 *	  without parameter			part of the filter
 *	  expr = p, p = expr		key part expr, args {p}
 *	  expr IN (p, q, 'const')	key part expr, args {p, q, 'const'}
 *	  expr = ANY (p)			key part expr, args {elements of p}
 *	  p, NOT p					key part true or false, args {p}
 *	  anything else with p		ERROR
 *
 * "=" is the default equality of the type, and both sides are of that type: only
 * then is "the row's text equals the request's text" what the condition says.
 * A constant on the row's side (claims.role = 'admin') makes a key part like any other.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "shape/bucket_key.h"
#include "shape/key_split.h"

#define KEY_HINT \
	"Write such a condition as expression = parameter, expression IN (parameters) or expression = ANY (parameter), joined to the others by AND."

static bool
find_param_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
	{
		*(Param **) context = (Param *) node;
		return true;
	}
	return expression_tree_walker(node, find_param_walker, context);
}

/* the first Param in a tree, or NULL */
static Param *
first_param(Node *node)
{
	Param	   *param = NULL;

	(void) find_param_walker(node, &param);
	return param;
}

static void
refuse_param(TideExpr *expr, Node *node, const char *reason, const char *hint)
{
	Param	   *param = first_param(node);

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

/* a key part for the row's side of a condition, without args yet */
static TideKeyPart *
key_part_of(TideExpr *expr, Node *row_side, Node *condition, Oid collation)
{
	TideKeyPart *part = palloc0(sizeof(TideKeyPart));
	Oid			type = exprType(row_side);

	if (first_param(row_side) != NULL)
		refuse_param(expr, row_side,
					 "Both sides of the comparison depend on parameters; nothing of the row is compared.",
					 KEY_HINT);
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
	part->type = type;
	part->typmod = exprTypmod(part->expr);
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
	part = key_part_of(expr, row_side, (Node *) op, op->inputcollid);
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
	if (first_param(element) != NULL)
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
	if (first_param(array) == NULL && !contain_var_clause(array))
		refuse_param(expr, row_side,
					 "It is compared with several constants.",
					 "Compare it with one constant by =, and make one shape for each.");
	if (first_param(array) == NULL)
		refuse_param(expr, row_side,
					 "It is looked for in an array of the row, so that one row would have many keys.",
					 "Keep the array's elements as rows of a table of their own.");
	check_equality(expr, (Node *) op, op->opno, exprType(row_side));
	part = key_part_of(expr, row_side, (Node *) op, op->inputcollid);
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

static TideKeyPart *
key_part_of_conjunct(TideExpr *expr, Node *conjunct)
{
	if (IsA(conjunct, Param))
		return key_part_of_flag(expr, (Param *) conjunct, true);
	if (is_notclause(conjunct) && IsA(get_notclausearg(conjunct), Param))
		return key_part_of_flag(expr, (Param *) get_notclausearg(conjunct),
								false);
	if (IsA(conjunct, OpExpr) && list_length(((OpExpr *) conjunct)->args) == 2)
		return key_part_of_op(expr, (OpExpr *) conjunct);
	if (IsA(conjunct, ScalarArrayOpExpr))
		return key_part_of_array_op(expr, (ScalarArrayOpExpr *) conjunct);

	refuse_param(expr, conjunct,
				 is_orclause(conjunct) ? "The parameter is in one branch of an OR." :
				 is_notclause(conjunct) ? "The condition is negated." :
				 "The parameter is not compared by equality.",
				 is_orclause(conjunct) ?
				 "Make one shape of each branch; a client can pull several." :
				 KEY_HINT);
	return NULL;				/* keep compiler quiet */
}

/* the conjuncts of nested ANDs, in the order of the text */
static List *
flatten_and(Node *node, List *conjuncts)
{
	ListCell   *lc;

	check_stack_depth();
	if (!is_andclause(node))
		return lappend(conjuncts, node);
	foreach(lc, ((BoolExpr *) node)->args)
		conjuncts = flatten_and(lfirst(lc), conjuncts);
	return conjuncts;
}

void
tide_key_split(TideExpr *expr, Node **filter, List **key_parts)
{
	List	   *conjuncts = flatten_and(expr->tree, NIL);
	List	   *row_conditions = NIL;
	ListCell   *lc;

	*key_parts = NIL;
	foreach(lc, conjuncts)
	{
		Node	   *conjunct = lfirst(lc);

		if (first_param(conjunct) == NULL)
			row_conditions = lappend(row_conditions, conjunct);
		else
			*key_parts = lappend(*key_parts,
								 key_part_of_conjunct(expr, conjunct));
	}

	*filter = NULL;
	if (row_conditions != NIL)
		*filter = (Node *) expression_planner((Expr *) copyObject(make_ands_explicit(row_conditions)));
	/* a condition that is always true is none */
	if (*filter != NULL && IsA(*filter, Const) &&
		!((Const *) *filter)->constisnull &&
		DatumGetBool(((Const *) *filter)->constvalue))
		*filter = NULL;
}
