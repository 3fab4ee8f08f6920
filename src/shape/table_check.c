/*
 * table_check.c
 *	  Which tables a shape can be made of, and by whom.
 *
 * A shape's rows are told apart by a key (catalog/table_key.h) and come from the WAL, so a
 * table needs both; and its rows must be its own or its partitions'.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "catalog/table_key.h"
#include "shape/table_check.h"

static const char *const own_schemas[] = {"tide_internal", "tide_shadow"};

/* the one way a table is refused for what it is */
static void
refuse_table(Relation rel, int code, const char *reason, const char *hint)
{
	ereport(ERROR,
			(errcode(code),
			 errmsg("cannot make a shape of \"%s\"",
					RelationGetRelationName(rel)),
			 errdetail("%s", reason),
			 hint ? errhint("%s", hint) : 0));
}

static void
check_kind(Relation rel)
{
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_VIEW:
		case RELKIND_MATVIEW:
			refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
						 "It is a view: its changes are not in the WAL.",
						 "Use the table behind it, with the view's condition in \"where\".");
			break;
		case RELKIND_FOREIGN_TABLE:
			refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
						 "It is a foreign table: its changes are not in this server's WAL.",
						 "Run pg_tide where the table is, or replicate it into a table of this database.");
			break;
		default:
			refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
						 "It is not a table.",
						 "A shape is made of ordinary and partitioned tables.");
	}
	if (rel->rd_rel->relkind == RELKIND_RELATION &&
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
					 "Other tables inherit from it, so that it shows rows that are not its own.",
					 "Make shapes of the tables that inherit, or a partitioned table of them all.");
}

static void
check_place(Relation rel)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));

	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
					 "It is temporary: its changes are not in the WAL.",
					 "Use a permanent table.");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
					 "It is unlogged: its changes are not in the WAL.",
					 "Run ALTER TABLE ... SET LOGGED.");
	if (IsSystemRelation(rel))
		refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
					 "It is a system catalog.",
					 "Keep what clients are to see in a table of your own.");
	for (int i = 0; i < lengthof(own_schemas); i++)
	{
		if (strcmp(schema, own_schemas[i]) == 0)
			refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
						 "It belongs to pg_tide itself.", NULL);
	}
}

/* whether there is a primary key at all, deferrable or not */
static bool
has_primary_key(Relation rel)
{
	bool		result = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		result |= ((Form_pg_index) GETSTRUCT(tuple))->indisprimary;
		ReleaseSysCache(tuple);
	}
	return result;
}

Bitmapset *
tide_shape_table_key(Relation rel)
{
	AttrNumber	attnums[INDEX_MAX_KEYS];
	int			n = tide_table_key(rel, attnums);
	Bitmapset  *key = NULL;

	for (int i = 0; i < n; i++)
		key = bms_add_member(key, attnums[i] - FirstLowInvalidHeapAttributeNumber);
	return key;
}

/* rows told apart by their content: see catalog/table_key.h */
static void
check_row_key(Relation rel)
{
	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

		if (!att->attisdropped &&
			(strcmp(NameStr(att->attname), tide_own_column_name(TIDE_ATTNUM_ROW)) == 0 ||
			 strcmp(NameStr(att->attname), tide_own_column_name(TIDE_ATTNUM_COPY)) == 0))
			refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
						 psprintf("It has no primary key, and a column \"%s\": that is what pg_tide calls the key it makes up.",
								  NameStr(att->attname)),
						 "Rename the column, or run ALTER TABLE ... ADD PRIMARY KEY.");
	}
}

static void
check_key(Relation rel)
{
	AttrNumber	attnums[INDEX_MAX_KEYS];
	int			n = tide_table_key(rel, attnums);

	if (n == 0 && has_primary_key(rel))
		refuse_table(rel, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					 "Its primary key is deferrable, so that two rows may have the same key for a while.",
					 "Create the primary key as NOT DEFERRABLE, or run ALTER TABLE ... REPLICA IDENTITY FULL.");
	if (n == 0)
		refuse_table(rel, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					 "It has no primary key to tell its rows apart.",
					 "Run ALTER TABLE ... ADD PRIMARY KEY, or ALTER TABLE ... REPLICA IDENTITY FULL.");
	if (TIDE_ATTNUM_IS_OWN(attnums[0]))
	{
		check_row_key(rel);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnums[i] - 1);
		TypeCacheEntry *type = lookup_type_cache(att->atttypid,
												 TYPECACHE_EQ_OPR |
												 TYPECACHE_CMP_PROC |
												 TYPECACHE_HASH_PROC);

		if (!OidIsValid(type->eq_opr) || !OidIsValid(type->cmp_proc) ||
			!OidIsValid(type->hash_proc))
			refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
						 psprintf("Column \"%s\" of its key is of type %s, which has no default ordering or hashing.",
								  NameStr(att->attname),
								  format_type_be(att->atttypid)),
						 "Use a key of another type, or none and REPLICA IDENTITY FULL.");
	}
}

