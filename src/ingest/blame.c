/*
 * blame.c
 *	  What an ERROR of the ingest is due to, and going on without that.
 *
 * One shape that cannot be kept does not stop the others: the worker, or a tide.ingest(), undoes the batch, has the
 * shape fail, and reads the batch again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "catalog/shape_catalog.h"
#include "ingest/blame.h"
#include "ingest/ingest.h"
#include "ingest/plan_group.h"
#include "util/spi.h"

List *
tide_blame_take(void)
{
	List	   *shape_ids = tide_evaluating_shape != 0 ? tide_evaluating_shapes() : NIL;

	tide_evaluating_none();
	return shape_ids;
}

/* whether an error says something about the server or the session, and nothing about shapes */
static bool
is_servers_fault(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* insufficient
														 * resources */
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'):	/* lock not available */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
			return true;
		default:
			return false;
	}
}

/*
 * Sources break that have lost the type of a column, whose values were about to be stored: no
 * shape is to blame for what comes of that, and the next try compares the tables. Whether there were any.
 */
static bool
break_lost_types(void)
{
	MemoryContext mine = CurrentMemoryContext;
	List	   *source_ids = NIL;
	ListCell   *lc;
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute("SELECT DISTINCT s.source_id FROM tide_internal.sources s JOIN pg_catalog.pg_attribute a"
					" ON a.attrelid = pg_catalog.to_regclass('tide_shadow.t' || s.source_id)"
					" WHERE s.state = 'live' AND a.attnum > 0 AND NOT a.attisdropped"
					" AND NOT EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid)",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for dropped types");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		is_null;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &is_null);
		MemoryContext old = MemoryContextSwitchTo(mine);

		source_ids = lappend_int(source_ids, DatumGetInt32(id));
		MemoryContextSwitchTo(old);
	}
	tide_spi_end(&frame);
	foreach(lc, source_ids)
	{
		tide_catalog_set_source_broken(lfirst_int(lc));
	}
	return source_ids != NIL;
}

static void
store_error(const char *message)
{
	TideSpiFrame frame;
	Oid			types[] = {TEXTOID};
	Datum		values[1];

	values[0] = CStringGetTextDatum(message);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute_with_args("UPDATE tide_internal.state SET last_error = $1,"
							  " last_error_at = pg_catalog.clock_timestamp()",
							  1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the ingest's error");
	tide_spi_end(&frame);
}

bool
tide_blame_note(const ErrorData *error, List **shape_ids)
{
	bool		is_servers = is_servers_fault(error);
	ListCell   *lc;

	if (!is_servers && break_lost_types())
	{
		*shape_ids = NIL;
		return true;
	}
	if (is_servers)
		*shape_ids = NIL;
	foreach(lc, *shape_ids)
	{
		tide_catalog_set_shape_state(lfirst_int(lc), TIDE_SHAPE_FAILED, 0, error->message);
	}
	store_error(error->message);
	return *shape_ids != NIL;
}
