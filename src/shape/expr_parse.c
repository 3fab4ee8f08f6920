/*
 * expr_parse.c
 *	  From text to a typed expression over one table's row.
 *
 * PostgreSQL's grammar and analysis do all of it. Hooks of ParseState turn
 * params.x and claims.x into Params and give each occurrence the type its
 * surroundings ask for, the way EXECUTE's parameters get theirs.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape/expr.h"

char *
tide_expr_param_name(TideExpr *expr, Param *param)
{
	TideParamRef *ref = list_nth(expr->refs, param->paramid - 1);

	return psprintf("%s.%s", ref->is_claim ? "claims" : "params", ref->name);
}

/* params.x and claims.x to Param; anything else is left to the parser */
static Node *
param_columnref(ParseState *pstate, ColumnRef *cref)
{
	TideExpr   *expr = pstate->p_ref_hook_state;
	TideParamRef *ref;
	const char *first;
	Param	   *param;

	/* a lone "*" is for target lists: transformExpr() does not expect it */
	if (!IsA(linitial(cref->fields), String))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"where\" must be one boolean expression and nothing else"),
				 parser_errposition(pstate, cref->location)));
	if (list_length(cref->fields) < 2)
		return NULL;
	first = strVal(linitial(cref->fields));
	if (strcmp(first, "params") != 0 && strcmp(first, "claims") != 0)
		return NULL;
	/* three names may also be schema.table.column */
	if (list_length(cref->fields) > 2 &&
		IsA(lsecond(cref->fields), String) &&
		strcmp(strVal(lsecond(cref->fields)),
			   RelationGetRelationName(pstate->p_target_relation)) == 0)
		return NULL;
	if (list_length(cref->fields) != 2 || !IsA(lsecond(cref->fields), String))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"%s\" must be followed by one name", first),
				 errhint("Write %s.name.", first),
				 parser_errposition(pstate, cref->location)));

	ref = palloc0(sizeof(TideParamRef));
	ref->is_claim = strcmp(first, "claims") == 0;
	ref->name = pstrdup(strVal(lsecond(cref->fields)));
	expr->refs = lappend(expr->refs, ref);

	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = list_length(expr->refs);
	param->paramtype = UNKNOWNOID;
	param->paramtypmod = -1;
	param->paramcollid = InvalidOid;
	param->location = cref->location;
	return (Node *) param;
}

/* the first type an untyped Param is asked to become is its type */
static Node *
coerce_param(ParseState *pstate, Param *param, Oid type, int32 typmod,
			 int location)
{
	if (param->paramkind != PARAM_EXTERN || param->paramtype != UNKNOWNOID)
		return NULL;
	param->paramtype = type;
	param->paramtypmod = -1;	/* a length is then coerced to explicitly */
	param->paramcollid = get_typcollation(type);
	return (Node *) param;
}

/* whether a SELECT, as PL/pgSQL's grammar makes of an expression, is only that */
static bool
is_bare_expression(SelectStmt *select)
{
	ResTarget  *target;

	if (list_length(select->targetList) != 1 ||
		select->distinctClause != NIL || select->intoClause != NULL ||
		select->fromClause != NIL || select->whereClause != NULL ||
		select->groupClause != NIL || select->havingClause != NULL ||
		select->windowClause != NIL || select->valuesLists != NIL ||
		select->sortClause != NIL || select->limitOffset != NULL ||
		select->limitCount != NULL || select->lockingClause != NIL ||
		select->withClause != NULL || select->op != SETOP_NONE)
		return false;
	target = linitial_node(ResTarget, select->targetList);
	return target->name == NULL && target->indirection == NIL;
}

static bool
refuse_sublink_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("subqueries are not supported in \"where\" by this version of pg_tide"),
				 errhint("Pass what the subquery would look up as a parameter or a claim: column = ANY (claims.name)."),
				 parser_errposition(context, ((SubLink *) node)->location)));
	return raw_expression_tree_walker(node, refuse_sublink_walker, context);
}

static Node *
raw_expression(ParseState *pstate, const char *text)
{
	List	   *statements = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select;
	Node	   *raw;

	select = (SelectStmt *) linitial_node(RawStmt, statements)->stmt;
	if (!IsA(select, SelectStmt) || !is_bare_expression(select))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"where\" must be one boolean expression and nothing else")));
	raw = linitial_node(ResTarget, select->targetList)->val;
	(void) refuse_sublink_walker(raw, pstate);
	return raw;
}

TideExpr *
tide_expr_parse(Relation rel, const char *text)
{
	TideExpr   *expr = palloc0(sizeof(TideExpr));
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	Node	   *raw;

	expr->pstate = pstate;
	pstate->p_sourcetext = text;
	pstate->p_target_relation = rel;
	pstate->p_ref_hook_state = expr;
	pstate->p_pre_columnref_hook = param_columnref;
	pstate->p_coerce_param_hook = coerce_param;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL,
										 false, true);
	addNSItemToQuery(pstate, item, false, true, true);

	raw = raw_expression(pstate, text);
	expr->tree = transformExpr(pstate, raw, EXPR_KIND_WHERE);
	expr->tree = coerce_to_boolean(pstate, expr->tree, "\"where\"");
	assign_expr_collations(pstate, expr->tree);
	return expr;
}
