/*
 * verify_query.h
 *	  A shape's own query over its live table, as SQL text.
 */
#ifndef TIDE_VERIFY_QUERY_H
#define TIDE_VERIFY_QUERY_H

#include "catalog/shape_catalog.h"

/*
 * SELECT key, row (both jsonb), each key part FROM table WHERE filter AND no
 * key part is null [AND the key parts equal the elements of $1 text[]]. Everything is schema-qualified
 * as far as search_path is pg_catalog: call it under tide_settings_push().
 */
extern char *tide_verify_sql_text(const TideShape *shape, const TideSource *source,
								  bool by_key);

#endif							/* TIDE_VERIFY_QUERY_H */
