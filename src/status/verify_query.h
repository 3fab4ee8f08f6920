/*
 * verify_query.h
 *	  A shape's own query over its live table, as SQL text.
 */
#ifndef TIDE_VERIFY_QUERY_H
#define TIDE_VERIFY_QUERY_H

#include "catalog/shape_catalog.h"

/*
 * The rows a node of a live shape should have: its key columns as jsonb, its shown columns as jsonb, then the key
 * parts of the bucket (parents' parts included), one column each. $1 is the time of the checkpoint; by_key: of the one
 * bucket whose key is the text[] $2. In the current context; run it under tide_settings_push().
 */
extern char *tide_verify_sql_text(const TideShape *shape, const TideShapeNode *node,
								  List *sources, bool by_key);

/* the live source of a node in a list of TideSource, or NULL */
extern TideSource *tide_verify_source(const TideShapeNode *node, List *sources);

/* types of the key parts of a node's buckets, parents' parts included */
extern List *tide_verify_key_types(const TideShape *shape, const TideShapeNode *node);

#endif							/* TIDE_VERIFY_QUERY_H */
