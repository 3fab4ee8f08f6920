/*
 * client_log.c
 *	  What became of a client's own mutations, as of the checkpoint.
 *
 * tide_internal.acks is written by the ingest, in the transaction of the batch that
 * has the mutations' effects; the mutation log by the push itself, so earlier: what
 * is beyond the acknowledged id is not told yet.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "auth/claims.h"
#include "pull/client_log.h"
#include "util/json_text.h"
#include "util/meta_table.h"

/* columns as sql/install/10_tables.sql creates them */
enum
{
	Anum_clients_client_id = 1,
	Anum_clients_last_mutation_id,
	Anum_clients_role,
	Anum_clients_subject,
	Anum_clients_created_at,
	Anum_clients_last_push_at,
	Anum_clients_last_tx,
	Anum_clients_rejected_seen,
	Anum_clients_expired_at
};

enum
{
	Anum_acks_client_id = 1,
	Anum_acks_last_mutation_id
};

enum
{
	Anum_mutations_client_id = 1,
	Anum_mutations_mutation_id,
	Anum_mutations_at,
	Anum_mutations_role,
	Anum_mutations_op,
	Anum_mutations_relid,
	Anum_mutations_table_name,
	Anum_mutations_key,
	Anum_mutations_status,
	Anum_mutations_code,
	Anum_mutations_message
};

typedef struct ClientScan
{
	Relation	rel;
	SysScanDesc scan;
} ClientScan;

/* rows of a client by an index that begins with client_id */
static void
client_scan_begin(ClientScan *scan, const char *table, const char *index,
				  const pg_uuid_t *client, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(client));
	scan->rel = tide_meta_open(table, AccessShareLock);
	scan->scan = systable_beginscan(scan->rel, tide_meta_relid(index), true, snapshot,
									1, &key);
}

static void
client_scan_end(ClientScan *scan)
{
	systable_endscan(scan->scan);
	table_close(scan->rel, AccessShareLock);
}

/* a text column or NULL */
static char *
text_column(ClientScan *scan, HeapTuple tuple, int attnum)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, attnum, RelationGetDescr(scan->rel), &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static bool
same_text(const char *a, const char *b)
{
	return (a == NULL && b == NULL) || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static int64
int64_column(ClientScan *scan, HeapTuple tuple, int attnum)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(tuple, attnum, RelationGetDescr(scan->rel), &isnull));
}

/* whether the client is the session user's, with these claims */
static bool
is_owner(ClientScan *scan, HeapTuple tuple, Jsonb *claims)
{
	bool		isnull;
	Name		role = DatumGetName(heap_getattr(tuple, Anum_clients_role,
												 RelationGetDescr(scan->rel), &isnull));

	return strcmp(NameStr(*role), GetUserNameFromId(GetSessionUserId(), false)) == 0 &&
		same_text(text_column(scan, tuple, Anum_clients_subject),
				  tide_claims_subject(claims));
}

void
tide_client_check(const pg_uuid_t *client, Jsonb *claims, Snapshot snapshot,
				  TideClientState *state)
{
	ClientScan	scan;
	HeapTuple	tuple;
	bool		owned = true;

	memset(state, 0, sizeof(TideClientState));
	client_scan_begin(&scan, "clients", "clients_pkey", client, snapshot);
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
	{
		owned = is_owner(&scan, tuple, claims);
		state->last_mutation_id = int64_column(&scan, tuple, Anum_clients_last_mutation_id);
		state->rejected_seen = int64_column(&scan, tuple, Anum_clients_rejected_seen);
		state->expired = !heap_attisnull(tuple, Anum_clients_expired_at,
										 RelationGetDescr(scan.rel));
	}
	client_scan_end(&scan);
	if (!owned)
		tide_auth_refuse("the client belongs to another user");
}

int64
tide_client_acked(const pg_uuid_t *client, Snapshot snapshot)
{
	ClientScan	scan;
	HeapTuple	tuple;
	int64		result = 0;

	client_scan_begin(&scan, "acks", "acks_pkey", client, snapshot);
	tuple = systable_getnext(scan.scan);
	if (HeapTupleIsValid(tuple))
		result = int64_column(&scan, tuple, Anum_acks_last_mutation_id);
	client_scan_end(&scan);
	return result;
}

static void
write_text(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, ",\"%s\":", name);
	if (value == NULL)
		appendStringInfoString(out, "null");
	else
		tide_json_cstring(out, value);
}

static void
write_mutation(StringInfo out, ClientScan *scan, HeapTuple tuple, int64 id)
{
	TupleDesc	desc = RelationGetDescr(scan->rel);
	bool		isnull;
	Datum		key = heap_getattr(tuple, Anum_mutations_key, desc, &isnull);

	appendStringInfo(out, "{\"id\":" INT64_FORMAT, id);
	write_text(out, "code", text_column(scan, tuple, Anum_mutations_code));
	write_text(out, "message", text_column(scan, tuple, Anum_mutations_message));
	write_text(out, "table", text_column(scan, tuple, Anum_mutations_table_name));
	appendStringInfoString(out, ",\"key\":");
	if (isnull)
		appendStringInfoString(out, "null");
	else
		(void) JsonbToCString(out, &DatumGetJsonbP(key)->root, -1);
	appendStringInfoChar(out, '}');
}

/*
 * The partial index has the rejected mutations only, by id.
 */
void
tide_client_write_rejected(StringInfo out, const pg_uuid_t *client, int64 after,
						   int64 upto, Snapshot snapshot)
{
	ScanKeyData keys[2];
	ClientScan	scan;
	HeapTuple	tuple;
	bool		first = true;

	if (after >= upto)
		return;
	ScanKeyInit(&keys[0], Anum_mutations_client_id, BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(client));
	ScanKeyInit(&keys[1], Anum_mutations_mutation_id, BTGreaterStrategyNumber, F_INT8GT,
				Int64GetDatum(after));
	scan.rel = tide_meta_open("mutations", AccessShareLock);
	scan.scan = systable_beginscan(scan.rel, tide_meta_relid("mutations_rejected"), true,
								   snapshot, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		int64		id = int64_column(&scan, tuple, Anum_mutations_mutation_id);

		if (id > upto)
			break;
		if (!first)
			appendStringInfoChar(out, ',');
		write_mutation(out, &scan, tuple, id);
		first = false;
	}
	client_scan_end(&scan);
}
