/*
 * table_check.c
 *	  Which tables a shape can be made of, and by whom.
 *
 * A shape's rows are told apart by the primary key and come from the WAL, so a
 * table needs both; and its rows must be its own (no partitions, no inheritance).
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

#include "shape/table_check.h"

static const char *const own_schemas[] = {"tide", "tide_internal", "tide_shadow"};

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
						 NULL);
			break;
		case RELKIND_PARTITIONED_TABLE:
			refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
						 "It is partitioned, which is not supported.",
						 NULL);
			break;
		default:
			refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
						 "It is not a table.", NULL);
	}
	if (rel->rd_rel->relispartition)
		refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
					 "It is a partition, which is not supported.", NULL);
	if (has_superclass(RelationGetRelid(rel)) ||
		find_inheritance_children(RelationGetRelid(rel), NoLock) != NIL)
		refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
					 "It takes part in table inheritance, which is not supported.",
					 NULL);
}

static void
check_place(Relation rel)
{
	char	   *schema = get_namespace_name(RelationGetNamespace(rel));

	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
					 "It is temporary: its changes are not in the WAL.", NULL);
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
					 "It is unlogged: its changes are not in the WAL.",
					 "Run ALTER TABLE ... SET LOGGED.");
	if (IsSystemRelation(rel))
		refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
					 "It is a system catalog.", NULL);
	for (int i = 0; i < lengthof(own_schemas); i++)
	{
		if (strcmp(schema, own_schemas[i]) == 0)
			refuse_table(rel, ERRCODE_WRONG_OBJECT_TYPE,
						 "It belongs to pg_tide itself.", NULL);
	}
}

/* Oid of the primary key's index, deferrable or not; InvalidOid if there is none */
static Oid
primary_key_index(Relation rel, bool *is_immediate)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;
	Oid			result = InvalidOid;

	foreach(lc, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisprimary && index->indisunique && index->indisvalid)
		{
			result = index->indexrelid;
			*is_immediate = index->indimmediate;
		}
		ReleaseSysCache(tuple);
	}
	return result;
}

Bitmapset *
tide_shape_table_key(Relation rel)
{
	return RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
}

static void
check_primary_key(Relation rel)
{
	Bitmapset  *key;
	bool		is_immediate = false;
	int			i = -1;

	if (!OidIsValid(primary_key_index(rel, &is_immediate)))
		refuse_table(rel, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					 "It has no primary key to tell its rows apart.",
					 "Run ALTER TABLE ... ADD PRIMARY KEY.");
	if (!is_immediate)
		refuse_table(rel, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
					 "Its primary key is deferrable, so that two rows may have the same key for a while.",
					 "Create the primary key as NOT DEFERRABLE.");

	key = tide_shape_table_key(rel);
	while ((i = bms_next_member(key, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
		TypeCacheEntry *type = lookup_type_cache(att->atttypid,
												 TYPECACHE_EQ_OPR |
												 TYPECACHE_CMP_PROC |
												 TYPECACHE_HASH_PROC);

		if (!OidIsValid(type->eq_opr) || !OidIsValid(type->cmp_proc) ||
			!OidIsValid(type->hash_proc))
			refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
						 psprintf("Column \"%s\" of its primary key is of type %s, which has no default ordering or hashing.",
								  NameStr(att->attname),
								  format_type_be(att->atttypid)),
						 NULL);
	}
}

static void
check_replica_identity(Relation rel)
{
	Bitmapset  *identity;

	switch (rel->rd_rel->relreplident)
	{
		case REPLICA_IDENTITY_NOTHING:
			refuse_table(rel, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						 "Its replica identity is NOTHING, so the WAL does not tell which row an update or a delete concerns.",
						 "Run ALTER TABLE ... REPLICA IDENTITY DEFAULT.");
			break;
		case REPLICA_IDENTITY_INDEX:
			identity = RelationGetIndexAttrBitmap(rel,
												  INDEX_ATTR_BITMAP_IDENTITY_KEY);
			if (!bms_equal(identity, tide_shape_table_key(rel)))
				refuse_table(rel, ERRCODE_FEATURE_NOT_SUPPORTED,
							 "Its replica identity is an index on other columns than the primary key's.",
							 "Run ALTER TABLE ... REPLICA IDENTITY DEFAULT.");
			break;
		case REPLICA_IDENTITY_DEFAULT:
		case REPLICA_IDENTITY_FULL:
			break;
	}
}

void
tide_shape_check_table(Relation rel)
{
	check_kind(rel);
	check_place(rel);
	check_primary_key(rel);
	check_replica_identity(rel);
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
