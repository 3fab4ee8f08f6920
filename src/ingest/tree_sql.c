/*
 * tree_sql.c
 *	  The statements by which a joined node finds and decides rows.
 *
 * In all of them z is a row of the node, p one of its parent or a version of one. Named relations:
 * tide_versions (layout of the table they are versions of, _op > 0: added, < 0: taken
 * away) and tide_rows (R: tid). Arguments: $1 time of the checkpoint, $2 of the one before,
 * $3 see tree.c.
 *
 *	recompute	of a child: (tid, _members of a parent) of rows in R, by tid
 *				of a root with a subfilter or a limit: tid of rows in R that satisfy it
 *	add			(tid, sign, _members) of rows that parent versions join, by tid;
 *				with a limit: tid of children in their windows
 *	limit		tid of rows whose window changed rows may have moved
 *	window		tid of rows whose time may have come
 *	reach		tid of rows that versions of a subquery's table may concern
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
	TideIngest *in;
	TideJoined *joined;
	TideShadowSql *sql;
	const char *table;			/* of the node */
	const char *parent_table;	/* or NULL */
	const char *on;				/* p and z, or NULL */
	const char *conditions;		/* " AND …" of z: subfilter, with a limit also filter; or "" */
	const char *order;			/* of z, key columns last; or NULL */
} Maker;

static void make_reaches(Maker *m);

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
	TideSource *source = m->joined->watch->shadow->source;
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
	for (int i = 0; i < source->nkeys; i++)
		appendStringInfo(&text, "%sz.%s", i > 0 ? ", " : "",
						 tide_shadow_sql_column(source->keys[i]));
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

void
tide_tree_make_sql(TideIngest *in, TideJoined *joined)
{
	MemoryContext old = MemoryContextSwitchTo(in->watch_context);
	TideShapeNode *node = joined->node;
	Maker		m = {.in = in, .joined = joined};

	m.sql = tide_shadow_sql_create(in->sources);
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
	make_reaches(&m);
	tide_tree_mark_deciding(joined, in);
	MemoryContextSwitchTo(old);
}

/* ---- reaches: from a subquery's tables to the node's rows ---- */

/* the subqueries around a table, outermost first, with their relations numbered through */
typedef struct Reacher
{
	Maker	   *m;
	List	   *queries;		/* of Query */
	List	   *offsets;		/* of int: varno of each one's first relation, less 1 */
	List	   *relids;			/* of all relations; the first is z */
	List	   *conditions;		/* of Node over them */
} Reacher;

static void reach_into(Reacher *r, Node *expr, bool is_conjunct);

typedef struct FlattenContext
{
	Reacher    *r;
	int			depth;			/* of the expression: 0 the node's own */
	List	   *targets;		/* of the subquery whose testexpr this is, or NIL */
} FlattenContext;

/* the relation a Var of the expression means, as one of all the relations */
static Node *
flatten_mutator(Node *node, FlattenContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);
		int			depth = context->depth - var->varlevelsup;

		if (depth > 0)
			var->varno += list_nth_int(context->r->offsets, depth - 1);
		var->varlevelsup = 0;
		return (Node *) var;
	}
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
	{
		TargetEntry *target = list_nth(context->targets, ((Param *) node)->paramid - 1);
		FlattenContext inner = {context->r, context->depth + 1, NIL};

		return flatten_mutator((Node *) target->expr, &inner);
	}
	return expression_tree_mutator(node, flatten_mutator, context);
}

static bool
has_sublink(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		return true;
	return expression_tree_walker(node, has_sublink, context);
}

/* quals of a FROM clause of inner joins */
static List *
from_quals(Node *node)
{
	List	   *quals = NIL;
	ListCell   *lc;

	if (node == NULL || IsA(node, RangeTblRef))
		return NIL;
	if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		return list_concat(list_concat(make_ands_implicit((Expr *) join->quals),
									   from_quals(join->larg)), from_quals(join->rarg));
	}
	quals = make_ands_implicit((Expr *) ((FromExpr *) node)->quals);
	foreach(lc, ((FromExpr *) node)->fromlist)
		quals = list_concat(quals, from_quals(lfirst(lc)));
	return quals;
}

/*
 * The relations between one and z, both included: by the fewest conditions. Of the rows that a subquery's
 * result came from before or comes from now, the changed one nearest to z has only unchanged ones in between,
 * so they are found as they are now. What lies beyond it may be gone, and is not asked.
 */
