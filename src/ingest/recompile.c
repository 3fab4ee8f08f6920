/*
 * recompile.c
 *	  Compiling shapes anew from their definitions, as their owners.
 *
 * A shape that does not compile fails, and is tried again after DDL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "catalog/shape_catalog.h"
#include "ingest/apply.h"
#include "ingest/recompile.h"
#include "shape/compile.h"
#include "util/spi.h"
#include "util/subxact.h"

typedef struct Recompile
{
	TideShape  *shape;
	TideShape  *compiled;
	MemoryContext context;		/* of compiled */
	Jsonb	   *definition;
	char	   *search_path;
} Recompile;

/* as the shape's owner, in a subtransaction */
static void
recompile_body(void *arg)
{
	Recompile  *work = arg;
	TideSpiFrame frame;
	MemoryContext old;

	tide_user_push(&frame, work->shape->owner);
	(void) set_config_option("search_path", work->search_path, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	old = MemoryContextSwitchTo(work->context);
	work->compiled = tide_shape_compile(work->shape->name, work->definition);
	MemoryContextSwitchTo(old);
	tide_user_pop(&frame);
	tide_catalog_insert_nodes(work->shape->shape_id, work->compiled->nodes);
}

/* definition and search_path of a shape, in the current context */
static void
read_definition(Recompile *work)
{
	MemoryContext result = CurrentMemoryContext;
	MemoryContext old;
	TideSpiFrame frame;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(work->shape->shape_id)};
	bool		isnull;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("SELECT definition, search_path FROM tide_internal.shapes"
							  " WHERE shape_id = $1", 1, types, values, NULL, false, 1) !=
		SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read shape %d", work->shape->shape_id);
	old = MemoryContextSwitchTo(result);
	work->definition = DatumGetJsonbPCopy(SPI_getbinval(SPI_tuptable->vals[0],
														SPI_tuptable->tupdesc, 1, &isnull));
	work->search_path = TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[0],
														  SPI_tuptable->tupdesc, 2,
														  &isnull));
	MemoryContextSwitchTo(old);
	tide_spi_end(&frame);
}

/* whether an error says nothing of the shape: a deadlock with who alters a table, say */
static bool
is_passing(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* insufficient
														 * resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
			return true;
		default:
			return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* for tide.shapes: which table, and what is wrong with it. Definitions have no rows' values that it could tell */
static const char *
reason_of(const ErrorData *error)
{
	return error->detail ? psprintf("%s: %s", error->message, error->detail) : error->message;
}

TideShape *
tide_recompile(TideShape *shape)
{
	Recompile	work = {.shape = shape,.context = CurrentMemoryContext};
	ErrorData  *error;

	read_definition(&work);
	error = tide_subxact_run(recompile_body, &work);
	if (error != NULL && is_passing(error))
		ReThrowError(error);
	tide_catalog_set_shape_state(shape->shape_id,
								 error ? TIDE_SHAPE_FAILED : TIDE_SHAPE_BUILDING, 0,
								 error ? reason_of(error) : NULL);
	return error ? NULL : work.compiled;
}

bool
tide_recompile_pending(TideIngest *in, bool *later)
{
	ListCell   *lc;

	foreach(lc, in->shapes)
	{
		TideShape  *shape = lfirst(lc);

		if (shape->nodes != NIL || shape->state == TIDE_SHAPE_FAILED)
			continue;
		if (!tide_catalog_try_lock())
		{
			*later = true;
			return false;
		}
		(void) tide_spi_run_for("DELETE FROM tide_internal.buckets WHERE shape_id = $1",
								shape->shape_id);
		(void) tide_recompile(shape);
		return true;
	}
	return false;
}

void
tide_recompile_from_nothing(int shape_id)
{
	(void) tide_spi_run_for("DELETE FROM tide_internal.buckets WHERE shape_id = $1", shape_id);
	(void) tide_spi_run_for("UPDATE tide_internal.shapes SET redefined = false"
							" WHERE shape_id = $1 AND redefined", shape_id);
}

bool
tide_recompile_shapes(List *shapes, bool *later)
{
	ListCell   *lc;

	if (!tide_catalog_try_lock())
	{
		*later = true;
		return false;
	}
	tide_apply_begin();
	foreach(lc, shapes)
	{
		TideShape  *shape = lfirst(lc);

		(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes WHERE shape_id = $1",
								shape->shape_id);
		(void) tide_spi_run_for("DELETE FROM tide_internal.shape_sources WHERE shape_id = $1",
								shape->shape_id);
		(void) tide_recompile(shape);
	}
	tide_apply_end();
	return true;
}

List *
tide_node_expressions(const TideShapeNode *node)
{
	List	   *result = list_make3(node->filter, node->join_on, node->subfilter);
	ListCell   *lc;

	foreach(lc, node->key_parts)
		result = lappend(result, ((TideKeyPart *) lfirst(lc))->expr);
	foreach(lc, node->lookups)
		result = lappend(result, ((TideKeyLookup *) lfirst(lc))->query);
	foreach(lc, node->order_by)
		result = lappend(result, ((TideSortKey *) lfirst(lc))->expr);
	foreach(lc, node->windows)
		result = lappend(result, list_make2(((TideTimeWindow *) lfirst(lc))->expr,
											((TideTimeWindow *) lfirst(lc))->bound));
	return result;
}

/* whether two compiled forms of a definition show the same columns, and use the same ones as the same types */
static bool
are_same(const TideShape *a, const TideShape *b)
{
	ListCell   *lca;
	ListCell   *lcb;

	if (list_length(a->nodes) != list_length(b->nodes))
		return false;
	forboth(lca, a->nodes, lcb, b->nodes)
	{
		const TideShapeNode *x = lfirst(lca);
		const TideShapeNode *y = lfirst(lcb);

		if (x->relid != y->relid || x->ncolumns != y->ncolumns ||
			memcmp(x->columns, y->columns, sizeof(AttrNumber) * x->ncolumns) != 0 ||
			!equal(tide_node_expressions(x), tide_node_expressions(y)))
			return false;
	}
	return true;
}

bool
tide_recompile_tree(TideShape *shape, bool *same, bool *later)
{
	TideShape  *compiled;
	bool		locked = true;
	ListCell   *lc;

	/* who alters one of the tables may wait for another, which we have locked */
	*same = false;
	foreach(lc, tide_shape_relids(shape))
	{
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			locked = false;
	}
	if (!locked || !tide_catalog_try_lock())
	{
		*later = true;
		return false;
	}
	tide_apply_begin();
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes WHERE shape_id = $1", shape->shape_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_sources WHERE shape_id = $1",
							shape->shape_id);
	compiled = tide_recompile(shape);
	*same = compiled != NULL && are_same(shape, compiled);
	if (compiled != NULL && shape->redefined && !*same &&
		!tide_shape_map_nodes(shape, compiled,
							  palloc(sizeof(int16) * list_length(compiled->nodes))))
		tide_recompile_from_nothing(shape->shape_id);
	tide_apply_end();
	return true;
}

void
tide_recompile_unprepared(TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->unprepared)
	{
		tide_recompile_from_nothing(lfirst_int(lc));
		in->needs_reload = true;
	}
	if (in->unprepared != NIL)
		tide_buckets_reset(in->buckets);
	in->unprepared = NIL;
}
