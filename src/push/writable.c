/*
 * writable.c
 *	  Tables clients may push to, and what names requests give them.
 *
 * Requests do not go through the search path: what "issues" means must not
 * depend on the session that happens to carry the push. A name is
 * looked up among the writable tables, as "issues", as "public.issues" or as SQL would
 * quote it, and has to mean exactly one of them. So nothing is parsed here.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "catalog/table_key.h"
#include "push/writable.h"
#include "util/spi.h"

/* quoted and qualified: two names, each byte doubled, four quotes and a dot */
#define NAME_KEY_LEN	(4 * NAMEDATALEN + 8)

static const char *const conflict_policies[] = {"overwrite"};

typedef struct NameEntry
{
	char		name[NAME_KEY_LEN]; /* hash key */
	Oid			relid;
	bool		ambiguous;
} NameEntry;

struct TideWritableSet
{
	HTAB	   *names;			/* of NameEntry */
};

static void check_table(Oid relid);
static void check_conflict(const char *conflict);
static void run_as_owner(SPIPlanPtr *plan, const char *sql, Oid relid, const char *conflict);
static void add_name(TideWritableSet *set, const char *name, Oid relid);
static bool table_exists(const char *name);

void
tide_writable_allow(Oid relid, const char *conflict)
{
	static SPIPlanPtr plan = NULL;

	check_conflict(conflict);
	check_table(relid);
	run_as_owner(&plan,
				 "INSERT INTO tide_internal.writable_tables (relid, conflict)"
				 " VALUES ($1, $2)"
				 " ON CONFLICT (relid) DO UPDATE SET conflict = excluded.conflict",
				 relid, conflict);
}

void
tide_writable_disallow(Oid relid)
{
	static SPIPlanPtr plan = NULL;

	run_as_owner(&plan,
				 "DELETE FROM tide_internal.writable_tables w"
				 " WHERE w.relid = $1 AND $2 = ''"
				 " OR NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = w.relid)",
				 relid, "");
}

TideWritableSet *
tide_writable_read(MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	TideWritableSet *set = MemoryContextAlloc(context, sizeof(TideWritableSet));
	HASHCTL		ctl = {.keysize = NAME_KEY_LEN, .entrysize = sizeof(NameEntry), .hcxt = context};

	set->names = hash_create("tide writable tables", 64, &ctl,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	tide_spi_run(&plan,
				 "SELECT w.relid, n.nspname::text, c.relname::text"
				 " FROM tide_internal.writable_tables w"
				 " JOIN pg_catalog.pg_class c ON c.oid = w.relid"
				 " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
				 0, NULL, NULL, NULL, false, 0);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Oid			relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		char	   *schema = SPI_getvalue(row, desc, 2);
		char	   *table = SPI_getvalue(row, desc, 3);

		add_name(set, table, relid);
		add_name(set, quote_identifier(table), relid);
		add_name(set, psprintf("%s.%s", schema, table), relid);
		add_name(set, quote_qualified_identifier(schema, table), relid);
	}
	return set;
}

Oid
tide_writable_resolve(TideWritableSet *set, const char *name)
{
	NameEntry  *entry = NULL;

	if (strlen(name) < NAME_KEY_LEN)
		entry = hash_search(set->names, name, HASH_FIND, NULL);

	if (entry == NULL && table_exists(name))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" is not writable by clients", name),
				 errhint("Opt it in with tide.allow_writes().")));
	if (entry == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s\" does not exist", name)));
	if (entry->ambiguous)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_ALIAS),
				 errmsg("table name \"%s\" is ambiguous", name),
				 errhint("Qualify it with its schema.")));
	return entry->relid;
}

Oid
tide_primary_key_index(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	Oid			result = tide_table_key_index(rel);

	if (OidIsValid(result))
		return result;
	foreach(lc, indexes)
	{
		Oid			indexid = lfirst_oid(lc);
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for index %u", indexid);
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisprimary && index->indisvalid)
			result = indexid;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return result;
}

/* a table whose rows a client can name: permanent, of the user, with a primary key */
static void
check_table(Oid relid)
{
	Relation	rel = try_table_open(relid, AccessShareLock);
	char	   *schema;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u does not exist", relid)));

	schema = get_namespace_name(RelationGetNamespace(rel));
	if (rel->rd_rel->relkind != RELKIND_RELATION &&
		rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", RelationGetRelationName(rel)),
				 errdetail("Clients can write to ordinary and partitioned tables only.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" is temporary", RelationGetRelationName(rel))));
	if (IsCatalogRelation(rel) || strcmp(schema, "tide_internal") == 0 ||
		strcmp(schema, "tide_shadow") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("table \"%s\" cannot be opened to clients",
						RelationGetRelationName(rel)),
				 errdetail("It belongs to the system.")));
	if (!OidIsValid(tide_primary_key_index(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no primary key", RelationGetRelationName(rel)),
				 errdetail("Clients name the rows they write by the primary key.")));
	table_close(rel, NoLock);
}

static void
check_conflict(const char *conflict)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; i < lengthof(conflict_policies); i++)
	{
		if (strcmp(conflict, conflict_policies[i]) == 0)
			return;
		appendStringInfo(&valid, "%s%s", i > 0 ? ", " : "", conflict_policies[i]);
	}
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("conflict policy \"%s\" is not supported", conflict),
			 errdetail("Supported policies: %s.", valid.data)));
}

static void
run_as_owner(SPIPlanPtr *plan, const char *sql, Oid relid, const char *conflict)
{
	static const Oid types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(relid), CStringGetTextDatum(conflict)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(plan, sql, lengthof(types), types, values, NULL, false, 0);
	tide_spi_end(&frame);
}

static void
add_name(TideWritableSet *set, const char *name, Oid relid)
{
	NameEntry  *entry;
	bool		found;

	if (strlen(name) >= NAME_KEY_LEN)
		return;
	entry = hash_search(set->names, name, HASH_ENTER, &found);
	if (!found)
	{
		entry->relid = relid;
		entry->ambiguous = false;
	}
	else if (entry->relid != relid)
		entry->ambiguous = true;
}

/* whether SQL would find the table; only for a better error */
static bool
table_exists(const char *name)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));

	if (list_length(names) > 2)
		return false;
	return OidIsValid(RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, true));
}
