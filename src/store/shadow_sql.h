/*
 * shadow_sql.h
 *	  SQL text of a shape's expressions and queries, over shadow tables or over the
 *	  source tables themselves.
 *
 * All names in the text are qualified where search_path = pg_catalog, pg_temp does not find them:
 * run it under tide_settings_push(). Params are $n; nothing else comes from a request.
 */
#ifndef TIDE_SHADOW_SQL_H
#define TIDE_SHADOW_SQL_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

#include "catalog/shape_catalog.h"

typedef struct TideShadowSql TideShadowSql;

/* sources: of TideSource, live, kept as long as the result; in the current context */
extern TideShadowSql *tide_shadow_sql_create(List *sources);

/* a source table's source; ERROR 55000 if it is none, or not live */
extern const TideSource *tide_shadow_sql_source(const TideShadowSql *sql, Oid relid);

/* "tide_shadow.t5" for a source table; ERROR 55000 if it has no shadow table */
extern char *tide_shadow_sql_table(const TideShadowSql *sql, Oid relid);

/* "c7" for a source's attnum */
extern char *tide_shadow_sql_column(AttrNumber attnum);

/*
 * An expression over source tables, varno i being relids[i - 1], as text over their
 * shadow tables, each under its alias. Subqueries in it are over shadow
 * tables as well. ERROR 55000 if a table has no shadow table, or that no such column.
 */
extern char *tide_shadow_sql_expr(const TideShadowSql *sql, Node *expr, int nrels,
								  const Oid *relids, const char *const *aliases);

/* the same for a whole query */
extern char *tide_shadow_sql_query(const TideShadowSql *sql, Query *query);

/* the same over the source tables, by their present names */
extern char *tide_source_sql_expr(Node *expr, int nrels, const Oid *relids,
								  const char *const *aliases);
extern char *tide_source_sql_query(Query *query);

#endif							/* TIDE_SHADOW_SQL_H */
