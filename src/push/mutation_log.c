/*
 * mutation_log.c
 *	  The client's row and what became of its mutations.
 *
 * tide_internal.clients is what makes a push happen once: its row is locked
 * before anything else, and last_mutation_id is stored in the transaction of
 * the effects. The ingest reads the change of that row from the WAL, so a checkpoint
 * contains a mutation's effects and its acknowledgement, or neither.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "auth/claims.h"
#include "push/mutation_log.h"
#include "store/checkpoint.h"
#include "store/epoch.h"
#include "util/spi.h"

static const char *const status_names[] = {
	[TIDE_PUSH_APPLIED] = "applied",
	[TIDE_PUSH_MERGED] = "merged",
	[TIDE_PUSH_CONFLICT] = "conflict",
	[TIDE_PUSH_REJECTED] = "rejected"
};

/* rows logged by one statement: bounds its memory */
#define LOG_CHUNK	1000

/* columns of the log as arrays; client and role are the same for all */
enum LogColumn
{
	LOG_ID,
	LOG_OP,
	LOG_RELID,
	LOG_TABLE,
	LOG_KEY,
	LOG_STATUS,
	LOG_CODE,
	LOG_MESSAGE,
	LOG_RESULT,
	LOG_MUTATOR,
	LOG_NCOLUMNS
};

static const Oid log_types[] = {
	[LOG_ID] = INT8OID,
	[LOG_OP] = TEXTOID,
	[LOG_RELID] = OIDOID,
	[LOG_TABLE] = TEXTOID,
	[LOG_KEY] = JSONBOID,
	[LOG_STATUS] = TEXTOID,
	[LOG_CODE] = TEXTOID,
	[LOG_MESSAGE] = TEXTOID,
	[LOG_RESULT] = JSONBOID,
	[LOG_MUTATOR] = TEXTOID
};

StaticAssertDecl(lengthof(log_types) == LOG_NCOLUMNS, "log columns");

static bool read_client(const pg_uuid_t *client, const char *subject, TideClient *result);
static void insert_client(const pg_uuid_t *client, const char *subject);
static void write_chunk(const TidePushRequest *request, const TideOutcome *outcomes,
						const int *indexes, int n);
static Datum log_value(const TideMutation *mutation, const TideOutcome *outcome,
					   int column, bool *isnull);
static Datum session_user_name(void);
static char *column_text(int column);
static Datum text_or_null(const char *text, char *null);
static int64 column_int64(int column);

const char *
tide_push_status_name(TidePushStatus status)
{
	return status_names[status];
}

void
tide_client_lock(const pg_uuid_t *client, const char *subject, bool create,
				 TideClient *result)
{
	memset(result, 0, sizeof(TideClient));
	if (read_client(client, subject, result) || !create)
		return;

	/* somebody else may insert it meanwhile; then it is his */
	insert_client(client, subject);
	if (!read_client(client, subject, result))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
}

bool
tide_client_may_have_lost(const pg_uuid_t *client)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, TIMESTAMPTZOID};
	TideState	state;
	Datum		values[2];

	PushActiveSnapshot(GetLatestSnapshot());
	tide_state_read(&state);
	PopActiveSnapshot();
	if (tide_epoch_began_at(&state.epoch) == 0)
		return false;
	values[0] = UUIDPGetDatum(client);
	values[1] = TimestampTzGetDatum(tide_epoch_began_at(&state.epoch));
	tide_spi_run(&plan,
				 "SELECT WHERE NOT EXISTS (SELECT FROM tide_internal.clients"
				 " WHERE client_id = $1 AND last_push_at >= $2)",
				 lengthof(types), types, values, NULL, true, 1);
	return SPI_processed > 0;
}

void
tide_client_advance(const pg_uuid_t *client, int64 last_mutation_id, int64 last_tx,
					int64 rejected_seen)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID, INT8OID, INT8OID};
	Datum		values[] = {
		UUIDPGetDatum(client),
		Int64GetDatum(last_mutation_id),
		Int64GetDatum(last_tx),
		Int64GetDatum(rejected_seen)
	};

	tide_spi_run(&plan,
				 "UPDATE tide_internal.clients"
				 " SET last_mutation_id = $2, last_tx = $3,"
				 " rejected_seen = greatest(rejected_seen, least($4, $2)),"
				 " last_push_at = pg_catalog.clock_timestamp()"
				 " WHERE client_id = $1",
				 lengthof(types), types, values, NULL, false, 0);
}

void
tide_mutation_log_read(const pg_uuid_t *client, int64 id,
					   MemoryContext context, TideOutcome *outcome)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID};
	Datum		values[] = {UUIDPGetDatum(client), Int64GetDatum(id)};
	MemoryContext old;
	char	   *status;
	bool		isnull;
	Datum		result;

	memset(outcome, 0, sizeof(TideOutcome));
	outcome->status = TIDE_PUSH_APPLIED;

	tide_spi_run(&plan,
				 "SELECT status, code, message, result FROM tide_internal.mutations"
				 " WHERE client_id = $1 AND mutation_id = $2",
				 lengthof(types), types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return;

	old = MemoryContextSwitchTo(context);
	status = column_text(1);
	for (int i = 0; i < lengthof(status_names); i++)
	{
		if (strcmp(status, status_names[i]) == 0)
			outcome->status = (TidePushStatus) i;
	}
	outcome->code = column_text(2);
	outcome->message = column_text(3);
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4, &isnull);
	outcome->result = isnull ? NULL : DatumGetJsonbPCopy(result);
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
}

