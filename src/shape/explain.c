/*
 * explain.c
 *	  What tide.explain_shape shows.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "catalog/missing.h"
#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "shape/explain.h"
#include "shape/plan_share.h"
#include "shape/table_check.h"
#include "util/spi.h"

static SPIPlanPtr count_plan = NULL;

static char *
type_text(Oid type)
{
	return tide_type_exists(type) ? format_type_be(type) : pstrdup("dropped type");
}

/* SQL as ruleutils.c breaks it, on one line */
static char *
one_line(char *sql)
{
	char	   *to = sql;

	for (char *from = sql; *from != '\0'; from++)
	{
		if (*from == '\n')
		{
			from += strspn(from, " \n") - 1;
			if (to > sql && to[-1] != ' ')
				*to++ = ' ';
		}
		else
			*to++ = *from;
	}
	*to = '\0';
	return sql + strspn(sql, " ");
}

/* a node being shown */
typedef struct Explain
{
	StringInfo	out;
	const char *indent;
	const TideShapeNode *node;
	List	   *context;		/* to deparse expressions over the row */
} Explain;

/* "name: ", to be followed by what it is */
static void
begin_line(Explain *explain, const char *name)
{
	appendStringInfo(explain->out, "%s%s: ", explain->indent, name);
}

static char *
table_text(Oid relid)
{
	char	   *table = get_rel_name(relid);

	if (table == NULL)
		return "(dropped)";
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), table);
}

/* the Param that stands for the checkpoint's time as people write it */
static Node *
show_now_mutator(Node *node, void *context)
{
	Param	   *param = (Param *) node;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && param->paramkind == PARAM_EXTERN && param->paramid == TIDE_PARAM_NOW)
		return (Node *) makeFuncExpr(F_NOW, TIMESTAMPTZOID, NIL, InvalidOid, InvalidOid,
									 COERCE_EXPLICIT_CALL);
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, show_now_mutator, context, 0);
	return expression_tree_mutator(node, show_now_mutator, context);
}

/* an expression over the node's row */
static char *
row_text(Explain *explain, Node *expr)
{
	const char *missing = tide_missing_text(expr);

	if (missing != NULL)
		return psprintf("(%s)", missing);
	return deparse_expression(show_now_mutator(expr, NULL), explain->context, false, false);
}

/* columns of the parent's row, varno 1, one level up, where deparsing looks for them */
static Node *
join_vars_mutator(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		var->varlevelsup = var->varno == 1 ? 1 : 0;
		var->varno = 1;
		var->varnosyn = 1;
		return (Node *) var;
	}
	return expression_tree_mutator(node, join_vars_mutator, context);
}

static void
explain_join(Explain *explain, const TideShapeNode *parent)
{
	const TideShapeNode *node = explain->node;
	List	   *context = list_concat(deparse_context_for(get_rel_name(node->relid), node->relid),
									  deparse_context_for("parent", parent->relid));

	const char *missing = tide_missing_text(node->join_on);

	begin_line(explain, "on");
	if (missing != NULL)
		appendStringInfo(explain->out, "(%s)\n", missing);
	else
		appendStringInfo(explain->out, "%s\n",
						 deparse_expression(join_vars_mutator(node->join_on, NULL), context, true, false));
}

static void
explain_columns(Explain *explain)
{
	const TideShapeNode *node = explain->node;

	begin_line(explain, "columns");
	for (int i = 0; i < node->ncolumns; i++)
	{
		char	   *name = tide_column_name(node->relid, node->columns[i]);

		appendStringInfo(explain->out, "%s%s", i > 0 ? ", " : "",
						 name ? quote_identifier(name) : "(dropped)");
	}
	appendStringInfoChar(explain->out, '\n');
}

static void
explain_arg(StringInfo out, const TideKeyArg *arg)
{
	if (arg->name == NULL)
		appendStringInfoString(out, quote_literal_cstr(arg->constant));
	else
		appendStringInfo(out, "%s.%s", arg->is_claim ? "claims" : "params",
						 quote_identifier(arg->name));
}

