/*
 * explain_sql.c
 *	  tide.explain_shape, with the statements that the ingest runs for the shape.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "catalog/missing.h"
#include "catalog/shape_catalog.h"
#include "ingest/tree.h"
#include "shape/compile.h"
#include "shape/explain.h"
#include "util/spi.h"

PG_FUNCTION_INFO_V1(tide_sql_explain_shape);

/* "name: SQL", if there is such a statement */
static List *
add_statement(List *statements, const char *name, const char *sql)
{
	return sql == NULL ? statements : lappend(statements, psprintf("%s: %s", name, sql));
}

static List *
node_statements(TideShape *shape, TideShapeNode *node, List *sources)
{
	TideJoined	parent = {.shape = shape};
	TideJoined	joined = {.shape = shape,.node = node};
	List	   *statements = NIL;

	if (tide_node_is_direct(node) || tide_node_missing_text(node) != NULL)
		return NIL;
	if (node->parent_id >= 0)
	{
		parent.node = list_nth(shape->nodes, node->parent_id);
		joined.parent = &parent;
	}
	(void) tide_tree_make_texts(sources, &joined);
	statements = add_statement(statements, "recompute", joined.recompute_sql);
	statements = add_statement(statements, "add", joined.add_sql);
	statements = add_statement(statements, "limit", joined.limit_sql);
	return add_statement(statements, "window", joined.window_sql);
}

/* of a shape whose tables are copied, as List for each node; else NULL */
static List **
shape_statements(TideShape *shape)
{
	List	  **statements;
	List	   *sources;
	int			nest_level;
	ListCell   *lc;

	if (shape->state != TIDE_SHAPE_LIVE)
		return NULL;
	statements = palloc0(sizeof(List *) * list_length(shape->nodes));
	sources = tide_catalog_sources();
	nest_level = tide_settings_push();
	foreach(lc, shape->nodes)
	{
		statements[foreach_current_index(lc)] = node_statements(shape, lfirst(lc), sources);
	}
	tide_settings_pop(nest_level);
	return statements;
}

Datum
tide_sql_explain_shape(PG_FUNCTION_ARGS)
{
	char	   *name = tide_shape_name(PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0));
	TideShape  *shape = tide_catalog_shape_by_name(name);

	if (shape == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shape \"%s\" does not exist", name)));
	PG_RETURN_TEXT_P(cstring_to_text(tide_shape_explain(shape, shape_statements(shape))));
}
