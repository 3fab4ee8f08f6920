/*
 * server_clock.c
 *	  Clocks of what is written to columns with conflict policies hlc and vclock.
 *
 * The push asks who wrote a value last. Its own writes it notes itself; all others are
 * seen here, in the WAL: each value's hash goes to tide_internal.server_clocks with the time,
 * the LSN and the xid of the commit. Transactions of pushes are noted as well, since
 * triggers and mutators write in them, too; the push tells by the xid what it knows better.
 *
 * An UPDATE's WAL says which values a row has, not which have changed. So a value whose hash
 * is noted already keeps its clock; with REPLICA IDENTITY FULL the old row decides.
 *
 * Here clocks are noted while decoding; server_clock_store.c stores them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "catalog/table_key.h"
#include "ingest/batch.h"
#include "ingest/route.h"
#include "ingest/server_clock.h"
#include "store/clock_key.h"
#include "util/spi.h"

#define STORE_MEMORY_KB		4096

static const struct
{
	const char *name;
	Oid			type;
}			fields[CLOCK_NFIELDS] = {
	[CLOCK_RELID] = {"relid", OIDOID},
	[CLOCK_KEY] = {"key_id", UUIDOID},
	[CLOCK_ATTNUM] = {"attnum", INT2OID},
	[CLOCK_HASH] = {"hash", INT8OID},
	[CLOCK_XID] = {"xid", XIDOID},
	[CLOCK_LSN] = {"lsn", LSNOID},
	[CLOCK_AT] = {"at", TIMESTAMPTZOID}
};

/* a table with such columns; of partitioned ones the one that clients write to */
typedef struct ClockTable
{
	Oid			relid;			/* hash key */
	int			ncolumns;
	AttrNumber *attnums;
} ClockTable;

/* where rows of a table go to: itself, or a partitioned table above it */
typedef struct ClockRoute
{
	Oid			relid;			/* hash key */
	const ClockTable *table;	/* NULL: nowhere */
	int			nkeys;
	AttrNumber	keys[INDEX_MAX_KEYS];	/* of the table with that relid, as
										 * the next */
	AttrNumber *attnums;		/* by column of table; 0 for one it has not */
} ClockRoute;

static TideServerClocks *create(TideIngest *in);
static void read_tables(TideServerClocks *clocks);
static ClockRoute *find_route(TideServerClocks *clocks, Relation rel);
static void fill_route(TideServerClocks *clocks, ClockRoute *route, Relation rel);
static void map_route(ClockRoute *route, Relation table, Relation rel);
static bool row_key(const ClockRoute *route, Relation rel, HeapTuple row, pg_uuid_t *key_id);
static bool is_unchanged(Relation rel, AttrNumber attnum, Datum value, HeapTuple old,
						 int64 hash);
static void put(TideIngest *in, const ReorderBufferTXN *txn, const TideServerClock *clock);

void
tide_server_clocks_reload(TideIngest *in)
{
	TideServerClocks *clocks;

	/* shapes are reloaded more often than policies change */
	if (in->clocks_are_read)
		return;
	in->clocks_are_read = true;
	clocks = create(in);
	if (in->server_clocks != NULL)
		MemoryContextDelete(in->server_clocks->context);
	in->server_clocks = NULL;
	read_tables(clocks);
	if (hash_get_num_entries(clocks->tables) > 0)
	{
		tide_server_clocks_mark(clocks);
		in->server_clocks = clocks;
	}
	else
		MemoryContextDelete(clocks->context);
}

void
tide_server_clocks_forget(TideIngest *in)
{
	in->needs_reload = in->forget_clocks = true;
	in->clocks_are_read = false;
}