static Bitmapset *
relations_between(Reacher *r, int which)
{
	int			n = list_length(r->relids);
	int		   *toward = palloc0(sizeof(int) * (n + 1));	/* z; 0: not reached yet */
	List	   *reached = list_make1_int(1);
	Bitmapset  *result = bms_make_singleton(1);
	ListCell   *lc;

	toward[1] = 1;
	foreach(lc, reached)
	{
		int			from = lfirst_int(lc);
		ListCell   *lc2;

		foreach(lc2, r->conditions)
		{
			Bitmapset  *varnos = pull_varnos(NULL, lfirst(lc2));
			int			to = -1;

			while (bms_is_member(from, varnos) && (to = bms_next_member(varnos, to)) >= 0)
			{
				if (toward[to] != 0)
					continue;
				toward[to] = from;
				reached = lappend_int(reached, to);
			}
		}
	}
	for (; which > 1; which = toward[which])
		result = bms_add_member(result, which);
	return result;
}

/* statement from versions of relation number which (z is 1) to z */
static void
add_reach(Reacher *r, int which, Node *extra)
{
	Maker	   *m = r->m;
	Oid			relid = list_nth_oid(r->relids, which - 1);
	TideReach  *reach = palloc0(sizeof(TideReach));
	int			n = list_length(r->relids);
	Bitmapset  *between = relations_between(r, which);
	Oid		   *relids = palloc(sizeof(Oid) * n);
	const char **aliases = palloc(sizeof(char *) * n);
	List	   *conditions = extra ? lappend(list_copy(r->conditions), extra) : r->conditions;
	StringInfoData text;
	ListCell   *lc;

	reach->from = hash_search(m->in->watches, &relid, HASH_FIND, NULL);
	tide_tree_use(reach->from, -1);
	initStringInfo(&text);
	appendStringInfo(&text, "SELECT DISTINCT z.ctid FROM tide_versions r%d JOIN %s z ON true",
					 which, m->table);
	foreach(lc, r->relids)
	{
		int			i = foreach_current_index(lc);

		relids[i] = lfirst_oid(lc);
		aliases[i] = i == 0 ? "z" : psprintf("r%d", i + 1);
		if (i > 0 && i + 1 != which && bms_is_member(i + 1, between))
			appendStringInfo(&text, " JOIN %s %s ON true",
							 tide_shadow_sql_table(m->sql, relids[i]), aliases[i]);
		else if (!OidIsValid(relids[i]))
			relids[i] = relids[0];	/* a join's own entry: no Var is of it */
	}
	appendStringInfoString(&text, " WHERE true");
	foreach(lc, conditions)
		if (bms_is_subset(pull_varnos(NULL, lfirst(lc)), between))
			appendStringInfo(&text, " AND (%s)",
							 tide_shadow_sql_expr(m->sql, lfirst(lc), n, relids, aliases));
	reach->sql = text.data;
	m->joined->reaches = lappend(m->joined->reaches, reach);
}

static Node *
is_null(Node *expr)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = (Expr *) expr;
	test->nulltesttype = IS_NULL;
	test->argisrow = false;
	test->location = -1;
	return (Node *) test;
}

/* the comparisons of a testexpr */
static List *
comparisons(Node *testexpr)
{
	if (testexpr == NULL)
		return NIL;
	if (IsA(testexpr, BoolExpr))
		return ((BoolExpr *) testexpr)->args;
	return list_make1(testexpr);
}

/* reaches from each relation of the subquery: where it compares equal, and where nulls matter */
static void
add_reaches(Reacher *r, int offset, SubLink *link, FlattenContext *flatten, bool is_conjunct)
{
	Query	   *query = (Query *) link->subselect;
	List	   *tests = link->subLinkType == ALL_SUBLINK ? NIL : comparisons(link->testexpr);

	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		List	   *conditions = list_copy(r->conditions);
		ListCell   *lc;

		if (!OidIsValid(list_nth_oid(r->relids, offset + i - 1)))
			continue;
		foreach(lc, tests)
			r->conditions = lappend(r->conditions,
									flatten_mutator(lfirst(lc), flatten));
		add_reach(r, offset + i, NULL);
		r->conditions = conditions;
		if (is_conjunct)
			continue;
		/* [NOT] IN where it may be NULL: no comparison says whom that concerns */
		foreach(lc, tests)
		{
			ListCell   *lc2;

			foreach(lc2, ((OpExpr *) lfirst(lc))->args)
				add_reach(r, offset + i, is_null(flatten_mutator(lfirst(lc2), flatten)));
		}
	}
}

