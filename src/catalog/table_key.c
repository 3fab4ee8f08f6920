/*
 * table_key.c
 *	  What tells the rows of a table apart, for the ingest and for clients.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "catalog/table_key.h"
#include "util/compat.h"

const char *
tide_own_column_name(AttrNumber attnum)
{
	return attnum == TIDE_ATTNUM_ROW ? "_row" :
		attnum == TIDE_ATTNUM_COPY ? "_copy" : "_leaf";
}

Oid
tide_own_column_type(AttrNumber attnum)
{
	return attnum == TIDE_ATTNUM_ROW ? UUIDOID :
		attnum == TIDE_ATTNUM_COPY ? INT4OID : OIDOID;
}

char *
tide_column_name(Oid relid, AttrNumber attnum)
{
	if (TIDE_ATTNUM_IS_OWN(attnum))
		return pstrdup(tide_own_column_name(attnum));
	return get_attname(relid, attnum, true);
}

/* key columns of an index into attnums, in index order */
static int
index_columns(Oid index, AttrNumber *attnums)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	int			n;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tuple);
	n = form->indnkeyatts;
	memcpy(attnums, form->indkey.values, sizeof(AttrNumber) * n);
	ReleaseSysCache(tuple);
	return n;
}

static Bitmapset *
column_set(const AttrNumber *attnums, int n)
{
	Bitmapset  *set = NULL;

	for (int i = 0; i < n; i++)
		set = bms_add_member(set, attnums[i]);
	return set;
}

Oid
tide_table_key_index(Relation rel)
{
	Oid			primary = tide_primary_key_index_compat(rel);
	Oid			index = rel->rd_rel->relreplident == REPLICA_IDENTITY_INDEX ?
	RelationGetReplicaIndex(rel) : InvalidOid;
	AttrNumber	attnums[INDEX_MAX_KEYS];
	AttrNumber	others[INDEX_MAX_KEYS];
	int			n;

	if (!OidIsValid(primary) || !OidIsValid(index))
		return OidIsValid(index) ? index : primary;
	n = index_columns(primary, attnums);
	if (bms_is_subset(column_set(attnums, n),
					  column_set(others, index_columns(index, others))))
		return primary;
	return index;
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

int
tide_client_key(Relation rel, AttrNumber *attnums)
{
	Oid			index = tide_primary_key_index(rel);

	return OidIsValid(index) ? index_columns(index, attnums) : 0;
}

int
tide_table_key(Relation rel, AttrNumber *attnums)
{
	Oid			index = tide_table_key_index(rel);

	if (OidIsValid(index))
		return index_columns(index, attnums);
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_DEFAULT)
		return 0;
	attnums[0] = TIDE_ATTNUM_ROW;
	attnums[1] = TIDE_ATTNUM_COPY;
	return 2;
}

Bitmapset *
tide_table_identity(Relation rel, bool *all)
{
	AttrNumber	attnums[INDEX_MAX_KEYS];
	Oid			index;

	*all = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	index = *all ? InvalidOid : RelationGetReplicaIndex(rel);
	if (!OidIsValid(index))
		return NULL;
	return column_set(attnums, index_columns(index, attnums));
}