/* number, from 1, of the lookup that gives values to a key part; 0 if there is none */
static int
lookup_of_part(const TideShapeNode *node, int part, bool *negated)
{
	ListCell   *lc;

	foreach(lc, node->lookups)
	{
		TideKeyLookup *lookup = lfirst(lc);

		*negated = lookup->negated;
		if (part >= lookup->first_part && part < lookup->first_part + lookup->nparts)
			return foreach_current_index(lc) + 1;
	}
	return 0;
}

/*
 * team_id (uuid) = claims.team; status (text) IN (params.a, 'b'); id (integer) = ANY (params.ids);
 * elements of tags (text) = ANY (params.tags); team_id (uuid) in lookup 1
 */
static void
explain_key_part(Explain *explain, int number)
{
	StringInfo	out = explain->out;
	const TideKeyPart *part = list_nth(explain->node->key_parts, number);
	const TideKeyArg *first = part->args ? linitial(part->args) : NULL;
	bool		is_any = first != NULL && first->is_array;
	bool		is_list = list_length(part->args) != 1;
	bool		negated = false;
	int			lookup = lookup_of_part(explain->node, number, &negated);
	ListCell   *lc;

	appendStringInfo(out, "%s  %s%s (%s) ", explain->indent, part->is_set ? "elements of " : "",
					 row_text(explain, part->expr), type_text(part->type));
	if (lookup > 0)
	{
		appendStringInfo(out, "%sin lookup %d\n", negated ? "not " : "", lookup);
		return;
	}
	appendStringInfoString(out, is_any ? "= ANY (" : is_list ? "IN (" : "= ");
	foreach(lc, part->args)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, ", ");
		explain_arg(out, lfirst(lc));
	}
	appendStringInfoString(out, is_any || is_list ? ")\n" : "\n");
}

static void
explain_key(Explain *explain)
{
	int			nparts = list_length(explain->node->key_parts);

	if (nparts == 0)
	{
		begin_line(explain, "bucket key");
		appendStringInfoString(explain->out, explain->node->parent_id < 0 ?
							   "none, one bucket for all\n" : "of its parent\n");
		return;
	}
	appendStringInfo(explain->out, "%sbucket key:%s\n", explain->indent,
					 explain->node->parent_id < 0 ? "" : " of its parent, and");
	for (int i = 0; i < nparts; i++)
		explain_key_part(explain, i);
}

static void
explain_lookup(Explain *explain, const TideKeyLookup *lookup, int number)
{
	Query	   *query = castNode(Query, show_now_mutator((Node *) lookup->query, NULL));
	ListCell   *lc;

	const char *missing = tide_missing_text((Node *) lookup->query);

	begin_line(explain, psprintf("lookup %d", number));
	if (missing != NULL)
	{
		appendStringInfo(explain->out, "(%s)\n", missing);
		return;
	}
	appendStringInfo(explain->out, "%s\n", one_line(pg_get_querydef(query, false)));
	foreach(lc, lookup->refs)
	{
		TideLookupRef *ref = lfirst(lc);

		appendStringInfo(explain->out, "%s  $%d: %s.%s (%s)\n", explain->indent,
						 TIDE_PARAM_NOW + 1 + foreach_current_index(lc),
						 ref->is_claim ? "claims" : "params", quote_identifier(ref->name),
						 type_text(ref->type));
	}
}

static void
explain_order(Explain *explain)
{
	ListCell   *lc;

	begin_line(explain, "limit");
	appendStringInfo(explain->out, "the first " INT64_FORMAT " of each %s by ",
					 explain->node->row_limit,
					 explain->node->parent_id < 0 ? "bucket" : "parent row");
	foreach(lc, explain->node->order_by)
	{
		TideSortKey *key = lfirst(lc);

		appendStringInfo(explain->out, "%s%s%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 row_text(explain, key->expr), key->descending ? " DESC" : "",
						 key->nulls_first == key->descending ? "" :
						 key->nulls_first ? " NULLS FIRST" : " NULLS LAST");
	}
	appendStringInfoChar(explain->out, '\n');
}

