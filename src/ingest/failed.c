/*
 * failed.c
 *	  Failed shapes, and the DDL that has them tried again.
 *
 * A shape that does not compile has no nodes, and compiling it after each DDL costs little. One whose expressions raised
 * an error has them still. It compiles, so that nothing but a build, which may be long and ends in the same
 * error again, tells whether it is cured: it is tried when DDL is about something that it depends on. Which that is the
 * transaction's cache invalidations say; our messages in the WAL, which anybody may write, say only that there is DDL.
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "storage/sinval.h"
#include "utils/syscache.h"

#include "catalog/shape_catalog.h"
#include "ingest/batch.h"
#include "ingest/failed.h"
#include "ingest/follow.h"
#include "ingest/recompile.h"
#include "util/spi.h"

/* types that an expression makes values of, or reads them of */
static bool
types_walker(Node *node, void *context)
{
	List	  **types = context;
	Oid			type = InvalidOid;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, types_walker, context, 0);
	switch (nodeTag(node))
	{
		case T_Var:
		case T_Const:
		case T_FuncExpr:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_CoerceToDomain:
			type = exprType(node);
			break;
		default:
			break;
	}
	if (OidIsValid(type))
		*types = list_append_unique_oid(*types, type);
	return expression_tree_walker(node, types_walker, context);
}

static bool
has_type(List *types, uint32 hash)
{
	ListCell   *lc;

	foreach(lc, types)
	{
		if (GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(lfirst_oid(lc))) == hash)
			return true;
	}
	return false;
}

/* whether a transaction is about something that a shape's expressions depend on */
static bool
concerns(const ReorderBufferTXN *txn, const TideShape *shape)
{
	List	   *relids = tide_shape_relids(shape);
	List	   *types = NIL;
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		(void) types_walker((Node *) tide_node_expressions(lfirst(lc)), &types);
	}
	for (uint32 i = 0; i < txn->ninvalidations; i++)
	{
		const SharedInvalidationMessage *message = &txn->invalidations[i];

		if (message->id == SHAREDINVALRELCACHE_ID ? list_member_oid(relids, message->rc.relId) :
			message->id == TYPEOID ? has_type(types, message->cc.hashValue) :
			message->id == PROCOID)
			return true;
	}
	return false;
}

/* whether a table of the shape waits to be rebuilt, which has it compiled again anyway */
static bool
is_broken(const TideIngest *in, const TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, tide_shape_relids(shape))
	{
		const TideWatch *watch = hash_search(in->watches, &lfirst_oid(lc), HASH_FIND, NULL);

		if (watch != NULL && watch->is_broken)
			return true;
	}
	return false;
}

void
tide_failed_note_ddl(TideIngest *in, ReorderBufferTXN *txn)
{
	MemoryContext old = MemoryContextSwitchTo(in->scratch);
	ListCell   *lc;

	foreach(lc, in->shapes)
	{
		const TideShape *shape = lfirst(lc);

		if (shape->state != TIDE_SHAPE_FAILED)
			continue;
		in->needs_reload = in->retry_failed = true;
		if (shape->nodes == NIL || is_broken(in, shape) || !concerns(txn, shape))
			continue;
		MemoryContextSwitchTo(in->context);
		in->cured = list_append_unique_int(in->cured, shape->shape_id);
		MemoryContextSwitchTo(in->scratch);
		in->batch->is_asked_for = true;
	}
	MemoryContextSwitchTo(old);
}

void
tide_failed_forget(TideIngest *in)
{
	ListCell   *lc;

	foreach(lc, in->cured)
	{
		(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes n USING tide_internal.shapes s"
								" WHERE n.shape_id = $1 AND s.shape_id = $1 AND s.state = 'failed'",
								lfirst_int(lc));
	}
	list_free(in->cured);
	in->cured = NIL;
}

void
tide_failed_forget_all(void)
{
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes n USING tide_internal.shapes s"
							" WHERE $1 = 0 AND s.shape_id = n.shape_id AND s.state = 'failed'", 0);
}

/*
 * What is left of a shape that was built before goes; its definition follows what was renamed since. False if a table
 * is locked.
 */
static bool
clean(TideIngest *in, const TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, in->sources)
	{
		const TideSource *source = lfirst(lc);

		if (tide_spi_run_for(psprintf("SELECT FROM tide_internal.shape_sources WHERE source_id = $1"
									  " AND shape_id = %d", shape->shape_id), source->source_id) == 0)
			continue;
		if (!ConditionalLockRelationOid(source->relid, AccessShareLock))
			return false;
		tide_definition_follow_early(shape, source);
		if (source->live)
			(void) tide_spi_run_for(psprintf("DELETE FROM tide_shadow.log%d l USING tide_internal.buckets b"
											 " WHERE b.shape_id = $1 AND l.bucket_id = b.bucket_id",
											 source->source_id), shape->shape_id);
	}
	tide_recompile_from_nothing(shape->shape_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_sources WHERE shape_id = $1",
							shape->shape_id);
	return true;
}

bool
tide_failed_retry(TideIngest *in, bool *later)
{
	bool		any = false;
	ListCell   *lc;

	if (!in->retry_failed || in->keep_failed)
		return false;
	if (!tide_catalog_try_lock())
	{
		*later = true;
		return false;
	}
	in->retry_failed = false;
	foreach(lc, in->shapes)
	{
		TideShape  *shape = lfirst(lc);

		if (shape->state != TIDE_SHAPE_FAILED || shape->nodes != NIL)
			continue;
		if (tide_spi_run_for("SELECT FROM tide_internal.shape_sources WHERE shape_id = $1",
							 shape->shape_id) > 0)
		{
			if (!clean(in, shape))
			{
				*later = in->retry_failed = true;
				continue;
			}
			any = true;
		}
		any |= tide_recompile(shape) != NULL;
	}
	return any;
}