static void
reach_sublink(Reacher *r, SubLink *link, bool is_conjunct)
{
	Query	   *query = (Query *) link->subselect;
	int			depth = list_length(r->queries);
	int			offset = list_length(r->relids);
	Reacher		saved = *r;
	FlattenContext outer = {r, depth, query->targetList};
	FlattenContext inner = {r, depth + 1, NIL};
	List	   *quals = from_quals((Node *) query->jointree);
	ListCell   *lc;

	r->queries = lappend(list_copy(r->queries), query);
	r->offsets = lappend_int(list_copy(r->offsets), offset);
	r->relids = list_copy(r->relids);
	r->conditions = list_copy(r->conditions);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst(lc);

		r->relids = lappend_oid(r->relids, rte->rtekind == RTE_RELATION ? rte->relid :
								InvalidOid);
	}
	foreach(lc, quals)
		if (!has_sublink(lfirst(lc), NULL))
			r->conditions = lappend(r->conditions, flatten_mutator(lfirst(lc), &inner));
	add_reaches(r, offset, link, &outer, is_conjunct);
	foreach(lc, comparisons(link->testexpr))
		if (is_conjunct)
			r->conditions = lappend(r->conditions, flatten_mutator(lfirst(lc), &outer));
	foreach(lc, quals)
		reach_into(r, lfirst(lc), true);
	*r = saved;
}

typedef struct IntoContext
{
	Reacher    *r;
	Node	   *top;
} IntoContext;

static bool
into_walker(Node *node, IntoContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
	{
		reach_sublink(context->r, (SubLink *) node, node == context->top);
		return false;
	}
	return expression_tree_walker(node, into_walker, context);
}

/* the subqueries directly in an expression */
static void
reach_into(Reacher *r, Node *expr, bool is_conjunct)
{
	IntoContext context = {r, is_conjunct ? expr : NULL};

	(void) into_walker(expr, &context);
}

static void
make_reaches(Maker *m)
{
	Reacher		r = {.m = m};
	ListCell   *lc;

	r.relids = list_make1_oid(m->joined->node->relid);
	foreach(lc, make_ands_implicit((Expr *) m->joined->node->subfilter))
		reach_into(&r, lfirst(lc), true);
}

/* ---- which columns matter ---- */

/* mark positions of a table's columns that an expression uses; varno as in it */
static void
mark(TideWatch *watch, Node *expr, int varno, bool *decides)
{
	Bitmapset  *attnums = NULL;
	int			i = -1;

	if (expr == NULL)
		return;
	pull_varattnos(expr, varno, &attnums);
	while ((i = bms_next_member(attnums, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;
		int			position = attnum > 0 && attnum < watch->shadow->natts_source ?
			watch->shadow->attnum_pos[attnum] : -1;

		tide_tree_use(watch, position);
		if (position >= 0 && decides != NULL)
			decides[position] = true;
	}
}

typedef struct MarkContext
{
	TideIngest *in;
	TideJoined *joined;
	List	   *queries;		/* of Query around, innermost first */
} MarkContext;

/* columns that subqueries use, of their own tables and of the node's */
static bool
mark_walker(Node *node, MarkContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		bool		is_own = var->varlevelsup == list_length(context->queries);
		TideWatch  *watch = context->joined->watch;
		int			position = -1;

		if (!is_own)
		{
			Query	   *query = list_nth(context->queries, var->varlevelsup);
			RangeTblEntry *rte = list_nth(query->rtable, var->varno - 1);

			if (rte->rtekind != RTE_RELATION)
				return false;
			watch = hash_search(context->in->watches, &rte->relid, HASH_FIND, NULL);
		}
		if (var->varattno > 0 && var->varattno < watch->shadow->natts_source)
			position = watch->shadow->attnum_pos[var->varattno];
		tide_tree_use(watch, position);
		if (is_own && position >= 0)
			context->joined->decides[position] = true;
		return false;
	}
	if (IsA(node, Query))
	{
		List	   *outer = context->queries;
		bool		result;

		context->queries = lcons(node, list_copy(outer));
		result = query_tree_walker((Query *) node, mark_walker, context, 0);
		context->queries = outer;
		return result;
	}
	return expression_tree_walker(node, mark_walker, context);
}

void
tide_tree_mark_deciding(TideJoined *joined, TideIngest *in)
{
	TideShapeNode *node = joined->node;
	MarkContext context = {in, joined, NIL};
	ListCell   *lc;

	tide_tree_use(joined->watch, -1);
	mark(joined->watch, node->filter, 1, joined->decides);
	(void) mark_walker(node->subfilter, &context);
	foreach(lc, node->key_parts)
		mark(joined->watch, ((TideKeyPart *) lfirst(lc))->expr, 1, joined->decides);
	foreach(lc, node->order_by)
		mark(joined->watch, ((TideSortKey *) lfirst(lc))->expr, 1, joined->decides);
	foreach(lc, node->windows)
		mark(joined->watch, ((TideTimeWindow *) lfirst(lc))->expr, 1, joined->decides);
	if (joined->parent == NULL)
		return;
	mark(joined->watch, node->join_on, 2, joined->decides);
	mark(joined->parent->watch, node->join_on, 1, NULL);
}
