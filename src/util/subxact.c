/*
 * subxact.c
 *	  The one place that catches errors: work in a subtransaction whose failure
 *	  is an outcome and not the end.
 *
 * The order of the steps is that of PL/pgSQL's EXCEPTION blocks: an error may
 * be swallowed only after a rollback to a state from before it, and the error
 * data must be copied out of ErrorContext before FlushErrorState() empties it.
 * Where the copy fails for want of memory, the subtransaction is rolled back
 * all the same: one left open would outlive the statement, and keep the
 * session, in a transaction it has not begun, and its locks until the client says ROLLBACK.
 * Aborting the subtransaction puts back user, security context and settings,
 * and closes the SPI connections opened in it; memory context and resource
 * owner are ours to put back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "util/subxact.h"

static ErrorData *subxact_run(TideSubxactBody body, void *arg, bool keep);
static ErrorData *copy_error(int nest_level);
static void rollback_to(int nest_level);
static bool must_rethrow(int sqlerrcode);

ErrorData *
tide_subxact_run(TideSubxactBody body, void *arg)
{
	ErrorData  *error = subxact_run(body, arg, true);

	if (error != NULL && must_rethrow(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

ErrorData *
tide_subxact_try(TideSubxactBody body, void *arg)
{
	return subxact_run(body, arg, true);
}

void
tide_subxact_rehearse(TideSubxactBody body, void *arg)
{
	ErrorData  *error = subxact_run(body, arg, false);

	if (error != NULL)
		ReThrowError(error);
}

static ErrorData *
subxact_run(TideSubxactBody body, void *arg, bool keep)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			nest_level = GetCurrentTransactionNestLevel();
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);

	PG_TRY();
	{
		body(arg);
		if (keep)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = copy_error(nest_level);
		FlushErrorState();
		rollback_to(nest_level);
	}
	PG_END_TRY();

	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* the error that was caught; one in copying it is thrown on, after the rollback */
static ErrorData *
copy_error(int nest_level)
{
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		error = CopyErrorData();
	}
	PG_CATCH();
	{
		rollback_to(nest_level);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return error;
}

/* our subtransaction, and those within that a procedural language could not end for the same reason */
static void
rollback_to(int nest_level)
{
	while (GetCurrentTransactionNestLevel() > nest_level)
		RollbackAndReleaseCurrentSubTransaction();
}

/* errors that tell about the server or the session, not about the work */
static bool
must_rethrow(int sqlerrcode)
{
	static const int categories[] = {
		ERRCODE_CONNECTION_EXCEPTION,	/* 08, of a foreign server */
		ERRCODE_INSUFFICIENT_RESOURCES, /* 53 */
		ERRCODE_OPERATOR_INTERVENTION,	/* 57 */
		ERRCODE_SYSTEM_ERROR,	/* 58 */
		ERRCODE_INTERNAL_ERROR	/* XX */
	};

	static const int codes[] = {
		ERRCODE_LOCK_NOT_AVAILABLE,
		ERRCODE_READ_ONLY_SQL_TRANSACTION,	/* of a foreign server that is a
											 * standby now */
		ERRCODE_TRANSACTION_ROLLBACK,
		ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN,
		MAKE_SQLSTATE('7', '2', '0', '0', '0'), /* snapshot too old */
		ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION,
		ERRCODE_FDW_OUT_OF_MEMORY
	};

	for (int i = 0; i < lengthof(categories); i++)
	{
		if (ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_TO_CATEGORY(categories[i]))
			return true;
	}
	for (int i = 0; i < lengthof(codes); i++)
	{
		if (sqlerrcode == codes[i])
			return true;
	}
	return false;
}
