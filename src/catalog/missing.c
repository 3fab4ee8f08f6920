/*
 * missing.c
 *	  What compiled shapes speak of that has been dropped since.
 *
 * Nothing of PostgreSQL's depends on a shape, and a type or function that is gone is an internal error to
 * whoever looks it up.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "catalog/missing.h"
#include "util/errors.h"

static bool missing_walker(Node *node, const char **what);

bool
tide_type_exists(Oid type)
{
	return SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type));
}

void
tide_type_require(Oid type)
{
	if (!tide_type_exists(type))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_NOT_RUNNING),
				 errmsg("a type that the shape uses was dropped"),
				 errdetail("The type had OID %u.", type),
				 errhint("Ask again when the ingest has taken that in.")));
}

static bool
is_missing_function(Oid function, void *context)
{
	return !SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(function));
}

/* the type of a node that has one of its own; else InvalidOid */
static Oid
type_of(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_Param:
		case T_FuncExpr:
		case T_OpExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_CoerceToDomain:
		case T_ArrayCoerceExpr:
		case T_ConvertRowtypeExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_FieldSelect:
			return exprType(node);
		default:
			return InvalidOid;
	}
}

static bool
query_walker(Query *query, const char **what)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && get_rel_name(rte->relid) == NULL)
		{
			*what = "a table of it was dropped";
			return true;
		}
	}
	return query_tree_walker(query, missing_walker, what, 0);
}

static bool
missing_walker(Node *node, const char **what)
{
	Oid			type;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_walker((Query *) node, what);

	/*
	 * what a node is made of first: its functions may be found by the types
	 * of that
	 */
	if (expression_tree_walker(node, missing_walker, what))
		return true;
	type = type_of(node);
	if ((OidIsValid(type) && !tide_type_exists(type)) ||
		check_functions_in_node(node, is_missing_function, NULL))
	{
		*what = "a type or function of it was dropped";
		return true;
	}
	return false;
}

const char *
tide_missing_text(Node *node)
{
	const char *what = NULL;

	return missing_walker(node, &what) ? what : NULL;
}

const char *
tide_node_missing_text(const TideShapeNode *node)
{
	List	   *exprs = list_make3(node->join_on, node->filter, node->subfilter);
	ListCell   *lc;

	foreach(lc, node->key_parts)
	{
		exprs = lappend(exprs, ((TideKeyPart *) lfirst(lc))->expr);
	}
	foreach(lc, node->order_by)
	{
		exprs = lappend(exprs, ((TideSortKey *) lfirst(lc))->expr);
	}
	return tide_missing_text((Node *) exprs);
}
