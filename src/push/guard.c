/*
 * guard.c
 *	  What a table asks of mutations besides rights: envelopes in its encrypted columns, signatures.
 *
 * The form of an envelope is all that can be checked without a key; it is what keeps plaintext out that
 * a client sends by mistake, not one that is made to look like ciphertext. A column counts as encrypted while
 * any shape declares it, so that a client cannot choose the shape that does not; and what is asked of a partitioned
 * table is asked of its partitions, and the other way round, since rows get from one into the other.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "crypto/envelope.h"
#include "push/guard.h"
#include "push/signature.h"
#include "util/spi.h"

typedef struct GuardEntry
{
	Oid			relid;			/* hash key */
	bool		is_signed;
	Bitmapset  *encrypted;		/* attnums */
} GuardEntry;

struct TideGuardSet
{
	HTAB	   *tables;			/* of GuardEntry */
};

TideGuardSet *
tide_guard_read(MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	HASHCTL		ctl = {.keysize = sizeof(Oid),.entrysize = sizeof(GuardEntry),.hcxt = context};
	MemoryContext old;
	TideGuardSet *set;

	tide_spi_run(&plan,
				 "SELECT e.relid, e.attnum FROM tide_internal.encrypted_columns e"
				 " JOIN tide_internal.shapes s USING (shape_id) WHERE s.state <> 'dropped'"
				 " UNION ALL SELECT t.relid, 0 FROM tide_internal.signed_tables t",
				 0, NULL, NULL, NULL, false, 0);
	if (SPI_processed == 0)
		return NULL;

	old = MemoryContextSwitchTo(context);
	set = palloc(sizeof(TideGuardSet));
	set->tables = hash_create("tide guarded tables", 16, &ctl,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		bool		found;
		Datum		relid = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		Datum		attnum = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull);
		Oid			key = DatumGetObjectId(relid);
		GuardEntry *entry = hash_search(set->tables, &key, HASH_ENTER, &found);

		if (!found)
		{
			entry->is_signed = false;
			entry->encrypted = NULL;
		}
		if (DatumGetInt32(attnum) == 0)
			entry->is_signed = true;
		else
			entry->encrypted = bms_add_member(entry->encrypted, DatumGetInt32(attnum));
	}
	MemoryContextSwitchTo(old);
	return set;
}

/* bytea as pull and to_jsonb() write it: \x and hexadecimal digits */
static bool
is_hex_envelope(const char *text, int len)
{
	if (len % 2 != 0 || len < 2 + 2 * TIDE_ENVELOPE_OVERHEAD || strncmp(text, "\\x01", 4) != 0)
		return false;
	for (int i = 4; i < len; i++)
	{
		if (!isxdigit((unsigned char) text[i]))
			return false;
	}
	return true;
}

static bool
is_envelope(const JsonbValue *value, Oid type)
{
	if (value->type == jbvNull)
		return true;
	if (value->type != jbvString)
		return false;
	if (getBaseType(type) == BYTEAOID)
		return is_hex_envelope(value->val.string.val, value->val.string.len);
	return tide_envelope_text_is_valid(value->val.string.val, value->val.string.len);
}

/* columns of relid, in values by their names */
static void
check_values(Oid relid, const Bitmapset *encrypted, Jsonb *values)
{
	int			attnum = -1;

	while ((attnum = bms_next_member(encrypted, attnum)) >= 0)
	{
		HeapTuple	tuple = SearchSysCacheAttNum(relid, attnum);
		Form_pg_attribute att;
		JsonbValue	value;

		if (!HeapTupleIsValid(tuple))	/* dropped */
			continue;
		att = (Form_pg_attribute) GETSTRUCT(tuple);
		if (getKeyJsonValueFromContainer(&values->root, NameStr(att->attname),
										 strlen(NameStr(att->attname)), &value) != NULL &&
			!is_envelope(&value, att->atttypid))
			ereport(ERROR,
					(errcode(ERRCODE_CHECK_VIOLATION),
					 errmsg("column \"%s\" of table \"%s\" holds only encrypted values",
							NameStr(att->attname), get_rel_name(relid))));
		ReleaseSysCache(tuple);
	}
}

/* the table, and those whose rows are its own */
static List *
related_tables(Relation rel)
{
	List	   *result = list_make1_oid(RelationGetRelid(rel));

	if (rel->rd_rel->relispartition)
		result = list_concat(result, get_partition_ancestors(RelationGetRelid(rel)));
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		result = list_concat_unique_oid(result, find_all_inheritors(RelationGetRelid(rel),
																	NoLock, NULL));
	return result;
}

void
tide_guard_check(const TideGuardSet *set, const pg_uuid_t *client, Jsonb *claims,
				 const TideMutation *mutation, Relation rel)
{
	bool		is_signed = false;
	ListCell   *lc;

	foreach(lc, set ? related_tables(rel) : NIL)
	{
		Oid			relid = lfirst_oid(lc);
		const GuardEntry *entry = hash_search(set->tables, &relid, HASH_FIND, NULL);

		if (entry == NULL)
			continue;
		is_signed |= entry->is_signed;
		if (mutation->values != NULL)
			check_values(relid, entry->encrypted, mutation->values);
	}
	if (is_signed || mutation->signature != NULL)
		tide_signature_check(client, claims, mutation);
	if (is_signed)
		tide_signature_keep(client, mutation, rel);
}
