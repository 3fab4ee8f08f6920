/*
 * explain_index.c
 *	  Which indexes of shadow tables a node's statements use.
 *
 * ingest/tree_index.c makes them: one on each column that a join, a subquery or a time window
 * compares, unless the key begins with it; for a limit one in its order.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "lib/stringinfo.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/table_key.h"
#include "shape/explain.h"

typedef struct IndexWalk
{
	List	   *relids;			/* by varno of the expression's own level */
	List	   *queries;		/* of Query around, innermost first */
	List	   *texts;			/* of char *: what was found */
} IndexWalk;

static bool
leads_key(Oid relid, AttrNumber attnum)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	AttrNumber	keys[INDEX_MAX_KEYS];
	bool		result = true;

	if (rel != NULL)
	{
		result = tide_table_key(rel, keys) > 0 && keys[0] == attnum;
		relation_close(rel, AccessShareLock);
	}
	return result;
}

static void
add_text(IndexWalk *walk, char *text)
{
	ListCell   *lc;

	foreach(lc, walk->texts)
	{
		if (strcmp(lfirst(lc), text) == 0)
			return;
	}
	walk->texts = lappend(walk->texts, text);
}

static void
add_column(IndexWalk *walk, Oid relid, AttrNumber attnum)
{
	char	   *table = get_rel_name(relid);
	char	   *column = attnum > 0 ? get_attname(relid, attnum, true) : NULL;

	if (table != NULL && column != NULL && !leads_key(relid, attnum))
		add_text(walk, psprintf("%s (%s)", quote_identifier(table), quote_identifier(column)));
}

static bool
columns_walker(Node *node, void *context)
{
	IndexWalk  *walk = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		Query	   *query;

		if ((int) var->varlevelsup == list_length(walk->queries))
			add_column(walk, list_nth_oid(walk->relids, var->varno - 1), var->varattno);
		else
		{
			query = list_nth_node(Query, walk->queries, var->varlevelsup);
			add_column(walk, rt_fetch(var->varno, query->rtable)->relid, var->varattno);
		}
		return false;
	}
	if (IsA(node, Query))
	{
		List	   *outer = walk->queries;

		walk->queries = lcons(node, list_copy(outer));
		(void) query_tree_walker((Query *) node, columns_walker, context, 0);
		walk->queries = outer;
		return false;
	}
	return expression_tree_walker(node, columns_walker, context);
}

/* columns that join, then those that order */
static void
add_order(IndexWalk *walk, const TideShapeNode *node)
{
	StringInfoData columns;
	Bitmapset  *joined = NULL;
	ListCell   *lc;
	int			i = -1;

	initStringInfo(&columns);
	pull_varattnos(node->join_on, 2, &joined);
	foreach(lc, node->key_parts)
		pull_varattnos(((TideKeyPart *) lfirst(lc))->expr, 1, &joined);
	while ((i = bms_next_member(joined, i)) >= 0)
	{
		char	   *name = get_attname(node->relid, i + FirstLowInvalidHeapAttributeNumber, true);

		appendStringInfo(&columns, "%s, ", name ? quote_identifier(name) : "(dropped)");
	}
	foreach(lc, node->order_by)
	{
		TideSortKey *key = lfirst(lc);
		char	   *name = IsA(key->expr, Var) ?
			get_attname(node->relid, ((Var *) key->expr)->varattno, true) : NULL;

		if (name == NULL)
			return;
		appendStringInfo(&columns, "%s%s, ", quote_identifier(name),
						 key->descending ? " DESC" : "");
	}
	add_text(walk, psprintf("%s (%skey)", quote_identifier(get_rel_name(node->relid)),
							columns.data));
}

List *
tide_explain_indexes(const TideShape *shape, const TideShapeNode *node)
{
	IndexWalk	walk = {.relids = list_make1_oid(node->relid)};
	ListCell   *lc;

	(void) columns_walker(node->subfilter, &walk);
	foreach(lc, node->windows)
		(void) columns_walker(((TideTimeWindow *) lfirst(lc))->expr, &walk);
	foreach(lc, node->lookups)
		(void) columns_walker((Node *) ((TideKeyLookup *) lfirst(lc))->query, &walk);
	if (node->join_on != NULL)
	{
		const TideShapeNode *parent = list_nth(shape->nodes, node->parent_id);

		walk.relids = list_make2_oid(parent->relid, node->relid);
		(void) columns_walker(node->join_on, &walk);
	}
	if (node->row_limit > 0)
		add_order(&walk, node);
	return walk.texts;
}
