/*
 * set_commit.c
 *	  Elements are added when their transaction commits, not when a push notes them.
 *
 * A checkpoint made between a push and its commit does not contain what it adds, so who has seen that
 * checkpoint has not seen the elements. Hence their LSNs are moved up to the last moment in which the transaction
 * can write. What is left is a commit of others between that and our own commit record. The
 * client's row is locked until then, so nobody else notes elements of the client.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

#include "push/set_commit.h"
#include "util/spi.h"

typedef struct Noted
{
	pg_uuid_t	client;
	XLogRecPtr	first;			/* its elements noted in this transaction are
								 * not before it */
} Noted;

/* of this transaction, in TopTransactionContext */
static List *noted = NIL;

static void
move_elements(const Noted *client)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, LSNOID, LSNOID};
	Datum		values[] = {
		UUIDPGetDatum(&client->client), LSNGetDatum(client->first),
		LSNGetDatum(GetXLogInsertRecPtr())
	};

	tide_spi_run(&plan,
				 "UPDATE tide_internal.set_elements SET lsn = $3"
				 " WHERE client_id = $1 AND lsn >= $2",
				 lengthof(types), types, values, NULL, false, 0);
}

static void
on_xact(XactEvent event, void *arg)
{
	TideSpiFrame frame;
	ListCell   *lc;

	if (noted == NIL || event == XACT_EVENT_PARALLEL_PRE_COMMIT)
		return;
	if ((event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE) &&
		OidIsValid(get_extension_oid("pg_tide", true))) /* not dropped since */
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		tide_spi_begin(&frame, TIDE_AS_OWNER);
		foreach(lc, noted)
			move_elements(lfirst(lc));
		tide_spi_end(&frame);
		PopActiveSnapshot();
	}
	noted = NIL;
}

void
tide_set_commit_later(const pg_uuid_t *client, XLogRecPtr lsn)
{
	static bool is_registered = false;
	MemoryContext old;
	Noted	   *entry;
	ListCell   *lc;

	if (!is_registered)
		RegisterXactCallback(on_xact, NULL);
	is_registered = true;
	foreach(lc, noted)
	{
		if (memcmp(&((Noted *) lfirst(lc))->client, client, UUID_LEN) == 0)
			return;
	}
	old = MemoryContextSwitchTo(TopTransactionContext);
	entry = palloc(sizeof(Noted));
	entry->client = *client;
	entry->first = lsn;
	noted = lappend(noted, entry);
	MemoryContextSwitchTo(old);
}
