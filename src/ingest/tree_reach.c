/*
 * tree_reach.c
 *	  Statements from versions of a subquery's tables to the node's rows they may concern.
 *
 * z is a row of the node; the relations of the subqueries around a table are r2, r3, …, and
 * what they compare joins them. Named relation: tide_versions, of the table in question.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"

#include "ingest/tree.h"
#include "store/shadow_sql.h"

/* the subqueries around a table, outermost first, with their relations numbered through */
typedef struct Reacher
{
	TideIngest *in;
	TideJoined *joined;
	TideShadowSql *sql;
	const char *table;			/* of the node */
	List	   *queries;		/* of Query */
	List	   *offsets;		/* of int: varno of each one's first relation,
								 * less 1 */
	List	   *relids;			/* of all relations; the first is z */
	List	   *conditions;		/* of Node over them */
} Reacher;

static void reach_into(Reacher *r, Node *expr, bool is_conjunct);

typedef struct FlattenContext
{
	Reacher    *r;
	int			depth;			/* of the expression: 0 the node's own */
	List	   *targets;		/* of the subquery whose testexpr this is, or
								 * NIL */
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
	Oid			relid = list_nth_oid(r->relids, which - 1);
	TideReach  *reach = palloc0(sizeof(TideReach));
	int			n = list_length(r->relids);
	Bitmapset  *between = relations_between(r, which);
	Oid		   *relids = palloc(sizeof(Oid) * n);
	const char **aliases = palloc(sizeof(char *) * n);
	List	   *conditions = extra ? lappend(list_copy(r->conditions), extra) : r->conditions;
	StringInfoData text;
	ListCell   *lc;

	reach->from = hash_search(r->in->watches, &relid, HASH_FIND, NULL);
	tide_tree_use(reach->from, -1);
	initStringInfo(&text);
	appendStringInfo(&text, "SELECT DISTINCT z.ctid FROM tide_versions r%d JOIN %s z ON true",
					 which, r->table);
	foreach(lc, r->relids)
	{
		int			i = foreach_current_index(lc);

		relids[i] = lfirst_oid(lc);
		aliases[i] = i == 0 ? "z" : psprintf("r%d", i + 1);
		if (i > 0 && i + 1 != which && bms_is_member(i + 1, between))
			appendStringInfo(&text, " JOIN %s %s ON true",
							 tide_shadow_sql_table(r->sql, relids[i]), aliases[i]);
		else if (!OidIsValid(relids[i]))
			relids[i] = relids[0];	/* a join's own entry: no Var is of it */
	}
	appendStringInfoString(&text, " WHERE true");
	foreach(lc, conditions)
	{
		if (bms_is_subset(pull_varnos(NULL, lfirst(lc)), between))
			appendStringInfo(&text, " AND (%s)",
							 tide_shadow_sql_expr(r->sql, lfirst(lc), n, relids, aliases));
	}
	reach->sql = text.data;
	r->joined->reaches = lappend(r->joined->reaches, reach);
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

		/*
		 * [NOT] IN where it may be NULL: no comparison says whom that
		 * concerns
		 */
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
	{
		if (!has_sublink(lfirst(lc), NULL))
			r->conditions = lappend(r->conditions, flatten_mutator(lfirst(lc), &inner));
	}
	add_reaches(r, offset, link, &outer, is_conjunct);
	foreach(lc, comparisons(link->testexpr))
	{
		if (is_conjunct)
			r->conditions = lappend(r->conditions, flatten_mutator(lfirst(lc), &outer));
	}
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

void
tide_tree_make_reaches(TideIngest *in, TideJoined *joined, TideShadowSql *sql)
{
	Reacher		r = {.in = in,.joined = joined,.sql = sql};
	ListCell   *lc;

	r.table = tide_shadow_sql_table(sql, joined->node->relid);
	r.relids = list_make1_oid(joined->node->relid);
	foreach(lc, make_ands_implicit((Expr *) joined->node->subfilter))
		reach_into(&r, lfirst(lc), true);
}
