/*
 * encrypted.c
 *	  Columns that a definition declares to hold ciphertext only, field "encrypted".
 *
 * The same value has another ciphertext each time, so a condition on one would be about nothing.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape/columns.h"
#include "shape/encrypted.h"
#include "shape/table_check.h"

/* what tide.push knows the form of an envelope in */
static const Oid envelope_types[] = {TEXTOID, VARCHAROID, BYTEAOID, JSONBOID, JSONOID};

typedef struct ExprCheck
{
	List	   *columns;		/* of TideEncryptedColumn */
	const char *field;
} ExprCheck;

static AttrNumber
column_of(Relation rel, const char *name)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						name, RelationGetRelationName(rel))));
	return attnum;
}

List *
tide_encrypted_add(List *columns, Relation rel, List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		TideEncryptedColumn *column = palloc(sizeof(TideEncryptedColumn));

		column->relid = RelationGetRelid(rel);
		column->attnum = column_of(rel, lfirst(lc));
		columns = lappend(columns, column);
	}
	return columns;
}

static void
check_type(Relation rel, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	Oid			type = getBaseType(att->atttypid);

	for (int i = 0; i < lengthof(envelope_types); i++)
	{
		if (envelope_types[i] == type)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" of table \"%s\" cannot be encrypted",
					NameStr(att->attname), RelationGetRelationName(rel)),
			 errdetail("It is of type %s; an encrypted value is held by a bytea, text, varchar, json or jsonb.",
					   format_type_be(att->atttypid))));
}

List *
tide_encrypted_columns(Relation rel, List *names, const Bitmapset *shown)
{
	Bitmapset  *key = names != NIL ? tide_shape_table_key(rel) : NULL;
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, names)
	{
		AttrNumber	attnum = column_of(rel, lfirst(lc));
		int			member = attnum - FirstLowInvalidHeapAttributeNumber;

		if (bms_is_member(member, key))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("column \"%s\" of table \"%s\" cannot be encrypted",
							(char *) lfirst(lc), RelationGetRelationName(rel)),
					 errdetail("It belongs to the key that tells the rows apart.")));
		if (!bms_is_member(member, shown))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("encrypted column \"%s\" is not among \"columns\"",
							(char *) lfirst(lc))));
		check_type(rel, attnum);
		result = list_append_unique_int(result, attnum);
	}
	return result;
}

/* a TideColumnCallback; attnum 0 is the whole row */
static void
check_column(void *arg, Oid relid, AttrNumber attnum, TideColumnOf of)
{
	ExprCheck  *check = arg;
	ListCell   *lc;

	foreach(lc, check->columns)
	{
		TideEncryptedColumn *column = lfirst(lc);

		if (column->relid == relid && (column->attnum == attnum || attnum == 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("encrypted column \"%s\" of table \"%s\" cannot be used in \"%s\"",
							get_attname(relid, column->attnum, false), get_rel_name(relid),
							check->field),
					 errdetail("The server sees nothing but ciphertext, another one each time.")));
	}
}

void
tide_encrypted_check_expr(List *columns, Node *expr, List *relids, const char *field)
{
	ExprCheck	check = {columns, field};

	if (columns != NIL)
		tide_columns_walk(expr, relids, check_column, &check);
}
