/*
 * explain.c
 *	  What tide.explain_shape shows.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "shape/explain.h"
#include "shape/plan_share.h"
#include "shape/table_check.h"
#include "util/spi.h"

static SPIPlanPtr count_plan = NULL;

static void
explain_columns(StringInfo out, const TideShapeNode *node)
{
	appendStringInfoString(out, "  columns: ");
	for (int i = 0; i < node->ncolumns; i++)
	{
		char	   *name = tide_column_name(node->relid, node->columns[i]);

		appendStringInfo(out, "%s%s", i > 0 ? ", " : "",
						 name ? quote_identifier(name) : "(dropped)");
	}
	appendStringInfoChar(out, '\n');
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

/* team_id (uuid) = claims.team; status (text) IN (params.a, 'b'); id (integer) = ANY (params.ids) */
static void
explain_key_part(StringInfo out, const TideKeyPart *part, List *context)
{
	const TideKeyArg *first = part->args ? linitial(part->args) : NULL;
	bool		is_any = first != NULL && first->is_array;
	bool		is_list = list_length(part->args) != 1;
	ListCell   *lc;

	appendStringInfo(out, "    %s (%s) %s",
					 deparse_expression(part->expr, context, false, false),
					 format_type_be(part->type),
					 is_any ? "= ANY (" : is_list ? "IN (" : "= ");
	foreach(lc, part->args)
	{
		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, ", ");
		explain_arg(out, lfirst(lc));
	}
	appendStringInfoString(out, is_any || is_list ? ")\n" : "\n");
}

static void
explain_node(StringInfo out, const TideShapeNode *node)
{
	char	   *table = get_rel_name(node->relid);
	List	   *context;
	ListCell   *lc;

	if (table == NULL)
	{
		appendStringInfoString(out, "  table: (dropped)\n");
		return;
	}
	context = deparse_context_for(table, node->relid);
	appendStringInfo(out, "  table: %s\n",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(node->relid)),
												table));
	explain_columns(out, node);
	appendStringInfo(out, "  filter: %s\n", node->filter == NULL ? "none" :
					 deparse_expression(node->filter, context, false, false));
	if (node->key_parts == NIL)
		appendStringInfoString(out, "  bucket key: none, one bucket for all\n");
	else
		appendStringInfoString(out, "  bucket key:\n");
	foreach(lc, node->key_parts)
		explain_key_part(out, lfirst(lc), context);
	appendStringInfoString(out, "  strategy: evaluated per row by the ingest, no SQL generated\n");
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
tide_shape_explain(const TideShape *shape)
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
		explain_node(&out, lfirst(lc));
	explain_counts(&out, shape);
	tide_plan_explain(&out, shape);
	tide_settings_pop(nest_level);
	return out.data;
}
