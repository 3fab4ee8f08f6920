/*
 * owner_rights.c
 *	  Whether a shape's owner may still read what his shape shows.
 *
 * A shape gives away what its owner may read, like a view. Its rows come from shadow tables, on
 * which nobody has rights, so rights that are taken from the owner later have to be looked for.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "shape/columns.h"
#include "shape/owner_rights.h"

typedef struct ColumnCheck
{
	Oid			owner;
	bool		lacks;			/* a column that the owner may not read */
} ColumnCheck;

static bool may_read_table(Oid relid, Oid owner);
static bool may_read_columns(const TideShape *shape, const TideShapeNode *node);
static void check_column(void *arg, Oid relid, AttrNumber attnum, TideColumnOf of);

bool
tide_shape_owner_may_read(const TideShape *shape)
{
	bool		whole = true;
	ListCell   *lc;

	if (superuser_arg(shape->owner))
		return true;
	foreach(lc, tide_shape_relids(shape))
	{
		Oid			relid = lfirst_oid(lc);

		if (!may_read_table(relid, shape->owner))
			return false;
		whole &= pg_class_aclcheck(relid, shape->owner, ACL_SELECT) == ACLCHECK_OK;
	}
	if (whole)
		return true;
	foreach(lc, shape->nodes)
	{
		if (!may_read_columns(shape, lfirst(lc)))
			return false;
	}
	return true;
}

/* something of the table, and all of its rows; a table that is gone is the ingest's business */
static bool
may_read_table(Oid relid, Oid owner)
{
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return true;
	if (pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK &&
		pg_attribute_aclcheck_all(relid, owner, ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
		return false;
	return check_enable_rls(relid, owner, true) != RLS_ENABLED;
}

static bool
may_read_columns(const TideShape *shape, const TideShapeNode *node)
{
	ColumnCheck check = {shape->owner, false};
	ListCell   *lc;

	for (int i = 0; i < node->ncolumns; i++)
		check_column(&check, node->relid, node->columns[i], TIDE_COLUMN_OF_ROW);
	foreach(lc, node->lookups)
		tide_columns_walk(((TideKeyLookup *) lfirst(lc))->query, NIL, check_column, &check);
	tide_columns_walk_node(shape, node, check_column, &check);
	return !check.lacks;
}

/* attnum 0 is all columns */
static void
check_column(void *arg, Oid relid, AttrNumber attnum, TideColumnOf of)
{
	ColumnCheck *check = arg;

	if (TIDE_ATTNUM_IS_OWN(attnum) || attnum < 0 ||
		pg_class_aclcheck(relid, check->owner, ACL_SELECT) == ACLCHECK_OK)
		return;
	if (attnum == 0)
		check->lacks |= pg_attribute_aclcheck_all(relid, check->owner, ACL_SELECT,
												  ACLMASK_ALL) != ACLCHECK_OK;
	else
		check->lacks |= pg_attribute_aclcheck(relid, attnum, check->owner,
											  ACL_SELECT) != ACLCHECK_OK;
}
