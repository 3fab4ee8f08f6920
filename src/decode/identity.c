/*
 * identity.c
 *	  What the WAL tells of a table's old rows, and what names a row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "decode/identity.h"
#include "util/compat.h"

AttrNumber *
tide_streamed_columns(TupleDesc desc, int *count)
{
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * (desc->natts + 1));

	*count = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && TIDE_ATT_IS_STORED(attribute))
			attnums[(*count)++] = attribute->attnum;
	}
	return attnums;
}

/* the key columns of an index, in index order */
static AttrNumber *
index_keys(Oid index, int *count)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	AttrNumber *keys;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tuple);
	*count = form->indnkeyatts;
	keys = palloc(sizeof(AttrNumber) * form->indnkeyatts);
	memcpy(keys, form->indkey.values, sizeof(AttrNumber) * form->indnkeyatts);
	ReleaseSysCache(tuple);
	return keys;
}

void
tide_identity_init(TideIdentity *identity, Relation relation)
{
	Oid			index = RelationGetReplicaIndex(relation);

	memset(identity, 0, sizeof(*identity));
	identity->full = relation->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	if (identity->full)
		index = tide_primary_key_index_compat(relation);

	if (OidIsValid(index))
		identity->keys = index_keys(index, &identity->nkeys);
	else if (identity->full)
		identity->keys = tide_streamed_columns(RelationGetDescr(relation),
											   &identity->nkeys);

	if (identity->full)
		identity->columns = bms_add_range(NULL, 1, RelationGetDescr(relation)->natts);
	else
	{
		for (int i = 0; i < identity->nkeys; i++)
			identity->columns = bms_add_member(identity->columns, identity->keys[i]);
	}
}
