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
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "shape/owner_rights.h"

typedef struct ColumnCheck
{
	Oid			owner;
	Oid			row_relids[2];	/* of varno 1 and 2, outside of queries */
	List	   *queries;		/* of Query: those around, innermost first */
} ColumnCheck;

static bool may_read_table(Oid relid, Oid owner);
static bool may_read_columns(const TideShape *shape, const TideShapeNode *node);
static bool lacks_rights(Node *node, void *context);
static bool lacks_column(const ColumnCheck *check, Oid relid, AttrNumber attnum);
static Oid	parent_relid(const TideShape *shape, const TideShapeNode *node);

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
	ColumnCheck check = {.owner = shape->owner};
	ListCell   *lc;

	check.row_relids[0] = node->relid;
	for (int i = 0; i < node->ncolumns; i++)
	{
		if (lacks_column(&check, node->relid, node->columns[i]))
			return false;
	}
	foreach(lc, node->key_parts)
	{
		if (lacks_rights(((TideKeyPart *) lfirst(lc))->expr, &check))
			return false;
	}
	foreach(lc, node->lookups)
	{
		if (lacks_rights((Node *) ((TideKeyLookup *) lfirst(lc))->query, &check))
			return false;
	}
	foreach(lc, node->order_by)
	{
		if (lacks_rights(((TideSortKey *) lfirst(lc))->expr, &check))
			return false;
	}
	if (lacks_rights(node->filter, &check) || lacks_rights(node->subfilter, &check))
		return false;
	check.row_relids[0] = parent_relid(shape, node);
	check.row_relids[1] = node->relid;
	return !lacks_rights(node->join_on, &check);
}

/* walker: whether a column is used that the owner may not read */
static bool
lacks_rights(Node *node, void *context)
{
	ColumnCheck *check = context;
	bool		result;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		Query	   *query;
		RangeTblEntry *rte;

		if (var->varlevelsup >= list_length(check->queries))
			return lacks_column(check, check->row_relids[var->varno == 2], var->varattno);
		query = list_nth(check->queries, var->varlevelsup);
		rte = rt_fetch(var->varno, query->rtable);
		return rte->rtekind == RTE_RELATION && lacks_column(check, rte->relid, var->varattno);
	}
	if (!IsA(node, Query))
		return expression_tree_walker(node, lacks_rights, context);
	check->queries = lcons(node, check->queries);
	result = query_tree_walker((Query *) node, lacks_rights, context, 0);
	check->queries = list_delete_first(check->queries);
	return result;
}

/* attnum 0 is all columns */
static bool
lacks_column(const ColumnCheck *check, Oid relid, AttrNumber attnum)
{
	if (TIDE_ATTNUM_IS_OWN(attnum) || attnum < 0 || !OidIsValid(relid) ||
		pg_class_aclcheck(relid, check->owner, ACL_SELECT) == ACLCHECK_OK)
		return false;
	if (attnum == 0)
		return pg_attribute_aclcheck_all(relid, check->owner, ACL_SELECT,
										 ACLMASK_ALL) != ACLCHECK_OK;
	return pg_attribute_aclcheck(relid, attnum, check->owner, ACL_SELECT) != ACLCHECK_OK;
}

static Oid
parent_relid(const TideShape *shape, const TideShapeNode *node)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		const TideShapeNode *other = lfirst(lc);

		if (other->node_id == node->parent_id)
			return other->relid;
	}
	return InvalidOid;
}
