/*
 * shadow_sql.c
 *	  SQL text of a shape's expressions and queries, over shadow tables.
 *
 * Trees are turned from source tables to shadow tables (relations and attnums), then deparsed
 * by PostgreSQL. For an expression the deparser gets what EXPLAIN gives it: a range table and
 * a name for each entry, so nothing of an alias depends on the text it came from.
 *
 * What a query says about names is dropped on the way, as columns of shadow tables have names of
 * their own: aliases of columns of a table, and USING, NATURAL and aliases of joins. References to a
 * join's columns become references to what they stand for, USING becomes ON.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#include "catalog/shape_catalog.h"
#include "store/shadow.h"
#include "store/shadow_sql.h"
#include "util/compat.h"
#include "util/spi.h"

struct TideShadowSql
{
	List	   *sources;		/* of TideSource */
};

/* where in a tree the mutator is */
typedef struct Mapping
{
	const TideShadowSql *sql;
	List	   *queries;		/* original Query trees around, innermost
								 * first */
	int			nrels;			/* outside of them: the expression's relations */
	const Oid  *relids;
} Mapping;

static Node *map_mutator(Node *node, Mapping *mapping);

TideShadowSql *
tide_shadow_sql_create(List *sources)
{
	TideShadowSql *sql = palloc(sizeof(TideShadowSql));

	sql->sources = sources;
	return sql;
}

const TideSource *
tide_shadow_sql_source(const TideShadowSql *sql, Oid relid)
{
	ListCell   *lc;

	foreach(lc, sql->sources)
	{
		const TideSource *source = lfirst(lc);

		if (source->relid == relid && source->ncolumns > 0)
			return source;
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table with OID %u has no shadow table", relid)));
}

static Oid
shadow_of(const TideShadowSql *sql, Oid relid)
{
	return tide_shadow_relid("t%d", tide_shadow_sql_source(sql, relid)->source_id);
}

char *
tide_shadow_sql_table(const TideShadowSql *sql, Oid relid)
{
	return psprintf("tide_shadow.t%d", tide_shadow_sql_source(sql, relid)->source_id);
}

char *
tide_shadow_sql_column(AttrNumber attnum)
{
	return psprintf("c%d", attnum);
}

/* attnum in the shadow table of a source's attnum */
static AttrNumber
shadow_attnum(const TideShadowSql *sql, Oid relid, AttrNumber attnum)
{
	const TideSource *source = tide_shadow_sql_source(sql, relid);

	for (int i = 0; i < source->ncolumns; i++)
		if (source->columns[i] == attnum)
			return TIDE_SHADOW_FIXED + 1 + i;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("shadow table of source %d has no column for attribute %d",
					source->source_id, attnum)));
}

/* a range table entry for a relation, as far as the deparser looks at it */
static RangeTblEntry *
relation_entry(Oid relid, const char *alias)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	char	   *name;

	rte->rtekind = RTE_RELATION;
	rte->relid = relid;
	rte->relkind = get_rel_relkind(relid);
	rte->rellockmode = AccessShareLock;
	rte->inh = true;
	rte->inFromCl = true;
	rte->alias = makeAlias(alias, NIL);
	rte->eref = makeAlias(alias, NIL);
	for (int i = 1; (name = get_attname(relid, i, true)) != NULL; i++)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(name));
	return rte;
}

/* the range table entry a Var is about, or NULL with the relation in *relid */
static RangeTblEntry *
entry_of_var(const Mapping *mapping, const Var *var, Oid *relid)
{
	Query	   *query;

	*relid = InvalidOid;
	if ((int) var->varlevelsup < list_length(mapping->queries))
	{
		query = list_nth(mapping->queries, var->varlevelsup);
		return rt_fetch(var->varno, query->rtable);
	}
	if ((int) var->varlevelsup > list_length(mapping->queries) ||
		var->varno < 1 || var->varno > mapping->nrels)
		elog(ERROR, "unexpected variable %d of level %u", var->varno, var->varlevelsup);
	*relid = mapping->relids[var->varno - 1];
	return NULL;
}

static Node *
map_var(const Var *var, Mapping *mapping)
{
	Oid			relid;
	RangeTblEntry *rte = entry_of_var(mapping, var, &relid);
	Var		   *result;

	if (rte != NULL && rte->rtekind == RTE_JOIN && var->varattno > 0)
	{
		Node	   *merged = copyObject(list_nth(rte->joinaliasvars, var->varattno - 1));

		IncrementVarSublevelsUp(merged, var->varlevelsup, 0);
		return map_mutator(merged, mapping);
	}
	if (rte != NULL && rte->rtekind == RTE_RELATION)
		relid = rte->relid;
	result = copyObject(unconstify(Var *, var));
	if (OidIsValid(relid))
	{
		if (var->varattno <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("whole rows and system columns are not available in shadow tables")));
		result->varattno = shadow_attnum(mapping->sql, relid, var->varattno);
	}
	/* what it was written as is of no interest */
	result->varnosyn = result->varno;
	result->varattnosyn = result->varattno;
	return (Node *) result;
}

