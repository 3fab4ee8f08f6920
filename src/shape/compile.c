/*
 * compile.c
 *	  From a shape's definition to its checked, typed form.
 *
 * Names and operators are looked up in the author's search_path, once; every other
 * setting that changes what a text means is fixed, so that the definition can be compiled
 * again from the same text and search_path with the same result.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape/compile.h"
#include "shape/definition.h"
#include "shape/expr.h"
#include "shape/join.h"
#include "shape/key_split.h"
#include "shape/table_check.h"
#include "shape/time_window.h"
#include "util/compat.h"
#include "util/spi.h"

/* nodes of one shape; each costs work for every change of its table */
#define MAX_NODES	100

/* for error messages: what is being compiled */
typedef struct CompileContext
{
	const char *shape;
	const char *field;			/* NULL: the definition as a whole */
	const char *text;			/* what error positions point into, or NULL */
	int			prefix;			/* positions are off by as much */
	List	   *nodes;			/* of TideShapeNode, as far as compiled */
} CompileContext;

/* the parent of what is being compiled */
typedef struct Parent
{
	TideShapeNode *node;
	TideExprRow row;
} Parent;

static void
compile_error_callback(void *arg)
{
	CompileContext *context = arg;
	int			position = geterrposition();

	if (context->text != NULL && position > 0)
	{
		errposition(0);
		internalerrposition(position - context->prefix);
		internalerrquery(context->text);
	}
	if (geterrcode() == ERRCODE_AMBIGUOUS_ALIAS)
		errhint("The include's row is known by the include's name and its table's, the parent's row as \"parent\".");
	if (context->field != NULL)
		errcontext("\"%s\" of shape \"%s\"", context->field, context->shape);
	else
		errcontext("definition of shape \"%s\"", context->shape);
}

/* fixed settings of util/spi.h but the author's search_path; returns the nest level */
static int
compile_settings_push(void)
{
	char	   *search_path = pstrdup(namespace_search_path);
	int			nest_level = tide_settings_push();

	(void) set_config_option("search_path", search_path, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("standard_conforming_strings", "on", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("transform_null_equals", "off", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

/* the columns asked for, or all, with the key's; offset attnums */
static Bitmapset *
shown_columns(Relation rel, const TideShapeDefinition *definition)
{
	TupleDesc	desc = RelationGetDescr(rel);
	Bitmapset  *columns = bms_copy(tide_shape_table_key(rel));
	ListCell   *lc;

	for (int i = 0; !definition->has_columns && i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && TIDE_ATT_IS_STORED(att))
			columns = bms_add_member(columns, att->attnum -
									 FirstLowInvalidHeapAttributeNumber);
	}

	foreach(lc, definition->columns)
	{
		char	   *name = lfirst(lc);
		AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

		if (attnum <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist",
							name, RelationGetRelationName(rel))));
		if (!TIDE_ATT_IS_STORED(TupleDescAttr(desc, attnum - 1)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of table \"%s\" is generated and not stored",
							name, RelationGetRelationName(rel))));
		columns = bms_add_member(columns,
								 attnum - FirstLowInvalidHeapAttributeNumber);
	}
	return columns;
}

/* what the trees say after inlining must be as immutable as what was written */
static void
check_planned(Node *tree, const char *field)
{
	if (tide_contain_mutable_functions(tree))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("functions in \"%s\" must be immutable", field),
				 errdetail("A function that is declared immutable, or a default of its arguments, is not.")));
}

/* which text the errors that follow are about; text may be NULL */
static void
set_field(CompileContext *context, const TideShapeDefinition *definition, const char *field,
		  const char *text)
{
	context->field = tide_shape_field_name(definition, field);
	context->text = text;
	context->prefix = 0;
}

/* a node whose conditions run as SQL: expressions of its key do as well */
static void
check_joined(TideExpr *expr, const TideShapeNode *node)
{
	ListCell   *lc;

	if (tide_node_is_direct(node))
		return;
	foreach(lc, node->key_parts)
		tide_expr_check_sql(expr, ((TideKeyPart *) lfirst(lc))->expr,
							"a key of a joined table");
}

static void
check_limit(const TideShapeDefinition *definition, TideExpr *expr, List *wheres)
{
	if (definition->row_limit == 0)
		return;
	tide_expr_check_sql(expr, expr->tree, "\"where\" together with \"limit\"");
	if (list_length(wheres) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("\"limit\" cannot be combined with alternatives that depend on params or claims"),
				 errdetail("Each of them has rows, and a limit, of its own."),
				 errhint("Make a shape of each branch of the OR; before NOT IN and NOT EXISTS over claims, use columns of the primary key.")));
}

/* list of TideWhere, one without anything if there is no condition */
static List *
compile_where(CompileContext *context, const TideShapeDefinition *definition,
			  TideShapeNode *node, const TideExprRow *row)
{
	TideExpr   *expr;
	List	   *wheres;
	ListCell   *lc;

	if (definition->where == NULL)
		return list_make1(palloc0(sizeof(TideWhere)));
	set_field(context, definition, "where", definition->where);
	expr = tide_expr_parse("where", definition->where, 1, row);
	tide_expr_check(expr);
	tide_shape_check_rights(row->rel, tide_expr_columns(expr, 0));
	tide_subquery_normalise(expr->tree);
	wheres = tide_where_split(expr);
	check_limit(definition, expr, wheres);
	foreach(lc, wheres)
	{
		TideWhere  *where = lfirst(lc);
		ListCell   *lc2;

		check_planned(where->filter, "where");
		foreach(lc2, where->key_parts)
			check_planned(((TideKeyPart *) lfirst(lc2))->expr, "where");
		node->subfilter = where->subfilter;
		node->key_parts = where->key_parts;
		node->windows = where->windows;
		check_joined(expr, node);
	}
	return wheres;
}