static TideServerClocks *
create(TideIngest *in)
{
	MemoryContext context = AllocSetContextCreate(in->context, "tide server clocks",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TideServerClocks *clocks = palloc0(sizeof(TideServerClocks));
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(ClockTable),.hcxt = context};

	clocks->context = context;
	clocks->route_context = AllocSetContextCreate(context, "tide server clock routes",
												  ALLOCSET_SMALL_SIZES);
	clocks->tables = hash_create("tide tables with clocks", 32, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	clocks->desc = CreateTemplateTupleDesc(CLOCK_NFIELDS);
	for (int i = 0; i < CLOCK_NFIELDS; i++)
		TupleDescInitEntry(clocks->desc, i + 1, fields[i].name, fields[i].type, -1, 0);
	clocks->slot = MakeSingleTupleTableSlot(clocks->desc, &TTSOpsMinimalTuple);
	MemoryContextSwitchTo(old);
	return clocks;
}

static void
read_tables(TideServerClocks *clocks)
{
	static SPIPlanPtr plan = NULL;
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "SELECT relid, attnum FROM tide_internal.column_policies"
				 " WHERE policy IN ('hlc', 'vclock') ORDER BY 1, 2",
				 0, NULL, NULL, NULL, true, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		found;
		bool		isnull;
		Oid			relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		ClockTable *table = hash_search(clocks->tables, &relid, HASH_ENTER, &found);

		if (!found)
		{
			table->ncolumns = 0;
			table->attnums = MemoryContextAlloc(clocks->context,
												sizeof(AttrNumber) * MaxHeapAttributeNumber);
		}
		table->attnums[table->ncolumns++] = DatumGetInt16(SPI_getbinval(row, desc, 2, &isnull));
	}
	tide_spi_end(&frame);
}

bool
tide_server_clocks_depend_on(const TideIngest *in, Oid relid)
{
	return relid == in->writable_relid || relid == in->policies_relid;
}

bool
tide_server_clocks_capture(TideIngest *in, ReorderBufferTXN *txn, Relation rel,
						   HeapTuple old, HeapTuple new)
{
	ClockRoute *route = find_route(in->server_clocks, rel);
	TideServerClock clock = {0};
	pg_uuid_t	old_key;
	bool		all;
	HeapTuple	full_old;

	if (route->table == NULL)
		return false;
	(void) tide_table_identity(rel, &all);
	full_old = all ? old : NULL;
	clock.id.relid = route->table->relid;
	if (old != NULL && row_key(route, rel, old, &old_key) &&
		(new == NULL || !row_key(route, rel, new, &clock.id.key_id) ||
		 memcmp(&old_key, &clock.id.key_id, UUID_LEN) != 0))
	{
		TideServerClock tombstone = clock;

		tombstone.id.key_id = old_key;
		tombstone.has_changed = true;
		put(in, txn, &tombstone);
	}
	if (new == NULL || !row_key(route, rel, new, &clock.id.key_id))
		return true;
	for (int i = 0; i < route->table->ncolumns; i++)
	{
		AttrNumber	attnum = route->attnums[i];
		Form_pg_attribute att;
		bool		isnull;
		Datum		value;

		if (attnum == 0)
			continue;
		att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
		value = heap_getattr(new, attnum, RelationGetDescr(rel), &isnull);
		if (!isnull && att->attlen == -1 &&
			VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value)))
			continue;			/* not in the WAL, as it was not changed */
		clock.id.attnum = route->table->attnums[i];
		clock.hash = tide_clock_value_hash(att, value, isnull);
		if (full_old == NULL || !is_unchanged(rel, attnum, value, full_old, clock.hash))
			put(in, txn, &clock);
	}
	return true;
}

/* the route of a table's rows, valid until the next call */
static ClockRoute *
find_route(TideServerClocks *clocks, Relation rel)
{
	uint64		version = tide_route_version();
	Oid			relid = RelationGetRelid(rel);
	ClockRoute *route;
	bool		found;

	if (clocks->routes == NULL || clocks->route_version != version)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(ClockRoute),
		.hcxt = clocks->route_context};

		MemoryContextReset(clocks->route_context);
		clocks->routes = hash_create("tide server clock routes", 64, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		clocks->route_version = version;
	}
	route = hash_search(clocks->routes, &relid, HASH_ENTER, &found);
	if (!found)
	{
		route->table = NULL;
		fill_route(clocks, route, rel);
	}
	return route;
}

