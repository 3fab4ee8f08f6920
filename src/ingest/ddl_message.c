/*
 * ddl_message.c
 *	  DDL told in the WAL: one logical message for each object a command touched.
 *
 * Event triggers call this in every session that runs DDL, whoever the user is. The
 * queries run as the extension's owner under a fixed search_path and read core's two
 * functions only; the messages hold names and types, never the text of the command,
 * which may hold secrets. Neither an error nor a server that decodes nothing may cost a
 * user his DDL: see notes_ddl() and note().
 *
 * Anybody may write messages with our prefix: who reads them takes them for a hint to
 * look at the catalogs.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "replication/message.h"
#include "replication/origin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ingest/ddl_message.h"
#include "util/compat.h"
#include "util/json_text.h"
#include "util/spi.h"
#include "util/subxact.h"

/* one object, as the queries below give it */
enum
{
	COLUMN_COMMAND = 1,
	COLUMN_TYPE,
	COLUMN_SCHEMA,
	COLUMN_IDENTITY,
	COLUMN_RELID,				/* of what is in pg_class */
	COLUMN_DROPPED
};

/*
 * Of what belongs to an extension only tables are told; of what is dropped along with
 * something, what stands for itself. Grants have no identity.
 */
static const char *const changed_sql =
"SELECT command_tag, object_type, schema_name, object_identity,"
" CASE WHEN classid = 'pg_catalog.pg_class'::pg_catalog.regclass THEN objid END, false"
" FROM pg_catalog.pg_event_trigger_ddl_commands()"
" WHERE object_identity IS NOT NULL"
" AND schema_name IS DISTINCT FROM 'pg_temp' AND schema_name IS DISTINCT FROM 'tide_shadow'"
" AND (NOT in_extension OR object_type = 'table')";

static const char *const dropped_sql =
"SELECT $1, object_type, schema_name, object_identity,"
" CASE WHEN object_type IN ('table', 'table column', 'foreign table', 'foreign table column')"
" THEN objid END, true"
" FROM pg_catalog.pg_event_trigger_dropped_objects()"
" WHERE NOT is_temporary AND schema_name IS DISTINCT FROM 'tide_shadow'"
" AND CASE WHEN $2 THEN object_type IN ('table', 'extension')"
" ELSE original OR object_type = 'table' OR normal AND object_type NOT IN ('default value',"
" 'policy', 'rule', 'table constraint', 'trigger') END";

typedef struct DdlNote
{
	const char *command;		/* NULL: not a drop */
	int			n;
	char	  **messages;		/* JSON objects */
	int		   *sizes;
} DdlNote;

static SPIPlanPtr changed_plan = NULL;
static SPIPlanPtr dropped_plan = NULL;

static bool notes_ddl(void);
static void note(const char *command);
static void collect(void *arg);
static void write_object(StringInfo out, HeapTuple row, TupleDesc desc);
static Oid	table_of(Oid relid, bool dropped);
static void write_columns(StringInfo out, Oid relid);

void
tide_ddl_note_changed(void)
{
	if (notes_ddl())
		note(NULL);
}

void
tide_ddl_note_dropped(const char *command)
{
	if (notes_ddl())
		note(command);
}

/* not where nobody can decode it, not for the ingest's own tables, nor while pg_tide itself is made */
static bool
notes_ddl(void)
{
	return wal_level >= WAL_LEVEL_LOGICAL && !RecoveryInProgress() &&
		replorigin_session_origin != DoNotReplicateId &&
		!(creating_extension &&
		  CurrentExtensionObject == get_extension_oid("pg_tide", true));
}

/* collect in a subtransaction, whose errors cost the message and nothing else, then write */
static void
note(const char *command)
{
	DdlNote		work = {.command = command};
	ErrorData  *error = tide_subxact_run(collect, &work);

	if (error != NULL)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("could not tell the WAL of a schema change: %s", error->message),
				 errhint("pg_tide notices changed tables with their next changed row.")));
	for (int i = 0; error == NULL && i < work.n; i++)
		(void) LogLogicalMessage_compat(TIDE_DDL_PREFIX, work.messages[i], work.sizes[i],
										true);
}

