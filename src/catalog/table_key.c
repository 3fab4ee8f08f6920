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

int
tide_table_key(Relation rel, AttrNumber *attnums)
{
	char		identity = rel->rd_rel->relreplident;
	Oid			primary = tide_primary_key_index_compat(rel);
	Oid			index = identity == REPLICA_IDENTITY_INDEX ?
		RelationGetReplicaIndex(rel) : InvalidOid;
	int			n = 0;

	if (OidIsValid(primary))
		n = index_columns(primary, attnums);
	if (OidIsValid(index))
	{
		AttrNumber	others[INDEX_MAX_KEYS];
		int			nothers = index_columns(index, others);

		if (n > 0 && bms_is_subset(column_set(attnums, n), column_set(others, nothers)))
			return n;
		memcpy(attnums, others, sizeof(AttrNumber) * nothers);
		return nothers;
	}
	if (n == 0 && identity != REPLICA_IDENTITY_DEFAULT)
	{
		attnums[n++] = TIDE_ATTNUM_ROW;
		attnums[n++] = TIDE_ATTNUM_COPY;
	}
	return n;
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