/* columns of an item of a mapped query's FROM, as a join above sees them */
static void
item_columns(Query *query, Node *item, List **names, List **vars, List **attnums)
{
	int			rtindex = IsA(item, JoinExpr) ? ((JoinExpr *) item)->rtindex :
	castNode(RangeTblRef, item)->rtindex;
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	ListCell   *lc;

	expandRTE_compat(rte, rtindex, names, vars);
	*attnums = NIL;
	foreach(lc, *vars)
		* attnums = lappend_int(*attnums, IsA(item, JoinExpr) ?
								foreach_current_index(lc) + 1 :
								lfirst_node(Var, lc)->varattno);
}

/* make the entries of the joins in a mapped query's FROM anew, inner ones first */
static void
rebuild_joins(Query *query, Node *item)
{
	if (IsA(item, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) item;
		RangeTblEntry *rte = rt_fetch(join->rtindex, query->rtable);
		List	   *names;
		List	   *vars;

		rebuild_joins(query, join->larg);
		rebuild_joins(query, join->rarg);
		join->isNatural = false;
		join->usingClause = NIL;
		join->join_using_alias = NULL;
		join->alias = NULL;
		rte->alias = NULL;
		rte->join_using_alias = NULL;
		rte->joinmergedcols = 0;
		rte->eref = makeAlias(rte->eref->aliasname, NIL);
		item_columns(query, join->larg, &rte->eref->colnames, &rte->joinaliasvars,
					 &rte->joinleftcols);
		item_columns(query, join->rarg, &names, &vars, &rte->joinrightcols);
		rte->eref->colnames = list_concat(rte->eref->colnames, names);
		rte->joinaliasvars = list_concat(rte->joinaliasvars, vars);
	}
	else if (IsA(item, FromExpr))
	{
		ListCell   *lc;

		foreach(lc, ((FromExpr *) item)->fromlist)
			rebuild_joins(query, lfirst(lc));
	}
}

static Query *
map_query(Query *query, Mapping *mapping)
{
	Query	   *result;
	ListCell   *lc;

	mapping->queries = lcons(query, mapping->queries);
	result = query_tree_mutator(query, map_mutator, mapping, QTW_IGNORE_JOINALIASES);
	mapping->queries = list_delete_first(mapping->queries);
	foreach(lc, result->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_RELATION)
		{
			RangeTblEntry *entry = relation_entry(shadow_of(mapping->sql, rte->relid),
												  rte->eref->aliasname);

			entry->inFromCl = rte->inFromCl;
			entry->lateral = rte->lateral;
			lfirst(lc) = entry;
		}
	}
	rebuild_joins(result, (Node *) result->jointree);
	return result;
}

static Node *
map_mutator(Node *node, Mapping *mapping)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return map_var((Var *) node, mapping);
	if (IsA(node, Query))
		return (Node *) map_query((Query *) node, mapping);
	return expression_tree_mutator(node, map_mutator, mapping);
}

/* an expression over relations, as text */
static char *
deparse(Node *expr, int nrels, const Oid *relids, const char *const *aliases)
{
	PlannedStmt *statement = makeNode(PlannedStmt);
	List	   *names = NIL;
	int			nest_level = tide_settings_push();
	char	   *result;

	for (int i = 0; i < nrels; i++)
	{
		statement->rtable = lappend(statement->rtable,
									relation_entry(relids[i], aliases[i]));
		names = lappend(names, pstrdup(aliases[i]));
	}
	result = deparse_expression(expr, deparse_context_for_plan_tree(statement, names),
								true, false);
	tide_settings_pop(nest_level);
	return result;
}

char *
tide_shadow_sql_expr(const TideShadowSql *sql, Node *expr, int nrels, const Oid *relids,
					 const char *const *aliases)
{
	Mapping		mapping = {.sql = sql,.nrels = nrels,.relids = relids};
	Oid		   *shadows = palloc(sizeof(Oid) * Max(nrels, 1));

	for (int i = 0; i < nrels; i++)
		shadows[i] = shadow_of(sql, relids[i]);
	return deparse(map_mutator(expr, &mapping), nrels, shadows, aliases);
}

char *
tide_shadow_sql_query(const TideShadowSql *sql, Query *query)
{
	Mapping		mapping = {.sql = sql};

	return tide_source_sql_query(map_query(query, &mapping));
}

char *
tide_source_sql_expr(Node *expr, int nrels, const Oid *relids, const char *const *aliases)
{
	/* the deparser takes locks and mends the trees of subqueries */
	return deparse(copyObject(expr), nrels, relids, aliases);
}

char *
tide_source_sql_query(Query *query)
{
	int			nest_level = tide_settings_push();
	char	   *result = pg_get_querydef(copyObject(query), false);

	tide_settings_pop(nest_level);
	return result;
}