/*
 * The kinds of change of which the WAL does not tell which row they concern are made up for
 * by copying and comparing the table, which takes its time: say so.
 */
static void
warn_of_identity(Relation rel, Relation root)
{
	Bitmapset  *columns;
	AttrNumber	key[INDEX_MAX_KEYS];
	int			n = tide_table_key(root, key);
	bool		all;

	columns = tide_table_identity(rel, &all);
	for (int i = 0; i < n && !all; i++)
	{
		AttrNumber	attnum = key[i];

		if (!TIDE_ATTNUM_IS_OWN(attnum) && rel != root)
			attnum = get_attnum(RelationGetRelid(rel),
								get_attname(RelationGetRelid(root), attnum, false));
		if (bms_is_member(attnum, columns))
			continue;
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("replica identity of table \"%s\" does not tell which row an update or a delete concerns",
						RelationGetRelationName(rel)),
				 errdetail("Inserts are taken in as usual; after an update or a delete all of table \"%s\" is read and compared.",
						   RelationGetRelationName(root)),
				 errhint("Run ALTER TABLE ... REPLICA IDENTITY DEFAULT or FULL, unless rows are only ever inserted.")));
		return;
	}
}

static void
check_storage(Relation rel, Relation root)
{
	if (rel->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
		refuse_table(root, ERRCODE_WRONG_OBJECT_TYPE,
					 psprintf("Its partition \"%s\" is a foreign table: its changes are not in this server's WAL.",
							  RelationGetRelationName(rel)),
					 "Detach it, or make shapes of the other partitions.");
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		refuse_table(root, ERRCODE_WRONG_OBJECT_TYPE,
					 psprintf("Its partition \"%s\" is unlogged: its changes are not in the WAL.",
							  RelationGetRelationName(rel)),
					 "Run ALTER TABLE ... SET LOGGED.");
}

/* what holds the rows: the table itself, or its partitions */
static void
check_partitions(Relation rel)
{
	ListCell   *lc;

	if (rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
	{
		warn_of_identity(rel, rel);
		return;
	}
	foreach(lc, find_all_inheritors(RelationGetRelid(rel), AccessShareLock, NULL))
	{
		Relation	part = relation_open(lfirst_oid(lc), NoLock);

		if (part->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		{
			check_storage(part, rel);
			warn_of_identity(part, rel);
		}
		relation_close(part, NoLock);
	}
}

void
tide_shape_check_table(Relation rel)
{
	check_kind(rel);
	check_place(rel);
	check_key(rel);
	check_partitions(rel);
}

Relation
tide_shape_open_table(const char *name)
{
	List	   *names = textToQualifiedNameList(cstring_to_text(name));
	Oid			relid = RangeVarGetRelid(makeRangeVarFromNameList(names),
										 AccessShareLock, false);
	Relation	rel = relation_open(relid, NoLock);

	tide_shape_check_table(rel);
	return rel;
}

void
tide_shape_check_rights(Relation rel, Bitmapset *columns)
{
	Oid			relid = RelationGetRelid(rel);
	Oid			user = GetUserId();
	int			i = -1;

	if (pg_class_aclcheck(relid, user, ACL_SELECT) != ACLCHECK_OK)
	{
		while ((i = bms_next_member(columns, i)) >= 0)
		{
			AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

			if (TIDE_ATTNUM_IS_OWN(attnum))
				continue;
			if (pg_attribute_aclcheck(relid, attnum, user,
									  ACL_SELECT) != ACLCHECK_OK)
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("permission denied for column \"%s\" of table \"%s\"",
								get_attname(relid, attnum, false),
								RelationGetRelationName(rel)),
						 errhint("A shape's author needs SELECT on every column that it shows or uses.")));
		}
	}

	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("row-level security of table \"%s\" applies to role \"%s\"",
						RelationGetRelationName(rel),
						GetUserNameFromId(user, false)),
				 errdetail("A shape does not evaluate policies."),
				 errhint("Put the policies' conditions into \"where\", and create the shape as a role that may see all rows.")));
}