static Node *
compile_on(CompileContext *context, const TideShapeDefinition *definition,
		   const Parent *parent, TideExprRow *row)
{
	TideExprRow rows[] = {parent->row, *row};
	Bitmapset  *columns[] = {NULL, NULL};
	Node	   *result;

	rows[0].is_parent = true;
	rows[0].no_table_name = RelationGetRelid(rows[0].rel) == RelationGetRelid(row->rel);
	set_field(context, definition, "on", definition->on);
	if (definition->on == NULL)
		result = tide_join_by_foreign_key(&rows[0], &rows[1], columns);
	else
	{
		TideExpr   *expr = tide_expr_parse("on", definition->on, lengthof(rows), rows);

		tide_expr_check(expr);
		tide_expr_check_sql(expr, expr->tree, "\"on\"");
		for (int i = 0; i < lengthof(rows); i++)
			columns[i] = tide_expr_columns(expr, i);
		result = expr->tree;
	}
	for (int i = 0; i < lengthof(rows); i++)
		tide_shape_check_rights(rows[i].rel, columns[i]);
	result = (Node *) expression_planner((Expr *) copyObject(result));
	check_planned(result, "on");
	return result;
}

/* only a limit makes order_by matter; without one it is checked and dropped */
static void
compile_order(CompileContext *context, const TideShapeDefinition *definition,
			  TideShapeNode *node, const TideExprRow *row)
{
	TideExpr   *expr;
	List	   *keys;
	ListCell   *lc;

	if (definition->order_by == NULL)
		return;
	set_field(context, definition, "order_by", definition->order_by);
	context->prefix = strlen(TIDE_ORDER_PREFIX);
	expr = tide_expr_parse_order(definition->order_by, row, &keys);
	tide_expr_check(expr);
	tide_expr_check_sql(expr, expr->tree, "\"order_by\"");
	tide_shape_check_rights(row->rel, tide_expr_columns(expr, 0));
	foreach(lc, keys)
	{
		TideSortKey *key = lfirst(lc);

		key->expr = (Node *) expression_planner((Expr *) copyObject(key->expr));
		check_planned(key->expr, "order_by");
	}
	if (node->row_limit > 0)
		node->order_by = keys;
}

static void
set_columns(TideShapeNode *node, Bitmapset *columns)
{
	int			i = -1;

	node->columns = palloc(bms_num_members(columns) * sizeof(AttrNumber));
	while ((i = bms_next_member(columns, i)) >= 0)
		node->columns[node->ncolumns++] = i + FirstLowInvalidHeapAttributeNumber;
}

static TideShapeNode *
add_node(CompileContext *context, const TideShapeNode *model, const TideWhere *where)
{
	TideShapeNode *node = palloc(sizeof(TideShapeNode));

	*node = *model;
	node->node_id = list_length(context->nodes);
	node->filter = where->filter;
	node->subfilter = where->subfilter;
	node->key_parts = where->key_parts;
	node->lookups = where->lookups;
	node->windows = where->windows;
	context->nodes = lappend(context->nodes, node);
	if (list_length(context->nodes) > MAX_NODES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("shape has more than %d tables", MAX_NODES),
				 errdetail("Each branch of an OR over parameters counts, with all that is included below it."),
				 errhint("Make several shapes of it; a client can pull them together.")));
	return node;
}

/* a table of the definition and all below it; one node, with a subtree, per disjunct of its where */
static void
compile_table(CompileContext *context, const TideShapeDefinition *definition, const Parent *parent)
{
	TideShapeNode model = {0};
	TideExprRow row = {.include = definition->name};
	Bitmapset  *columns;
	List	   *wheres;
	ListCell   *lc;

	check_stack_depth();
	set_field(context, definition, "table", NULL);
	row.rel = tide_shape_open_table(definition->table);
	model.relid = RelationGetRelid(row.rel);
	model.path = definition->path;
	model.parent_id = parent ? parent->node->node_id : -1;
	model.row_limit = definition->row_limit;

	set_field(context, definition, "columns", NULL);
	columns = shown_columns(row.rel, definition);
	set_columns(&model, columns);
	tide_shape_check_rights(row.rel, columns);
	if (parent != NULL)
		model.join_on = compile_on(context, definition, parent, &row);
	wheres = compile_where(context, definition, &model, &row);
	compile_order(context, definition, &model, &row);
	set_field(context, definition, "include", NULL);
	foreach(lc, wheres)
	{
		Parent		self = {add_node(context, &model, lfirst(lc)), row};
		ListCell   *lc2;

		foreach(lc2, definition->includes)
			compile_table(context, lfirst(lc2), &self);
	}
	relation_close(row.rel, NoLock);	/* the lock stays */
}

TideShape *
tide_shape_compile(const char *name, Jsonb *definition)
{
	TideShape  *shape = palloc0(sizeof(TideShape));
	CompileContext context = {.shape = name};
	ErrorContextCallback callback;
	int			nest_level;

	callback.callback = compile_error_callback;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	nest_level = compile_settings_push();

	shape->name = pstrdup(name);
	shape->owner = GetUserId();
	shape->state = TIDE_SHAPE_BUILDING;
	compile_table(&context, tide_shape_definition_read(definition), NULL);
	shape->nodes = context.nodes;

	tide_settings_pop(nest_level);
	error_context_stack = callback.previous;
	return shape;
}
