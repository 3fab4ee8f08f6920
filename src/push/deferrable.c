/*
 * deferrable.c
 *	  Whether the database has deferrable constraints.
 *
 * All of pg_constraint has to be read for it, so the answer is kept until a constraint
 * changes. Not one that was read under a transaction's snapshot: that may be older than the
 * change for which the callback has already come.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/inval.h"
#include "utils/syscache.h"

#include "push/deferrable.h"
#include "util/spi.h"

static TideDeferrable kept;
static bool is_kept = false;
static uint64 changes = 0;		/* told so far */

static void forget(Datum arg, int cacheid, uint32 hashvalue);

TideDeferrable
tide_deferrable_read(void)
{
	static SPIPlanPtr plan = NULL;
	static bool is_registered = false;
	uint64		before = changes;
	Datum		all_deferred;
	bool		isnull;

	if (is_kept)
		return kept;
	if (!is_registered)
		CacheRegisterSyscacheCallback(CONSTROID, forget, (Datum) 0);
	is_registered = true;

	tide_spi_run(&plan,
				 "SELECT pg_catalog.bool_and(condeferred) FROM pg_catalog.pg_constraint"
				 " WHERE condeferrable",
				 0, NULL, NULL, NULL, false, 1);
	all_deferred = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	kept.any = !isnull;
	kept.all_deferred = !isnull && DatumGetBool(all_deferred);
	/* a change told while the statement ran may not be in what it saw */
	is_kept = changes == before && !IsolationUsesXactSnapshot();
	return kept;
}

static void
forget(Datum arg, int cacheid, uint32 hashvalue)
{
	is_kept = false;
	changes++;
}