static void
explain_conditions(Explain *explain)
{
	const TideShapeNode *node = explain->node;
	ListCell   *lc;

	begin_line(explain, "filter");
	appendStringInfo(explain->out, "%s\n", node->filter ? row_text(explain, node->filter) : "none");
	foreach(lc, node->windows)
	{
		TideTimeWindow *window = lfirst(lc);

		begin_line(explain, "time window");
		appendStringInfo(explain->out, "%s passes %s\n", row_text(explain, window->expr),
						 row_text(explain, window->bound));
	}
	if (node->subfilter != NULL)
	{
		begin_line(explain, "subfilter");
		appendStringInfo(explain->out, "%s\n", one_line(row_text(explain, node->subfilter)));
	}
	explain_key(explain);
	foreach(lc, node->lookups)
		explain_lookup(explain, lfirst(lc), foreach_current_index(lc) + 1);
	if (node->row_limit > 0)
		explain_order(explain);
}

static void
explain_indexes(Explain *explain, const TideShape *shape)
{
	List	   *indexes = tide_explain_indexes(shape, explain->node);
	ListCell   *lc;

	if (indexes == NIL)
		return;
	begin_line(explain, "indexes");
	foreach(lc, indexes)
		appendStringInfo(explain->out, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 (char *) lfirst(lc));
	appendStringInfoChar(explain->out, '\n');
}

static void
explain_strategy(Explain *explain, List *statements)
{
	ListCell   *lc;

	begin_line(explain, "strategy");
	appendStringInfoString(explain->out, tide_node_is_direct(explain->node) ?
						   "direct, evaluated per row by the ingest, no SQL generated\n" :
						   "joined, by SQL over the shadow tables at the end of a batch\n");
	foreach(lc, statements)
		appendStringInfo(explain->out, "%s  %s\n", explain->indent, one_line(lfirst(lc)));
}

/* fields of a node, indented; shape->nodes has its parent */
static void
explain_node(StringInfo out, const TideShape *shape, const TideShapeNode *node, List *statements)
{
	bool		is_only = list_length(shape->nodes) == 1;
	const TideShapeNode *parent = node->parent_id < 0 ? NULL :
	list_nth(shape->nodes, node->parent_id);
	Explain		explain = {.out = out,.indent = is_only ? "  " : "    ",.node = node};

	if (!is_only && parent == NULL)
		appendStringInfo(out, "  node %d:\n", node->node_id);
	else if (!is_only)
		appendStringInfo(out, "  node %d: %s, below node %d\n", node->node_id, node->path,
						 node->parent_id);
	begin_line(&explain, "table");
	appendStringInfo(out, "%s\n", table_text(node->relid));
	if (get_rel_name(node->relid) == NULL)
		return;
	explain.context = deparse_context_for(get_rel_name(node->relid), node->relid);
	if (parent != NULL && get_rel_name(parent->relid) != NULL)
		explain_join(&explain, parent);
	explain_columns(&explain);
	explain_conditions(&explain);
	explain_indexes(&explain, shape);
	explain_strategy(&explain, statements);
}

static void
explain_counts(StringInfo out, const TideShape *shape)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape->shape_id)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&count_plan,
				 "SELECT count(*), coalesce(sum(row_count), 0)"
				 " FROM tide_internal.buckets WHERE shape_id = $1",
				 1, types, values, NULL, true, 1);
	appendStringInfo(out, "  buckets: %s, rows: %s",
					 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
					 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	tide_spi_end(&frame);
}

char *
tide_shape_explain(const TideShape *shape, List **statements)
{
	int			nest_level = tide_settings_push();
	StringInfoData out;
	ListCell   *lc;

	initStringInfo(&out);
	appendStringInfo(&out, "shape %s (%s)\n", quote_identifier(shape->name),
					 tide_shape_state_name(shape->state));
	if (shape->nodes == NIL)
		appendStringInfoString(&out, "  not compiled yet\n");
	foreach(lc, shape->nodes)
	{
		explain_node(&out, shape, lfirst(lc),
					 statements ? statements[foreach_current_index(lc)] : NIL);
	}
	explain_counts(&out, shape);
	tide_plan_explain(&out, shape);
	tide_settings_pop(nest_level);
	return out.data;
}
