/*
 * init.c
 *	  Library entry: each module's start-up, in order.
 */
#include "postgres.h"

#include "fmgr.h"

#include "auth/session.h"
#include "ingest/worker.h"
#include "store/shared.h"
#include "util/compat.h"
#include "util/guc.h"

PG_MODULE_MAGIC;

void
_PG_init(void)
{
	tide_guc_init();
	tide_session_init();
	tide_shared_init();
	tide_worker_init();
}
