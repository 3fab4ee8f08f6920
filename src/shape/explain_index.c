/*
 * explain_index.c
 *	  Which indexes of shadow tables a node's statements use, as text: those of tide_node_indexes() that
 *	  ingest/tree_columns.c makes.
 */
#include "postgres.h"

#include "access/relation.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "catalog/table_key.h"
#include "shape/columns.h"
#include "shape/explain.h"

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

/* columns that join, then those that order */
static char *
window_columns(const TideShapeNode *node, List *attnums)
{
	StringInfoData columns;
	ListCell   *lc;

	initStringInfo(&columns);
	foreach(lc, attnums)
	{
		char	   *name = get_attname(node->relid, lfirst_int(lc), true);

		appendStringInfo(&columns, "%s, ", name ? quote_identifier(name) : "(dropped)");
	}
	foreach(lc, node->order_by)
	{
		TideSortKey *key = lfirst(lc);
		char	   *name = get_attname(node->relid, ((Var *) key->expr)->varattno, true);

		if (name == NULL)
			return NULL;
		appendStringInfo(&columns, "%s%s, ", quote_identifier(name),
						 key->descending ? " DESC" : "");
	}
	appendStringInfoString(&columns, "key");
	return columns.data;
}

/* NULL: the key serves it, or the column is gone */
static const char *
column_name(Oid relid, AttrNumber attnum)
{
	char	   *name = get_attname(relid, attnum, true);

	return name == NULL || leads_key(relid, attnum) ? NULL : quote_identifier(name);
}

List *
tide_explain_indexes(const TideShape *shape, const TideShapeNode *node)
{
	List	   *texts = NIL;
	ListCell   *lc;

	foreach(lc, tide_node_indexes(shape, node))
	{
		TideNodeIndex *index = lfirst(lc);
		char	   *table = get_rel_name(index->relid);
		const char *columns = index->is_window ? window_columns(node, index->attnums) :
		column_name(index->relid, linitial_int(index->attnums));

		if (table != NULL && columns != NULL)
			texts = lappend(texts, psprintf("%s (%s)", quote_identifier(table), columns));
	}
	return texts;
}
