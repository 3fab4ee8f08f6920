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
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "auth/claims.h"
#include "push/mutation_log.h"
#include "util/spi.h"

static const char *const status_names[] = {
	[TIDE_PUSH_APPLIED] = "applied",
	[TIDE_PUSH_MERGED] = "merged",
	[TIDE_PUSH_CONFLICT] = "conflict",
	[TIDE_PUSH_REJECTED] = "rejected"
};

static bool read_client(const pg_uuid_t *client, const char *subject, int64 *last_mutation_id);
static void insert_client(const pg_uuid_t *client, const char *subject);
static Datum session_user_name(void);
static char *column_text(int column);
static Datum text_or_null(const char *text, char *null);

const char *
tide_push_status_name(TidePushStatus status)
{
	return status_names[status];
}

int64
tide_client_lock(const pg_uuid_t *client, const char *subject, bool create)
{
	int64		last_mutation_id = 0;

	if (read_client(client, subject, &last_mutation_id) || !create)
		return last_mutation_id;

	/* somebody else may insert it meanwhile; then it is his */
	insert_client(client, subject);
	if (!read_client(client, subject, &last_mutation_id))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	return last_mutation_id;
}

void
tide_client_advance(const pg_uuid_t *client, int64 last_mutation_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, INT8OID};
	Datum		values[] = {UUIDPGetDatum(client), Int64GetDatum(last_mutation_id)};

	tide_spi_run(&plan,
				 "UPDATE tide_internal.clients"
				 " SET last_mutation_id = $2, last_push_at = pg_catalog.clock_timestamp()"
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
tide_mutation_log_write(const pg_uuid_t *client, const TideMutation *mutation,
						const TideOutcome *outcome)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {
		UUIDOID, INT8OID, NAMEOID, TEXTOID, OIDOID, TEXTOID,
		JSONBOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID
	};
	char		nulls[] = "           ";
	Datum		values[] = {
		UUIDPGetDatum(client),
		Int64GetDatum(mutation->id),
		session_user_name(),
		CStringGetTextDatum(tide_push_op_name(mutation->op)),
		ObjectIdGetDatum(outcome->relid),
		text_or_null(outcome->table_name, &nulls[5]),
		mutation->key ? JsonbPGetDatum(mutation->key) : (Datum) 0,
		CStringGetTextDatum(status_names[outcome->status]),
		text_or_null(outcome->code, &nulls[8]),
		text_or_null(outcome->message, &nulls[9]),
		outcome->result ? JsonbPGetDatum(outcome->result) : (Datum) 0
	};

	StaticAssertStmt(lengthof(types) == lengthof(values) &&
					 lengthof(types) == sizeof(nulls) - 1, "one of each");

	if (!OidIsValid(outcome->relid))
		nulls[4] = 'n';
	if (mutation->key == NULL)
		nulls[6] = 'n';
	if (outcome->result == NULL)
		nulls[10] = 'n';
	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.mutations (client_id, mutation_id, role, op,"
				 " relid, table_name, key, status, code, message, result)"
				 " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
				 lengthof(types), types, values, nulls, false, 0);
}

/* false if there is no such client */
static bool
read_client(const pg_uuid_t *client, const char *subject, int64 *last_mutation_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID, NAMEOID, TEXTOID};
	char		nulls[] = "   ";
	Datum		values[] = {
		UUIDPGetDatum(client),
		session_user_name(),
		text_or_null(subject, &nulls[2])
	};
	bool		isnull;

	tide_spi_run(&plan,
				 "SELECT last_mutation_id, role = $2 AND subject IS NOT DISTINCT FROM $3"
				 " FROM tide_internal.clients WHERE client_id = $1 FOR NO KEY UPDATE",
				 lengthof(types), types, values, nulls, false, 1);
	if (SPI_processed == 0)
		return false;

	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
									2, &isnull)))
		tide_auth_refuse("The client belongs to another user.");
	*last_mutation_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													SPI_tuptable->tupdesc, 1, &isnull));
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

static Datum
text_or_null(const char *text, char *null)
{
	if (text != NULL)
		return CStringGetTextDatum(text);
	*null = 'n';
	return (Datum) 0;
}
