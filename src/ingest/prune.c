/*
 * prune.c
 *	  What is past its retention of the mutation log and of the clients.
 *
 * An entry of the log answers a push that is sent again, and tells a pull of a
 * rejection. It goes when it is old, acknowledged by a checkpoint, and not a rejection the
 * client may not have heard of ("rejected_seen" of a later push says it has).
 *
 * A client that has not pushed for long expires, once a checkpoint contains all it
 * has pushed: its log goes, and its row stays for good, as the one thing that can
 * tell which of its mutations were taken. A push locks that row, so a client either
 * expires before a push, which then changes nothing, or has just pushed.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "ingest/prune.h"
#include "util/guc.h"
#include "util/spi.h"

/* log entries or clients, a statement */
#define PRUNE_ROWS		1000

static bool trim_log(void);
static bool expire_clients(void);
static bool trim_expired(void);
static bool run(SPIPlanPtr *plan, const char *sql, int retention);

bool
tide_prune_step(void)
{
	bool		more = false;
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (tide_mutation_retention >= 0)
		more |= trim_log();
	if (tide_client_retention >= 0)
		more |= expire_clients();
	more |= trim_expired();
	tide_spi_end(&frame);
	return more;
}

static bool
trim_log(void)
{
	static SPIPlanPtr plan = NULL;

	return run(&plan,
			   "DELETE FROM tide_internal.mutations WHERE ctid = ANY (ARRAY("
			   "SELECT m.ctid FROM tide_internal.mutations m"
			   " JOIN tide_internal.clients c ON c.client_id = m.client_id"
			   " JOIN tide_internal.acks a ON a.client_id = m.client_id"
			   " WHERE m.at < pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2)"
			   " AND m.mutation_id <= a.last_mutation_id"
			   " AND (m.status <> 'rejected' OR m.mutation_id <= c.rejected_seen)"
			   " LIMIT $1 FOR UPDATE OF m SKIP LOCKED))",
			   tide_mutation_retention);
}

/* not one that is pushing just now */
static bool
expire_clients(void)
{
	static SPIPlanPtr plan = NULL;

	return run(&plan,
			   "UPDATE tide_internal.clients SET expired_at = pg_catalog.clock_timestamp()"
			   " WHERE client_id = ANY (ARRAY("
			   "SELECT c.client_id FROM tide_internal.clients c"
			   " JOIN tide_internal.acks a ON a.client_id = c.client_id"
			   " WHERE c.expired_at IS NULL AND c.last_mutation_id <= a.last_mutation_id"
			   " AND coalesce(c.last_push_at, c.created_at) <"
			   " pg_catalog.clock_timestamp() - pg_catalog.make_interval(secs => $2)"
			   " LIMIT $1 FOR UPDATE OF c SKIP LOCKED))",
			   tide_client_retention);
}

/* the log of expired clients, whatever its age */
static bool
trim_expired(void)
{
	static SPIPlanPtr trim_plan = NULL;
	static SPIPlanPtr done_plan = NULL;

	if (run(&trim_plan,
			"DELETE FROM tide_internal.mutations WHERE ctid = ANY (ARRAY("
			"SELECT m.ctid FROM (SELECT c.client_id FROM tide_internal.clients c"
			" WHERE c.expired_at IS NOT NULL AND NOT c.is_trimmed"
			" ORDER BY c.client_id LIMIT $1) e"
			" JOIN tide_internal.mutations m ON m.client_id = e.client_id LIMIT $1))", 0))
		return true;
	return run(&done_plan,
			   "UPDATE tide_internal.clients SET is_trimmed = true"
			   " WHERE client_id = ANY (ARRAY("
			   "SELECT c.client_id FROM tide_internal.clients c"
			   " WHERE c.expired_at IS NOT NULL AND NOT c.is_trimmed"
			   " AND NOT EXISTS (SELECT FROM tide_internal.mutations m"
			   " WHERE m.client_id = c.client_id)"
			   " LIMIT $1 FOR UPDATE SKIP LOCKED))", 0);
}

/* $1 is the number of rows, $2 a retention in seconds; whether there may be more rows */
static bool
run(SPIPlanPtr *plan, const char *sql, int retention)
{
	static const Oid types[] = {INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(PRUNE_ROWS), Int64GetDatum(retention)};

	(void) tide_spi_run(plan, sql, lengthof(types), types, values, NULL, false, 0);
	return SPI_processed == PRUNE_ROWS;
}
