/*
 * tree_sql.c
 *	  The statements by which a joined node finds and decides rows.
 *
 * In all of them z is a row of the node, p one of its parent or a version of one. Named relations:
 * tide_versions (layout of the table they are versions of, _op > 0: added, < 0: taken
 * away) and tide_rows (R: tid). Arguments: $1 time of the checkpoint, $2 of the one before,
 * $3 see tree_pass.h.
 *
 *	recompute	of a child: (tid, _members of a parent) of rows in R, by tid
 *				of a root with a subfilter or a limit: tid of rows in R that satisfy it
 *	add			(tid, sign, _members) of rows that parent versions join, by tid;
 *				with a limit: tid of children in their windows
 *	limit		tid of rows whose window changed rows may have moved
 *	window		tid of rows whose time may have come
 *	reach		tid of rows that versions of a subquery's table may concern (tree_reach.c)
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "ingest/tree.h"
#include "store/shadow_sql.h"

/* what is put together for one node */
typedef struct Maker
{
	const TideSource *source;	/* of the node's table */
	TideJoined *joined;
	TideShadowSql *sql;
	const char *table;			/* of the node */
	const char *parent_table;	/* or NULL */
	const char *on;				/* p and z, or NULL */
	const char *conditions;		/* " AND …" of z: subfilter, with a limit
								 * also filter; or "" */
	const char *order;			/* of z, key columns last; or NULL */
} Maker;

/* text of an expression over z, or over p and z */
static char *
row_text(Maker *m, Node *expr)
{
	const Oid	relid = m->joined->node->relid;
	const char *alias = "z";

	return tide_shadow_sql_expr(m->sql, expr, 1, &relid, &alias);
}

static char *
join_text(Maker *m)
{
	const Oid	relids[] = {m->joined->parent->node->relid, m->joined->node->relid};
	const char *aliases[] = {"p", "z"};

	return tide_shadow_sql_expr(m->sql, m->joined->node->join_on, 2, relids, aliases);
}

static char *
order_text(Maker *m)
{
	TideShapeNode *node = m->joined->node;
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, node->order_by)
	{
		TideSortKey *key = lfirst(lc);

		appendStringInfo(&text, "%s %s NULLS %s, ", row_text(m, key->expr),
						 key->descending ? "DESC" : "ASC",
						 key->nulls_first ? "FIRST" : "LAST");
	}
	for (int i = 0; i < m->source->nkeys; i++)
		appendStringInfo(&text, "%sz.%s", i > 0 ? ", " : "",
						 tide_shadow_sql_column(m->source->keys[i]));
	return text.data;
}

/* conditions on z that SQL has to look at */
static char *
conditions_text(Maker *m)
{
	TideShapeNode *node = m->joined->node;
	StringInfoData text;

	initStringInfo(&text);
	if (node->subfilter != NULL)
		appendStringInfo(&text, " AND (%s)", row_text(m, node->subfilter));
	if (node->row_limit > 0 && node->filter != NULL)
		appendStringInfo(&text, " AND (%s)", row_text(m, node->filter));
	return text.data;
}

/* default equality of a type, qualified */
static char *
equality_name(Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR);

	return psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(get_func_namespace(get_opcode(entry->eq_opr)))),
					get_opname(entry->eq_opr));
}

/* rows of z that changed, as they were and are, and those of R */
static char *
rivals_text(Maker *m)
{
	return psprintf("(SELECT v.* FROM tide_versions v UNION ALL"
					" SELECT z.* FROM tide_rows r JOIN %s z ON z.ctid = r.tid)", m->table);
}

/* windows are of the node's keys: ", k0, k1" as select list, its names, and " AND k0 = d.k0 …" */
typedef struct KeyTexts
{
	StringInfoData exprs;
	StringInfoData names;
	StringInfoData match;
} KeyTexts;

static void
make_key_texts(Maker *m, KeyTexts *texts)
{
	ListCell   *lc;

	initStringInfo(&texts->exprs);
	initStringInfo(&texts->names);
	initStringInfo(&texts->match);
	foreach(lc, m->joined->node->key_parts)
	{
		TideKeyPart *part = lfirst(lc);
		int			i = foreach_current_index(lc);
		char	   *expr = row_text(m, part->expr);

		appendStringInfo(&texts->exprs, ", %s AS k%d", expr, i);
		appendStringInfo(&texts->names, ", k%d", i);
		appendStringInfo(&texts->match, " AND %s %s d.k%d", expr, equality_name(part->type), i);
	}
}

/* a limited root: windows are of its keys */
static void
make_root_limit(Maker *m)
{
	TideShapeNode *node = m->joined->node;
	KeyTexts	keys;
	char	   *window;

	make_key_texts(m, &keys);
	window = psprintf("SELECT z.ctid AS tid FROM %s z WHERE true%s%s ORDER BY %s LIMIT " INT64_FORMAT,
					  m->table, keys.match.data, m->conditions, m->order, node->row_limit);
	m->joined->limit_sql =
		psprintf("SELECT y.tid FROM (SELECT true AS k%s, pg_catalog.count(*) AS n FROM %s z GROUP BY k%s) d"
				 " CROSS JOIN LATERAL (%s + d.n) y",
				 keys.exprs.data, rivals_text(m), keys.names.data, window);
	m->joined->recompute_sql =
		psprintf("SELECT y.tid FROM (SELECT DISTINCT true AS k%s FROM tide_rows r"
				 " JOIN %s z ON z.ctid = r.tid) d CROSS JOIN LATERAL (%s) y",
				 keys.exprs.data, m->table, window);
}