static void
fill_route(TideServerClocks *clocks, ClockRoute *route, Relation rel)
{
	MemoryContext old = MemoryContextSwitchTo(clocks->route_context);
	List	   *relids = list_make1_oid(RelationGetRelid(rel));
	ListCell   *lc;

	if (rel->rd_rel->relispartition)
		relids = list_concat(relids, get_partition_ancestors(RelationGetRelid(rel)));
	foreach(lc, relids)
	{
		Oid			relid = lfirst_oid(lc);
		const ClockTable *table = hash_search(clocks->tables, &relid, HASH_FIND, NULL);
		Relation	root;

		if (table == NULL)
			continue;
		root = relid == RelationGetRelid(rel) ? rel : RelationIdGetRelation(relid);
		if (!RelationIsValid(root))
			continue;
		route->table = table;
		map_route(route, root, rel);
		if (root != rel)
			RelationClose(root);
		break;
	}
	MemoryContextSwitchTo(old);
}

/* columns by name; without a key to name rows by there is nothing to note */
static void
map_route(ClockRoute *route, Relation table, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(table);

	route->nkeys = tide_client_key(table, route->keys);
	for (int i = 0; i < route->nkeys; i++)
		route->keys[i] = get_attnum(RelationGetRelid(rel),
									NameStr(TupleDescAttr(desc, route->keys[i] - 1)->attname));
	route->attnums = palloc0(sizeof(AttrNumber) * route->table->ncolumns);
	for (int i = 0; i < route->table->ncolumns; i++)
	{
		AttrNumber	attnum = route->table->attnums[i];
		bool		is_key = false;

		if (attnum > desc->natts || TupleDescAttr(desc, attnum - 1)->attisdropped)
			continue;
		route->attnums[i] = get_attnum(RelationGetRelid(rel),
									   NameStr(TupleDescAttr(desc, attnum - 1)->attname));
		for (int k = 0; k < route->nkeys; k++)
			is_key |= route->keys[k] == route->attnums[i];
		if (is_key)
			route->attnums[i] = 0;
	}
	if (route->nkeys == 0)
		route->table = NULL;
}

/* false if the row as it is in the WAL does not tell its key */
static bool
row_key(const ClockRoute *route, Relation rel, HeapTuple row, pg_uuid_t *key_id)
{
	memset(key_id, 0, sizeof(pg_uuid_t));
	for (int i = 0; i < route->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), route->keys[i] - 1);
		bool		isnull;
		Datum		value = heap_getattr(row, route->keys[i], RelationGetDescr(rel), &isnull);

		if (isnull || (att->attlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(value))))
			return false;
		tide_clock_key_add(key_id, att, value);
	}
	return true;
}

static bool
is_unchanged(Relation rel, AttrNumber attnum, Datum value, HeapTuple old, int64 hash)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	bool		isnull;
	Datum		before = heap_getattr(old, attnum, RelationGetDescr(rel), &isnull);

	if (!isnull && att->attlen == -1 && VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(before)))
		return false;
	return tide_clock_value_hash(att, before, isnull) == hash;
}

static void
put(TideIngest *in, const ReorderBufferTXN *txn, const TideServerClock *clock)
{
	TideServerClocks *clocks = in->server_clocks;
	Datum		values[CLOCK_NFIELDS] = {
		[CLOCK_RELID] = ObjectIdGetDatum(clock->id.relid),
		[CLOCK_KEY] = UUIDPGetDatum(&clock->id.key_id),
		[CLOCK_ATTNUM] = Int16GetDatum(clock->id.attnum),
		[CLOCK_HASH] = Int64GetDatum(clock->hash),
		[CLOCK_XID] = TransactionIdGetDatum(txn->xid),
		[CLOCK_LSN] = LSNGetDatum(txn->final_lsn),
		[CLOCK_AT] = TimestampTzGetDatum(txn->xact_time.commit_time)
	};
	bool		nulls[CLOCK_NFIELDS] = {0};

	if (clocks->store == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(clocks->context);
		ResourceOwner old_owner = CurrentResourceOwner;

		CurrentResourceOwner = in->owner;
		clocks->store = tuplestore_begin_heap(false, true, STORE_MEMORY_KB);
		CurrentResourceOwner = old_owner;
		MemoryContextSwitchTo(old);
	}
	tuplestore_putvalues(clocks->store, clocks->desc, values, nulls);
	in->batch->has_clocks = true;
}
