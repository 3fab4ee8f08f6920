/*
 * tree_index.c
 *	  Indexes on shadow tables by which joined nodes find rows.
 *
 * One on each column that a join condition, a subquery or a window compares, unless it leads the key; for
 * limits one on (columns joined, order). Which comparisons it can serve is the planner's business.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_am_d.h"
#include "commands/defrem.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"

#include "ingest/tree.h"
#include "store/shadow_sql.h"

typedef struct Columns
{
	TideIngest *in;
	TideShapeNode *node;
	List	   *relids;			/* by varno of the expression's own level */
	List	   *queries;		/* of Query around, innermost first */
} Columns;

static TideSource *
source_of(TideIngest *in, Oid relid)
{
	ListCell   *lc;

	foreach(lc, in->sources)
		if (((TideSource *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

static void
index_column(TideIngest *in, Oid relid, AttrNumber attnum)
{
	TideSource *source = source_of(in, relid);

	if (source == NULL || attnum <= 0 || source->keys[0] == attnum)
		return;
	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum &&
			OidIsValid(GetDefaultOpClass(source->column_types[i], BTREE_AM_OID)))
			tide_shadow_add_index(source, psprintf("t%d_i%d", source->source_id, attnum),
								  tide_shadow_sql_column(attnum));
}

/* columns on either side of a comparison */
static bool
columns_walker(Node *node, Columns *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		int			depth = list_length(context->queries);
		Oid			relid = InvalidOid;

		if (var->varlevelsup == depth)
			relid = list_nth_oid(context->relids, var->varno - 1);
		else
		{
			Query	   *query = list_nth(context->queries, var->varlevelsup);
			RangeTblEntry *rte = list_nth(query->rtable, var->varno - 1);

			if (rte->rtekind == RTE_RELATION)
				relid = rte->relid;
		}
		index_column(context->in, relid, var->varattno);
		return false;
	}
	if (IsA(node, Query))
	{
		List	   *outer = context->queries;
		bool		result;

		context->queries = lcons(node, list_copy(outer));
		result = query_tree_walker((Query *) node, columns_walker, context, 0);
		context->queries = outer;
		return result;
	}
	return expression_tree_walker(node, columns_walker, context);
}

/* an index in whose order a window can be read: columns that join, then those that order */
static void
index_window(TideIngest *in, const TideShape *shape, TideShapeNode *node)
{
	TideSource *source = source_of(in, node->relid);
	StringInfoData columns;
	Bitmapset  *joined = NULL;
	ListCell   *lc;
	int			i = -1;

	initStringInfo(&columns);
	if (node->join_on != NULL)
		pull_varattnos(node->join_on, 2, &joined);
	foreach(lc, node->key_parts)
		pull_varattnos(((TideKeyPart *) lfirst(lc))->expr, 1, &joined);
	while ((i = bms_next_member(joined, i)) >= 0)
		appendStringInfo(&columns, "%s, ",
						 tide_shadow_sql_column(i + FirstLowInvalidHeapAttributeNumber));
	foreach(lc, node->order_by)
	{
		TideSortKey *key = lfirst(lc);

		if (!IsA(key->expr, Var))
			return;
		appendStringInfo(&columns, "%s %s NULLS %s, ",
						 tide_shadow_sql_column(((Var *) key->expr)->varattno),
						 key->descending ? "DESC" : "ASC",
						 key->nulls_first ? "FIRST" : "LAST");
	}
	for (int k = 0; k < source->nkeys; k++)
		appendStringInfo(&columns, "%s%s", k > 0 ? ", " : "",
						 tide_shadow_sql_column(source->keys[k]));
	tide_shadow_add_index(source, psprintf("t%d_w%d_%d", source->source_id, shape->shape_id,
										   node->node_id), columns.data);
}

void
tide_tree_create_indexes(TideIngest *in, const TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		TideShapeNode *node = lfirst(lc);
		Columns		context = {in, node, list_make1_oid(node->relid), NIL};
		ListCell   *lc2;

		(void) columns_walker(node->subfilter, &context);
		foreach(lc2, node->windows)
			(void) columns_walker(((TideTimeWindow *) lfirst(lc2))->expr, &context);
		foreach(lc2, node->lookups)
			(void) columns_walker((Node *) ((TideKeyLookup *) lfirst(lc2))->query, &context);
		if (node->join_on != NULL)
		{
			TideShapeNode *parent = list_nth(shape->nodes, node->parent_id);

			context.relids = list_make2_oid(parent->relid, node->relid);
			(void) columns_walker(node->join_on, &context);
		}
		if (node->row_limit > 0)
			index_window(in, shape, node);
	}
}
