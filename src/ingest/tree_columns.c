/*
 * tree_columns.c
 *	  Columns that joined nodes depend on: whose changes they have to hear of, and which get indexes
 *	  on the shadow tables, by which the nodes' statements find rows.
 *
 * What is indexed shape/columns.c decides. A key's first column needs no other index; which comparisons
 * an index can serve is the planner's business.
 */
#include "postgres.h"

#include "catalog/pg_am_d.h"
#include "commands/defrem.h"

#include "ingest/tree.h"
#include "shape/columns.h"
#include "store/shadow_sql.h"

typedef struct Mark
{
	TideIngest *in;
	TideJoined *joined;
} Mark;

static void
mark_column(void *arg, Oid relid, AttrNumber attnum, TideColumnOf of)
{
	Mark	   *mark = arg;
	TideWatch  *watch = hash_search(mark->in->watches, &relid, HASH_FIND, NULL);
	int			position = attnum > 0 && attnum < watch->shadow->natts_source ?
	watch->shadow->attnum_pos[attnum] : -1;

	tide_tree_use(watch, position);
	if (of == TIDE_COLUMN_OF_ROW && position >= 0)
		mark->joined->decides[position] = true;
}

void
tide_tree_mark_columns(TideIngest *in, TideJoined *joined)
{
	Mark		mark = {in, joined};

	tide_tree_use(joined->watch, -1);
	tide_columns_walk_node(joined->shape, joined->node, mark_column, &mark);
}

static TideSource *
source_of(TideIngest *in, Oid relid)
{
	ListCell   *lc;

	foreach(lc, in->sources)
	{
		if (((TideSource *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	}
	return NULL;
}

static void
index_column(TideSource *source, AttrNumber attnum)
{
	if (source->keys[0] == attnum)
		return;
	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum &&
			OidIsValid(GetDefaultOpClass(source->column_types[i], BTREE_AM_OID)))
			tide_shadow_add_index(source, psprintf("t%d_i%d", source->source_id, attnum),
								  tide_shadow_sql_column(attnum));
}

/* columns that join, then those that order, then the key */
static void
index_window(TideSource *source, const TideShape *shape, const TideShapeNode *node, List *attnums)
{
	StringInfoData columns;
	ListCell   *lc;

	initStringInfo(&columns);
	foreach(lc, attnums)
		appendStringInfo(&columns, "%s, ", tide_shadow_sql_column(lfirst_int(lc)));
	foreach(lc, node->order_by)
	{
		TideSortKey *key = lfirst(lc);

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
		const TideShapeNode *node = lfirst(lc);
		ListCell   *lc2;

		foreach(lc2, tide_node_indexes(shape, node))
		{
			TideNodeIndex *index = lfirst(lc2);
			TideSource *source = source_of(in, index->relid);

			if (source == NULL)
				continue;
			if (index->is_window)
				index_window(source, shape, node, index->attnums);
			else
				index_column(source, linitial_int(index->attnums));
		}
	}
}
