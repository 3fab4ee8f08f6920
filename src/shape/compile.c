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
#include "optimizer/optimizer.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape/compile.h"
#include "shape/definition.h"
#include "shape/expr.h"
#include "shape/key_split.h"
#include "shape/table_check.h"
#include "util/compat.h"
#include "util/spi.h"

/* for error messages: what is being compiled */
typedef struct CompileContext
{
	const char *shape;
	const char *field;			/* NULL: the definition as a whole */
	const char *text;			/* what error positions point into, or NULL */
} CompileContext;

static void
compile_error_callback(void *arg)
{
	CompileContext *context = arg;
	int			position = geterrposition();

	if (context->text != NULL && position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->text);
	}
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
shown_columns(Relation rel, TideShapeDefinition *definition)
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
check_planned(TideShapeNode *node)
{
	bool		is_mutable = contain_mutable_functions(node->filter);
	ListCell   *lc;

	foreach(lc, node->key_parts)
		is_mutable |= contain_mutable_functions(((TideKeyPart *) lfirst(lc))->expr);
	if (is_mutable)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("functions in \"where\" must be immutable"),
				 errdetail("A function that is declared immutable, or a default of its arguments, is not.")));
}

/* filter and key parts; adds the columns used to *columns (offset attnums) */
static void
compile_where(TideShapeNode *node, Relation rel, const char *where,
			  Bitmapset **columns)
{
	TideExpr   *expr = tide_expr_parse(rel, where);

	tide_expr_check(expr);
	pull_varattnos(expr->tree, 1, columns);
	tide_shape_check_rights(rel, *columns);
	tide_key_split(expr, &node->filter, &node->key_parts);
	check_planned(node);
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
compile_node(TideShapeDefinition *definition, CompileContext *context)
{
	TideShapeNode *node = palloc0(sizeof(TideShapeNode));
	Relation	rel;
	Bitmapset  *columns;

	context->field = "table";
	rel = tide_shape_open_table(definition->table);
	node->relid = RelationGetRelid(rel);
	node->path = pstrdup("");

	context->field = "columns";
	columns = shown_columns(rel, definition);
	set_columns(node, columns);
	tide_shape_check_rights(rel, columns);

	if (definition->where != NULL)
	{
		context->field = "where";
		context->text = definition->where;
		compile_where(node, rel, definition->where, &columns);
	}
	relation_close(rel, NoLock);	/* the lock stays */
	return node;
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
	shape->nodes = list_make1(compile_node(tide_shape_definition_read(definition),
										   &context));

	tide_settings_pop(nest_level);
	error_context_stack = callback.previous;
	return shape;
}