/* a limited child: windows are of its parents and its own keys */
static void
make_child_limit(Maker *m)
{
	TideShapeNode *node = m->joined->node;
	KeyTexts	keys;
	char	   *window;

	make_key_texts(m, &keys);
	window = psprintf("SELECT z.ctid AS tid FROM %s z WHERE (%s)%s%s ORDER BY %s LIMIT " INT64_FORMAT,
					  m->table, m->on, keys.match.data, m->conditions, m->order, node->row_limit);
	m->joined->limit_sql =
		psprintf("SELECT y.tid FROM (SELECT p.ctid AS tid%s, pg_catalog.count(*) AS n FROM %s z"
				 " JOIN %s p ON (%s) WHERE p._members IS NOT NULL GROUP BY p.ctid%s) d"
				 " JOIN %s p ON p.ctid = d.tid CROSS JOIN LATERAL (%s + d.n) y",
				 keys.exprs.data, rivals_text(m), m->parent_table, m->on, keys.names.data,
				 m->parent_table, window);
	m->joined->add_sql =
		psprintf("SELECT y.tid FROM tide_versions p CROSS JOIN LATERAL (SELECT DISTINCT true AS k%s"
				 "%s%s%s) d CROSS JOIN LATERAL (%s + $3) y WHERE p._members IS NOT NULL",
				 keys.exprs.data, node->key_parts ? psprintf(" FROM %s z WHERE (", m->table) : "",
				 node->key_parts ? m->on : "", node->key_parts ? ")" : "", window);
	m->joined->recompute_sql =
		psprintf("SELECT y.tid, p._members FROM (SELECT DISTINCT p.ctid AS tid%s FROM tide_rows r"
				 " JOIN %s z ON z.ctid = r.tid JOIN %s p ON (%s) WHERE p._members IS NOT NULL) d"
				 " JOIN %s p ON p.ctid = d.tid CROSS JOIN LATERAL (%s) y ORDER BY y.tid",
				 keys.exprs.data, m->table, m->parent_table, m->on, m->parent_table, window);
}

static void
make_child(Maker *m)
{
	m->joined->recompute_sql =
		psprintf("SELECT z.ctid, p._members FROM tide_rows r JOIN %s z ON z.ctid = r.tid"
				 " JOIN %s p ON (%s) WHERE p._members IS NOT NULL%s ORDER BY z.ctid",
				 m->table, m->parent_table, m->on, m->conditions);
	m->joined->add_sql =
		psprintf("SELECT z.ctid, p._op, p._members FROM tide_versions p JOIN %s z ON (%s)"
				 " WHERE p._members IS NOT NULL%s ORDER BY z.ctid",
				 m->table, m->on, m->conditions);
}

/* the bound at $2 instead of $1 */
static Node *
bound_before(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramid == TIDE_PARAM_NOW)
	{
		Param	   *param = copyObject((Param *) node);

		param->paramid = TIDE_PARAM_NOW + 1;
		return (Node *) param;
	}
	return expression_tree_mutator(node, bound_before, context);
}

static void
make_windows(Maker *m)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, m->joined->node->windows)
	{
		TideTimeWindow *window = lfirst(lc);
		char	   *expr = row_text(m, window->expr);
		char	   *before = row_text(m, bound_before(window->bound, NULL));
		char	   *now = row_text(m, window->bound);

		/* with months in the interval the bound may step back */
		appendStringInfo(&text, "%sSELECT z.ctid FROM %s z"
						 " WHERE %s OPERATOR(pg_catalog.>=) LEAST(%s, %s)"
						 " AND %s OPERATOR(pg_catalog.<=) GREATEST(%s, %s)",
						 text.len > 0 ? " UNION ALL " : "", m->table,
						 expr, before, now, expr, before, now);
	}
	if (text.len > 0)
		m->joined->window_sql = text.data;
}

TideShadowSql *
tide_tree_make_texts(List *sources, TideJoined *joined)
{
	TideShapeNode *node = joined->node;
	Maker		m = {.joined = joined};

	m.sql = tide_shadow_sql_create(sources);
	m.source = tide_shadow_sql_source(m.sql, node->relid);
	m.table = tide_shadow_sql_table(m.sql, node->relid);
	m.conditions = conditions_text(&m);
	m.order = order_text(&m);
	if (joined->parent != NULL)
	{
		m.parent_table = tide_shadow_sql_table(m.sql, joined->parent->node->relid);
		m.on = join_text(&m);
	}
	if (joined->parent != NULL && node->row_limit > 0)
		make_child_limit(&m);
	else if (joined->parent != NULL)
		make_child(&m);
	else if (node->row_limit > 0)
		make_root_limit(&m);
	else if (node->subfilter != NULL)
		joined->recompute_sql =
			psprintf("SELECT z.ctid FROM tide_rows r JOIN %s z ON z.ctid = r.tid WHERE true%s",
					 m.table, m.conditions);
	make_windows(&m);
	return m.sql;
}

void
tide_tree_make_sql(TideIngest *in, TideJoined *joined)
{
	MemoryContext old = MemoryContextSwitchTo(in->watch_context);

	tide_tree_make_reaches(in, joined, tide_tree_make_texts(in->sources, joined));
	tide_tree_mark_columns(in, joined);
	MemoryContextSwitchTo(old);
}
