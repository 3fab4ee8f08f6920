/*
 * columns.c
 *	  Which columns of which tables a shape's expressions use.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"

#include "shape/columns.h"

typedef struct Walk
{
	List	   *relids;			/* by varno of the expression's own level */
	List	   *queries;		/* of Query around, innermost first */
	TideColumnCallback callback;
	void	   *arg;
} Walk;

static void
walk_var(Walk *walk, const Var *var)
{
	int			depth = list_length(walk->queries) - (int) var->varlevelsup;
	const Query *query;
	const RangeTblEntry *rte;

	if (depth == 0)
	{
		Assert(walk->relids != NIL);
		walk->callback(walk->arg, list_nth_oid(walk->relids, var->varno - 1), var->varattno,
					   var->varno == list_length(walk->relids) ? TIDE_COLUMN_OF_ROW :
					   TIDE_COLUMN_OF_PARENT);
		return;
	}
	Assert(walk->queries != NIL);
	query = list_nth_node(Query, walk->queries, var->varlevelsup);
	rte = rt_fetch(var->varno, query->rtable);
	if (rte->rtekind == RTE_RELATION)
		walk->callback(walk->arg, rte->relid, var->varattno, TIDE_COLUMN_OF_SUBQUERY);
}

static bool
columns_walker(Node *node, void *context)
{
	Walk	   *walk = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
		walk_var(walk, (Var *) node);
	else if (IsA(node, Query))
	{
		List	   *outer = walk->queries;

		walk->queries = lcons(node, list_copy(outer));
		(void) query_tree_walker((Query *) node, columns_walker, context, 0);
		walk->queries = outer;
	}
	else
		return expression_tree_walker(node, columns_walker, context);
	return false;
}

void
tide_columns_walk(const void *expr, List *relids, TideColumnCallback callback, void *arg)
{
	Walk		walk = {.relids = relids,.callback = callback,.arg = arg};

	(void) columns_walker(unconstify(void *, expr), &walk);
}

/* join_on, with the parent's table before the node's */
static void
walk_join(const TideShape *shape, const TideShapeNode *node, TideColumnCallback callback, void *arg)
{
	const TideShapeNode *parent;

	if (node->join_on == NULL)
		return;
	parent = list_nth(shape->nodes, node->parent_id);
	tide_columns_walk(node->join_on, list_make2_oid(parent->relid, node->relid), callback, arg);
}

void
tide_columns_walk_node(const TideShape *shape, const TideShapeNode *node,
					   TideColumnCallback callback, void *arg)
{
	List	   *own = list_make1_oid(node->relid);
	ListCell   *lc;

	tide_columns_walk(node->filter, own, callback, arg);
	tide_columns_walk(node->subfilter, own, callback, arg);
	foreach(lc, node->key_parts)
		tide_columns_walk(((TideKeyPart *) lfirst(lc))->expr, own, callback, arg);
	foreach(lc, node->order_by)
		tide_columns_walk(((TideSortKey *) lfirst(lc))->expr, own, callback, arg);
	foreach(lc, node->windows)
		tide_columns_walk(((TideTimeWindow *) lfirst(lc))->expr, own, callback, arg);
	walk_join(shape, node, callback, arg);
}

/* ---- indexes ---- */

/* an index on one column, unless the list has it */
static void
add_column(void *arg, Oid relid, AttrNumber attnum, TideColumnOf of)
{
	List	  **indexes = arg;
	TideNodeIndex *index;
	ListCell   *lc;

	if (attnum <= 0)
		return;
	foreach(lc, *indexes)
	{
		index = lfirst(lc);
		if (index->relid == relid && linitial_int(index->attnums) == attnum)
			return;
	}
	index = palloc0(sizeof(TideNodeIndex));
	index->relid = relid;
	index->attnums = list_make1_int(attnum);
	*indexes = lappend(*indexes, index);
}

/* in whose order the node's windows can be read; NULL if order_by is not of columns */
static TideNodeIndex *
window_index(const TideShapeNode *node)
{
	TideNodeIndex *index = palloc0(sizeof(TideNodeIndex));
	Bitmapset  *joined = NULL;
	ListCell   *lc;
	int			i = -1;

	index->relid = node->relid;
	index->is_window = true;
	pull_varattnos(node->join_on, 2, &joined);
	foreach(lc, node->key_parts)
		pull_varattnos(((TideKeyPart *) lfirst(lc))->expr, 1, &joined);
	while ((i = bms_next_member(joined, i)) >= 0)
		index->attnums = lappend_int(index->attnums, i + FirstLowInvalidHeapAttributeNumber);
	foreach(lc, node->order_by)
	{
		if (!IsA(((TideSortKey *) lfirst(lc))->expr, Var))
			return NULL;
	}
	return index;
}

List *
tide_node_indexes(const TideShape *shape, const TideShapeNode *node)
{
	List	   *own = list_make1_oid(node->relid);
	List	   *indexes = NIL;
	TideNodeIndex *window = node->row_limit > 0 ? window_index(node) : NULL;
	ListCell   *lc;

	tide_columns_walk(node->subfilter, own, add_column, &indexes);
	foreach(lc, node->windows)
		tide_columns_walk(((TideTimeWindow *) lfirst(lc))->expr, own, add_column, &indexes);
	foreach(lc, node->lookups)
		tide_columns_walk(((TideKeyLookup *) lfirst(lc))->query, NIL, add_column, &indexes);
	walk_join(shape, node, add_column, &indexes);
	return window ? lappend(indexes, window) : indexes;
}
