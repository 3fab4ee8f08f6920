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
#include "push/conflict_policy.h"
#include "push/writable.h"
#include "util/spi.h"

/* quoted and qualified: two names, each byte doubled, four quotes and a dot */
#define NAME_KEY_LEN	(4 * NAMEDATALEN + 8)

typedef struct NameEntry
{
	char		name[NAME_KEY_LEN]; /* hash key */
	Oid			relid;
	bool		ambiguous;
} NameEntry;

struct TideWritableSet
{
	HTAB	   *names;			/* of NameEntry */
	HTAB	   *policies;		/* of TideTablePolicies; NULL: all have
								 * overwrite */
	MemoryContext context;
};

static void check_table(Oid relid);
static void read_policies(TideWritableSet *set);
static TideTablePolicies *add_policies(TideWritableSet *set, Oid relid);
static void add_table(TideWritableSet *set, Oid relid);
static void add_name(TideWritableSet *set, const char *name, Oid relid);
static bool table_exists(const char *name);

void
tide_writable_allow(Oid relid, const char *conflict)
{
	TideSpiFrame frame;

	tide_conflict_policy_check_table(tide_conflict_policy_parse(conflict));
	check_table(relid);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_writable_store(relid, conflict);
	tide_conflict_forget_unused();
	tide_spi_end(&frame);
}

void
tide_writable_disallow(Oid relid)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID};
	Datum		values[] = {ObjectIdGetDatum(relid)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&plan,
				 "DELETE FROM tide_internal.writable_tables w WHERE w.relid = $1"
				 " OR NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = w.relid)",
				 lengthof(types), types, values, NULL, false, 0);
	tide_conflict_forget_unused();
	tide_spi_end(&frame);
}

void
tide_writable_store(Oid relid, const char *conflict)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(relid), CStringGetTextDatum(conflict)};

	tide_spi_run(&plan,
				 "INSERT INTO tide_internal.writable_tables (relid, conflict)"
				 " VALUES ($1, $2)"
				 " ON CONFLICT (relid) DO UPDATE SET conflict = excluded.conflict",
				 lengthof(types), types, values, NULL, false, 0);
}

void
tide_writable_refuse(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("table \"%s\" is not writable by clients", get_rel_name(relid)),
			 errhint("Opt it in with tide.allow_writes().")));
}

TideWritableSet *
tide_writable_read(MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	TideWritableSet *set = MemoryContextAllocZero(context, sizeof(TideWritableSet));
	HASHCTL		ctl = {.keysize = NAME_KEY_LEN,.entrysize = sizeof(NameEntry),.hcxt = context};
	bool		has_policies = false;

	set->context = context;
	set->names = hash_create("tide writable tables", 64, &ctl,
							 HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	/*
	 * names by the system caches: a join would read all of pg_class for each
	 * push
	 */
	tide_spi_run(&plan,
				 "SELECT w.relid, w.conflict <> 'overwrite'"
				 " OR EXISTS (SELECT FROM tide_internal.conflict_policies)"
				 " FROM tide_internal.writable_tables w",
				 0, NULL, NULL, NULL, false, 0);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		has_policies |= DatumGetBool(SPI_getbinval(row, desc, 2, &isnull));
		add_table(set, DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull)));
	}
	if (has_policies)
		read_policies(set);
	return set;
}

/* tables' own policies first, then their columns' */
static void
read_policies(TideWritableSet *set)
{
	static SPIPlanPtr plan = NULL;
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(TideTablePolicies),
	.hcxt = set->context};

	set->policies = hash_create("tide conflict policies", 64, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	tide_spi_run(&plan,
				 "SELECT w.relid, 0::int2, w.conflict,"
				 " (SELECT p.function FROM tide_internal.conflict_policies p"
				 "  WHERE p.relid = w.relid AND p.attnum = 0)"
				 " FROM tide_internal.writable_tables w"
				 " UNION ALL SELECT p.relid, p.attnum, p.policy, p.function"
				 " FROM tide_internal.conflict_policies p WHERE p.attnum > 0 ORDER BY 1, 2",
				 0, NULL, NULL, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		Oid			relid = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
		TideTablePolicies *policies = add_policies(set, relid);
		TideColumnPolicy policy = {0};

		policy.attnum = DatumGetInt16(SPI_getbinval(row, desc, 2, &isnull));
		policy.policy = tide_conflict_policy_parse(SPI_getvalue(row, desc, 3));
		policy.function = DatumGetObjectId(SPI_getbinval(row, desc, 4, &isnull));
		if (isnull)
			policy.function = InvalidOid;
		if (policy.attnum == 0)
			policies->own = policy;
		else
		{
			policies->columns = policies->columns == NULL ?
				MemoryContextAlloc(set->context, sizeof(TideColumnPolicy)) :
				repalloc(policies->columns, sizeof(TideColumnPolicy) * (policies->ncolumns + 1));
			policies->columns[policies->ncolumns++] = policy;
		}
	}
}

static TideTablePolicies *
add_policies(TideWritableSet *set, Oid relid)
{
	bool		found;
	TideTablePolicies *policies = hash_search(set->policies, &relid, HASH_ENTER, &found);

	if (!found)
		*policies = (TideTablePolicies)
	{
		.relid = relid
	};
	return policies;
}

const TideTablePolicies *
tide_writable_policies(const TideWritableSet *set, Oid relid)
{
	const TideTablePolicies *policies;

	if (set->policies == NULL)
		return NULL;
	policies = hash_search(set->policies, &relid, HASH_FIND, NULL);
	if (policies == NULL ||
		(policies->ncolumns == 0 && policies->own.policy == TIDE_CONFLICT_OVERWRITE))
		return NULL;
	return policies;
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

bool
tide_is_key_column(Relation rel, AttrNumber attnum)
{
	Oid			indexid = tide_primary_key_index(rel);
	HeapTuple	tuple;
	Form_pg_index index;
	bool		found = false;

	if (!OidIsValid(indexid))
		return false;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	index = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < index->indnkeyatts; i++)
		found |= index->indkey.values[i] == attnum;
	ReleaseSysCache(tuple);
	return found;
}

/* nothing if it has been dropped */
static void
add_table(TideWritableSet *set, Oid relid)
{
	char	   *table = get_rel_name(relid);
	char	   *schema = table ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	if (schema == NULL)
		return;
	add_name(set, table, relid);
	add_name(set, quote_identifier(table), relid);
	add_name(set, psprintf("%s.%s", schema, table), relid);
	add_name(set, quote_qualified_identifier(schema, table), relid);
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
