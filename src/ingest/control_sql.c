/*
 * control_sql.c
 *	  SQL entry points of the ingest.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "ingest/control.h"
#include "store/checkpoint.h"
#include "store/shared.h"
#include "util/errors.h"

PG_FUNCTION_INFO_V1(tide_sql_start);
PG_FUNCTION_INFO_V1(tide_sql_stop);
PG_FUNCTION_INFO_V1(tide_sql_reset);
PG_FUNCTION_INFO_V1(tide_sql_ingest);
PG_FUNCTION_INFO_V1(tide_sql_sync);
PG_FUNCTION_INFO_V1(tide_sql_wait);
PG_FUNCTION_INFO_V1(tide_sql_worker_info);

/* milliseconds of a timeout argument. ERROR 22023 if it is negative */
static long
timeout_ms(Interval *timeout)
{
	double		ms = timeout->time / 1000.0 +
	(timeout->day + timeout->month * (double) DAYS_PER_MONTH) * SECS_PER_DAY * 1000.0;

	if (ms < 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("timeout must not be negative")));
	return (long) Min(ms, INT_MAX / 2);
}

static void
latest_checkpoint(TideCheckpoint *checkpoint)
{
	PushActiveSnapshot(GetLatestSnapshot());
	tide_checkpoint_read(checkpoint);
	PopActiveSnapshot();
}

Datum
tide_sql_start(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(tide_ingest_start()));
}

Datum
tide_sql_stop(PG_FUNCTION_ARGS)
{
	tide_ingest_stop();
	PG_RETURN_VOID();
}

Datum
tide_sql_reset(PG_FUNCTION_ARGS)
{
	tide_ingest_reset();
	PG_RETURN_VOID();
}

Datum
tide_sql_ingest(PG_FUNCTION_ARGS)
{
	int64		max_changes = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);

	if (!PG_ARGISNULL(0) && max_changes <= 0)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("max_changes must be positive")));
	PG_RETURN_INT64(tide_ingest_round(max_changes));
}

Datum
tide_sql_sync(PG_FUNCTION_ARGS)
{
	TideCheckpoint checkpoint;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tide_ingest_sync(timeout_ms(PG_GETARG_INTERVAL_P(0)));
	latest_checkpoint(&checkpoint);
	values[0] = Int64GetDatum(checkpoint.op_id);
	values[1] = LSNGetDatum(checkpoint.lsn);
	values[2] = TimestampTzGetDatum(checkpoint.at);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

Datum
tide_sql_wait(PG_FUNCTION_ARGS)
{
	TideCheckpoint checkpoint;

	(void) tide_shared_wait(PG_GETARG_INT64(0), InvalidXLogRecPtr,
							timeout_ms(PG_GETARG_INTERVAL_P(1)));
	latest_checkpoint(&checkpoint);
	PG_RETURN_INT64(checkpoint.op_id);
}

/* the id and the share of a load, both NULL if there is none */
static void
put_load(const TideSharedLoad *load, Datum *values, bool *nulls)
{
	values[0] = Int32GetDatum(load->id);
	values[1] = Float8GetDatum(load->share);
	nulls[0] = nulls[1] = load->id == 0;
}

/* this database's worker, as shared memory has it */
Datum
tide_sql_worker_info(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[8];
	bool		nulls[8];
	TideWorkerInfo info;

	tide_shared_worker_info(&info);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(info.pid);
	nulls[0] = info.pid == 0;
	values[1] = CStringGetTextDatum(tide_worker_state_name(info.state));
	nulls[1] = !tide_shared_available();
	values[2] = LSNGetDatum(info.processed);
	nulls[2] = XLogRecPtrIsInvalid(info.processed);
	values[3] = TimestampTzGetDatum(info.at_end);
	nulls[3] = info.at_end == 0;
	put_load(&info.source, values + 4, nulls + 4);
	put_load(&info.shape, values + 6, nulls + 6);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