void
tide_mutation_log_write(const TidePushRequest *request, const TideOutcome *outcomes,
						const int *indexes, int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "tide mutation log",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (int done = 0; done < n; done += LOG_CHUNK)
	{
		write_chunk(request, outcomes, indexes + done, Min(n - done, LOG_CHUNK));
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* one statement for many rows: it costs about what one row would */
static void
write_chunk(const TidePushRequest *request, const TideOutcome *outcomes,
			const int *indexes, int n)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[LOG_NCOLUMNS + 2] = {UUIDOID, NAMEOID};
	Datum		values[LOG_NCOLUMNS + 2] = {UUIDPGetDatum(&request->client), session_user_name()};
	Datum	   *elements = palloc(sizeof(Datum) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);

	for (int column = 0; column < LOG_NCOLUMNS; column++)
	{
		Oid			type = log_types[column];
		int16		length;
		bool		byval;
		char		align;
		int			lower = 1;

		for (int i = 0; i < n; i++)
			elements[i] = log_value(&request->mutations[indexes[i]], &outcomes[indexes[i]],
									column, &nulls[i]);
		get_typlenbyvalalign(type, &length, &byval, &align);
		types[column + 2] = get_array_type(type);
		values[column + 2] = PointerGetDatum(construct_md_array(elements, nulls, 1, &n, &lower,
																type, length, byval, align));
	}
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.mutations (client_id, role, mutation_id, op,"
				 " relid, table_name, key, status, code, message, result, mutator)"
				 " SELECT $1, $2, u.* FROM ROWS FROM (pg_catalog.unnest($3),"
				 " pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
				 " pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),"
				 " pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12)) AS u",
				 lengthof(types), types, values, NULL, false, 0);
}

static Datum
log_value(const TideMutation *mutation, const TideOutcome *outcome, int column, bool *isnull)
{
	const char *text = NULL;
	Jsonb	   *json = NULL;

	*isnull = false;
	switch ((enum LogColumn) column)
	{
		case LOG_ID:
			return Int64GetDatum(mutation->id);
		case LOG_RELID:
			*isnull = !OidIsValid(outcome->relid);
			return ObjectIdGetDatum(outcome->relid);
		case LOG_OP:
			text = tide_push_op_name(mutation->op);
			break;
		case LOG_TABLE:
			text = outcome->table_name;
			break;
		case LOG_STATUS:
			text = status_names[outcome->status];
			break;
		case LOG_CODE:
			text = outcome->code;
			break;
		case LOG_MESSAGE:
			text = outcome->message;
			break;
		case LOG_KEY:
			json = mutation->key;
			break;
		case LOG_RESULT:
			json = outcome->result;
			break;
		case LOG_MUTATOR:
			text = mutation->call;
			break;
		case LOG_NCOLUMNS:
			break;
	}
	*isnull = text == NULL && json == NULL;
	if (text != NULL)
		return CStringGetTextDatum(text);
	return json != NULL ? JsonbPGetDatum(json) : (Datum) 0;
}

/* false if there is no such client */
static bool
read_client(const pg_uuid_t *client, const char *subject, TideClient *result)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, NAMEOID, TEXTOID};
	char		nulls[] = "   ";
	Datum		values[] = {
		UUIDPGetDatum(client),
		session_user_name(),
		text_or_null(subject, &nulls[2])
	};
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;

	tide_spi_run(&plan,
				 "SELECT role = $2 AND subject IS NOT DISTINCT FROM $3,"
				 " expired_at IS NOT NULL, last_mutation_id, last_tx, rejected_seen"
				 " FROM tide_internal.clients WHERE client_id = $1 FOR NO KEY UPDATE",
				 lengthof(types), types, values, nulls, false, 1);
	if (SPI_processed == 0)
		return false;

	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	if (!DatumGetBool(SPI_getbinval(row, desc, 1, &isnull)))
		tide_auth_refuse("The client belongs to another user.");
	result->expired = DatumGetBool(SPI_getbinval(row, desc, 2, &isnull));
	result->last_mutation_id = column_int64(3);
	result->last_tx = column_int64(4);
	result->rejected_seen = column_int64(5);
	return true;
}

static void
insert_client(const pg_uuid_t *client, const char *subject)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, NAMEOID, TEXTOID};
	char		nulls[] = "   ";
	Datum		values[] = {
		UUIDPGetDatum(client),
		session_user_name(),
		text_or_null(subject, &nulls[2])
	};

	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.clients (client_id, role, subject)"
				 " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
				 lengthof(types), types, values, nulls, false, 0);
}

static Datum
session_user_name(void)
{
	Name		name = palloc(sizeof(NameData));

	namestrcpy(name, GetUserNameFromId(GetSessionUserId(), false));
	return NameGetDatum(name);
}

/* a column of the one result row, NULL if null; in the current context */
static char *
column_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

static int64
column_int64(int column)
{
	bool		isnull;

	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
									   column, &isnull));
}

static Datum
text_or_null(const char *text, char *null)
{
	if (text != NULL)
		return CStringGetTextDatum(text);
	*null = 'n';
	return (Datum) 0;
}