static void
collect(void *arg)
{
	DdlNote    *work = arg;
	MemoryContext result = CurrentMemoryContext;
	Oid			types[] = {TEXTOID, BOOLOID};
	Datum		values[2] = {0};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (work->command == NULL)
		tide_spi_run(&changed_plan, changed_sql, 0, NULL, NULL, NULL, true, 0);
	else
	{
		values[0] = CStringGetTextDatum(work->command);
		values[1] = BoolGetDatum(creating_extension ||
								 strcmp(work->command, "DROP EXTENSION") == 0);
		tide_spi_run(&dropped_plan, dropped_sql, 2, types, values, NULL, true, 0);
	}
	work->n = SPI_processed;
	work->messages = MemoryContextAlloc(result, sizeof(char *) * Max(work->n, 1));
	work->sizes = MemoryContextAlloc(result, sizeof(int) * Max(work->n, 1));
	for (int i = 0; i < work->n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(result);
		StringInfoData out;

		initStringInfo(&out);
		write_object(&out, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		work->sizes[i] = out.len;
		work->messages[i] = tide_json_to_utf8(out.data, &work->sizes[i]);
		MemoryContextSwitchTo(old);
	}
	tide_spi_end(&frame);
}

static void
write_member(StringInfo out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(out, "%s\"%s\":", out->data[out->len - 1] == '{' ? "" : ",", name);
	tide_json_cstring(out, value);
}

static void
write_object(StringInfo out, HeapTuple row, TupleDesc desc)
{
	bool		isnull;
	bool		dropped = DatumGetBool(SPI_getbinval(row, desc, COLUMN_DROPPED, &isnull));
	Oid			relid = DatumGetObjectId(SPI_getbinval(row, desc, COLUMN_RELID, &isnull));

	if (isnull)
		relid = InvalidOid;
	tide_json_char(out, '{');
	write_member(out, "command", SPI_getvalue(row, desc, COLUMN_COMMAND));
	write_member(out, "object_type", SPI_getvalue(row, desc, COLUMN_TYPE));
	write_member(out, "schema", SPI_getvalue(row, desc, COLUMN_SCHEMA));
	write_member(out, "identity", SPI_getvalue(row, desc, COLUMN_IDENTITY));
	if (dropped)
		tide_json_literal(out, ",\"dropped\":true");
	relid = table_of(relid, dropped);
	if (OidIsValid(relid))
	{
		appendStringInfo(out, ",\"relid\":%u", relid);
		if (!dropped)
			write_columns(out, relid);
	}
	tide_json_char(out, '}');
}

/* the table that something in pg_class is or, an index, belongs to; else InvalidOid */
static Oid
table_of(Oid relid, bool dropped)
{
	if (!OidIsValid(relid) || dropped)
		return relid;
	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
			return relid;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return IndexGetRelation(relid, true);
		default:
			return InvalidOid;
	}
}

/* names and types, as the stream's "types"; from the catalog cache, so without a lock */
static void
write_columns(StringInfo out, Oid relid)
{
	HeapTuple	table = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	AttrNumber	natts = 0;
	const char *separator = "";

	if (HeapTupleIsValid(table))
	{
		natts = ((Form_pg_class) GETSTRUCT(table))->relnatts;
		ReleaseSysCache(table);
	}
	tide_json_literal(out, ",\"columns\":{");
	for (AttrNumber attnum = 1; attnum <= natts; attnum++)
	{
		HeapTuple	tuple = SearchSysCacheAttNum(relid, attnum);
		Form_pg_attribute att;

		if (!HeapTupleIsValid(tuple))
			continue;			/* dropped */
		att = (Form_pg_attribute) GETSTRUCT(tuple);
		appendStringInfoString(out, separator);
		tide_json_cstring(out, NameStr(att->attname));
		tide_json_char(out, ':');
		tide_json_cstring(out, format_type_with_typemod(att->atttypid, att->atttypmod));
		ReleaseSysCache(tuple);
		separator = ",";
	}
	tide_json_char(out, '}');
}
