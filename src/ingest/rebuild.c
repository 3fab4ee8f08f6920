/*
 * rebuild.c
 *	  Taking shapes and sources apart.
 *
 * The shapes on a source whose table was altered are compiled again from their definitions, as
 * their owners. If the table and its key are the same, it is copied anew under the
 * buckets there are (carry.c), and trees are decided anew over them. Else shadow table, change log and buckets go, and the shapes
 * are built like new ones; clients are told to drop the old buckets, since bucket ids are
 * never used again. A shape that does not compile fails, and is tried again after DDL.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "ingest/altered.h"
#include "ingest/apply.h"
#include "ingest/build.h"
#include "ingest/carry.h"
#include "ingest/failed.h"
#include "ingest/follow.h"
#include "ingest/rebuild.h"
#include "ingest/recompile.h"
#include "ingest/resync.h"
#include "ingest/source_scan.h"
#include "store/shadow.h"
#include "util/spi.h"

/* dropped shapes cleaned up after in one transaction */
#define CLEAN_SHAPES	100

static SPIPlanPtr dropped_plan = NULL;

static bool rebuild_broken(TideIngest *in, bool *later);
static bool rebuild_source(TideIngest *in, int source_id, TideSource *source);
static bool can_carry(const TideSource *source, List *shapes);
static void carry(TideIngest *in, TideSource *source, Snapshot snapshot, List *shapes);
static bool clean_dropped(void);
static bool drop_unused_sources(TideIngest *in, bool *later);

bool
tide_rebuild_step(TideIngest *in, bool *later)
{
	bool		done;

	tide_apply_begin();
	done = rebuild_broken(in, later) || tide_recompile_pending(in, later) ||
		tide_failed_retry(in, later) || clean_dropped() || drop_unused_sources(in, later);
	tide_apply_end();
	return done;
}

/* shapes of a source back to before they were compiled */
static void
unbuild_shapes(int source_id)
{
	(void) tide_spi_run_for("DELETE FROM tide_internal.buckets b USING tide_internal.shape_sources n"
							" WHERE n.source_id = $1 AND b.shape_id = n.shape_id", source_id);
	(void) tide_spi_run_for("UPDATE tide_internal.shapes s SET state = 'building', built_op_id = NULL, redefined = false"
							" FROM tide_internal.shape_sources n WHERE n.source_id = $1"
							" AND s.shape_id = n.shape_id AND s.state IN ('building', 'live')",
							source_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes d USING tide_internal.shape_sources n"
							" WHERE n.source_id = $1 AND d.shape_id = n.shape_id", source_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_sources d USING tide_internal.shape_sources n"
							" WHERE n.source_id = $1 AND d.shape_id = n.shape_id", source_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.sources WHERE source_id = $1", source_id);
}

static TideSource *
find_source(const TideIngest *in, int source_id)
{
	ListCell   *lc;

	foreach(lc, in->sources)
	{
		TideSource *source = lfirst(lc);

		if (source->source_id == source_id)
			return source;
	}
	return NULL;
}

static bool
uses_source(const TideShape *shape, int source_id)
{
	/* a failed one may be about to be tried again, see failed.c */
	return (shape->nodes != NIL || shape->state == TIDE_SHAPE_FAILED) &&
		tide_spi_run_for(psprintf("SELECT FROM tide_internal.shape_sources WHERE source_id = $1"
								  " AND shape_id = %d", shape->shape_id), source_id) > 0;
}

static bool
rebuild_broken(TideIngest *in, bool *later)
{
	ListCell   *lc;

	foreach(lc, in->broken)
	{
		int			source_id = lfirst_int(lc);
		TideSource *source = find_source(in, source_id);
		TideResyncResult result = tide_resync(in, source_id);

		/*
		 * the table's lock, so that its names stay while definitions follow
		 * them
		 */
		if (result == TIDE_RESYNC_LATER ||
			(result == TIDE_RESYNC_NOT &&
			 (!tide_catalog_try_lock() || !tide_shadow_try_lock(source_id) ||
			  (source != NULL && !ConditionalLockRelationOid(source->relid, AccessShareLock)) ||
			  !rebuild_source(in, source_id, source))))
		{
			/* what it loses until then nobody knows */
			in->regrown = list_delete_int(in->regrown, source_id);
			*later = true;
			continue;
		}
		in->broken = foreach_delete_current(in->broken, lc);
		in->regrown = list_delete_int(in->regrown, source_id);
		return true;
	}
	return false;
}

/* a shape's definition follows the source, and its other tables that were altered with it */
static void
follow(TideIngest *in, const TideShape *shape, const TideSource *source)
{
	ListCell   *lc;

	tide_definition_follow(shape, source);
	foreach(lc, in->broken)
	{
		TideSource *other = find_source(in, lfirst_int(lc));

		if (other != NULL && other != source && uses_source(shape, other->source_id) &&
			ConditionalLockRelationOid(other->relid, AccessShareLock))
			tide_definition_follow_early(shape, other);
	}
}

/* false, with nothing done, if it has to wait; source: NULL if it is gone already */
static bool
rebuild_source(TideIngest *in, int source_id, TideSource *source)
{
	List	   *shapes = NIL;
	Snapshot	snapshot = NULL;
	ListCell   *lc;

	foreach(lc, in->shapes)
	{
		if (uses_source(lfirst(lc), source_id))
			shapes = lappend(shapes, lfirst(lc));
	}
	if (source != NULL && can_carry(source, shapes))
	{
		TideSource	now = *source;

		snapshot = tide_source_snapshot(&now);
		*source = now;			/* its partitions as well */
		if (snapshot == NULL)
			return false;
	}
	foreach(lc, source != NULL ? shapes : NIL)
		follow(in, lfirst(lc), source);
	if (snapshot != NULL)
		carry(in, source, snapshot, shapes);
	else
	{
		(void) tide_shadow_drop(source_id);
		unbuild_shapes(source_id);

		/* now: under the lock the names are what the definitions follow */
		foreach(lc, shapes)
		{
			if (((TideShape *) lfirst(lc))->state != TIDE_SHAPE_FAILED)
				(void) tide_recompile(lfirst(lc));
		}
	}
	return true;
}

/* whether clients get rows of the source, under its name, and not just what subqueries find in it */
static bool
has_nodes(const TideSource *source, List *shapes)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, shapes)
	{
		foreach(lc2, ((TideShape *) lfirst(lc))->nodes)
		{
			if (((TideShapeNode *) lfirst(lc2))->source_id == source->source_id)
				return true;
		}
	}
	return false;
}

/* whether shapes can keep their buckets: the table, its name if it is shown, its key and the key's types are the same */
static bool
can_carry(const TideSource *source, List *shapes)
{
	char	   *name = tide_altered_table_name(source->relid);

	return source->live && name != NULL && source->table_name != NULL &&
		tide_altered_has_key(source) &&
		(strcmp(name, source->table_name) == 0 || !has_nodes(source, shapes));
}

/* whether a plain shape is still one of the table */
static bool
carries_plain(const TideShape *was, const TideShape *is, int source_id)
{
	return tide_shape_keeps_plain(was) && was->built_op_id != 0 && tide_shape_is_plain(is) &&
		((TideShapeNode *) linitial(is->nodes))->source_id == source_id;
}

/* whether a type that makes bucket keys is gone: then nobody can tell any more which bucket a row was in */
static bool
has_lost_key(const TideShape *was)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, was->nodes)
	{
		foreach(lc2, ((TideShapeNode *) lfirst(lc))->key_parts)
		{
			Oid			type = ((TideKeyPart *) lfirst(lc2))->type;

			if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type)))
				return true;
		}
	}
	return false;
}

/*
 * Whether a tree has all of its memberships in _members, in the same buckets: its rows can be decided anew
 * over them. One that was carried for another of its tables waits for that already.
 */
static bool
carries_tree(const TideShape *was, const TideShape *is)
{
	int16	   *map = palloc(sizeof(int16) * list_length(is->nodes));

	return !tide_shape_keeps_plain(was) &&
		(was->built_op_id != 0 || (was->redefined && !was->reshown)) &&
		tide_shape_map_nodes(was, is, map);
}

/*
 * A tree decided anew. Its other tables may have been altered as well, known to be broken by now or not: until their
 * turn its nodes on them are stored with the columns that were shown, so that what is shown then is compared with that.
 */
static void
redefine(const TideShape *was, const TideShape *is, int source_id)
{
	ListCell   *lc;
	ListCell   *lc2;

	(void) tide_spi_run_for("UPDATE tide_internal.shapes SET redefined = true WHERE shape_id = $1",
							was->shape_id);
	forboth(lc, was->nodes, lc2, is->nodes)
	{
		const TideShapeNode *node = lfirst(lc);
		StringInfoData columns;

		if (((TideShapeNode *) lfirst(lc2))->source_id == source_id)
			continue;
		initStringInfo(&columns);
		for (int i = 0; i < node->ncolumns; i++)
			appendStringInfo(&columns, "%s%d", i > 0 ? "," : "", node->columns[i]);
		(void) tide_spi_run_for(psprintf("UPDATE tide_internal.shape_nodes SET attnums = '{%s}'"
										 " WHERE shape_id = $1 AND node_id = %d",
										 columns.data, node->node_id), was->shape_id);
	}
}

/*
 * Nodes of shapes that were not there, or not any more, when the shapes were read: dropped
 * ones will be cleaned up in the new source, new ones are compiled again.
 */
static void
take_nodes(int old_id, int new_id)
{
	(void) tide_spi_run_for(psprintf("UPDATE tide_internal.shape_nodes n SET source_id = %d"
									 " FROM tide_internal.shapes s WHERE n.source_id = $1"
									 " AND s.shape_id = n.shape_id AND s.state = 'dropped'", new_id),
							old_id);
	(void) tide_spi_run_for(psprintf("UPDATE tide_internal.shape_sources n SET source_id = %d"
									 " FROM tide_internal.shapes s WHERE n.source_id = $1"
									 " AND s.shape_id = n.shape_id AND s.state = 'dropped'", new_id),
							old_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes d USING tide_internal.shape_sources n"
							" WHERE n.source_id = $1 AND d.shape_id = n.shape_id", old_id);
	(void) tide_spi_run_for("DELETE FROM tide_internal.shape_sources WHERE source_id = $1", old_id);
}

/*
 * Copy the source anew under its shapes, compiled anew. Those that do not compile fail, and
 * those that are of another table by now are built there.
 */
static void
carry(TideIngest *in, TideSource *source, Snapshot snapshot, List *shapes)
{
	int			new_id = tide_carry_begin(source);
	List	   *carried = NIL;
	ListCell   *lc;

	foreach(lc, shapes)
	{
		TideShape  *was = lfirst(lc);
		TideShape  *is;
		TideCarried *pair;

		(void) tide_spi_run_for("DELETE FROM tide_internal.shape_nodes WHERE shape_id = $1",
								was->shape_id);
		(void) tide_spi_run_for("DELETE FROM tide_internal.shape_sources WHERE shape_id = $1",
								was->shape_id);
		if (was->state == TIDE_SHAPE_FAILED)
		{
			/* its buckets are of when it failed */
			tide_recompile_from_nothing(was->shape_id);
			continue;
		}
		is = tide_recompile(was);
		if (is != NULL && !has_lost_key(was) &&
			(carries_plain(was, is, new_id) || carries_tree(was, is)))
		{
			if (!tide_shape_keeps_plain(was))
				redefine(was, is, new_id);
			is->shape_id = was->shape_id;
			is->built_op_id = was->built_op_id;
			pair = palloc(sizeof(TideCarried));
			pair->was = was;
			pair->is = is;
			carried = lappend(carried, pair);
		}
		else
			tide_recompile_from_nothing(was->shape_id);
	}
	take_nodes(source->source_id, new_id);
	if (carried != NIL)
		tide_carry_source(in, source, new_id, snapshot, carried);
	else
	{
		/* nothing to go on from: like a new source, if it is needed at all */
		(void) tide_shadow_drop(source->source_id);
		(void) tide_spi_run_for("UPDATE tide_internal.sources SET state = 'new', attnums = NULL,"
								" column_names = NULL, column_types = NULL, snapshot = NULL,"
								" snapshot_lsn = NULL, table_name = (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)"
								" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
								" WHERE c.oid = relid) WHERE source_id = $1", new_id);
		UnregisterSnapshot(snapshot);
	}
}

/* some shapes that were dropped */
static List *
dropped_shapes(void)
{
	MemoryContext result = CurrentMemoryContext;
	List	   *shapes = NIL;
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&dropped_plan,
				 "SELECT shape_id FROM tide_internal.shapes WHERE state = 'dropped'", 0, NULL,
				 NULL, NULL, true, CLEAN_SHAPES);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		int			shape_id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
														   SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext old = MemoryContextSwitchTo(result);

		shapes = lappend(shapes, tide_catalog_shape_by_id(shape_id));
		MemoryContextSwitchTo(old);
	}
	tide_spi_end(&frame);
	return shapes;
}

static void
clean_shape(const TideShape *shape)
{
	ListCell   *lc;

	foreach(lc, shape->nodes)
	{
		int			source_id = ((TideShapeNode *) lfirst(lc))->source_id;

		/* not if the log itself is about to go */
		if (tide_spi_run_for("SELECT FROM tide_internal.sources s WHERE s.source_id = $1"
							 " AND s.state = 'live' AND EXISTS (SELECT FROM"
							 " tide_internal.shape_nodes n JOIN tide_internal.shapes h"
							 " USING (shape_id) WHERE n.source_id = $1 AND h.state <> 'dropped')",
							 source_id) > 0)
			(void) tide_spi_run_for(psprintf("DELETE FROM tide_shadow.log%d l"
											 " USING tide_internal.buckets b"
											 " WHERE b.shape_id = $1 AND l.bucket_id = b.bucket_id",
											 source_id), shape->shape_id);
	}
	(void) tide_spi_run_for("DELETE FROM tide_internal.buckets WHERE shape_id = $1", shape->shape_id);
	tide_catalog_delete_shape(shape->shape_id);
}

/* buckets and entries of shapes that were dropped, then the shapes themselves */
static bool
clean_dropped(void)
{
	List	   *shapes = dropped_shapes();
	ListCell   *lc;

	foreach(lc, shapes)
		clean_shape(lfirst(lc));
	return shapes != NIL;
}

static bool
drop_unused_sources(TideIngest *in, bool *later)
{
	ListCell   *lc;

	foreach(lc, in->sources)
	{
		int			source_id = ((TideSource *) lfirst(lc))->source_id;

		/*
		 * A shape being created holds a lock on the row: then it is not
		 * unused. The second look sees one that committed just before we got
		 * our lock.
		 */
		if (tide_spi_run_for("SELECT FROM tide_internal.sources s WHERE s.source_id = $1"
							 " AND NOT EXISTS (SELECT FROM tide_internal.shape_sources n"
							 " WHERE n.source_id = $1) FOR UPDATE SKIP LOCKED", source_id) == 0 ||
			tide_spi_run_for("SELECT FROM tide_internal.shape_sources n WHERE n.source_id = $1",
							 source_id) > 0)
			continue;
		if (!tide_shadow_drop(source_id))
		{
			*later = true;
			continue;
		}
		(void) tide_spi_run_for("DELETE FROM tide_internal.sources WHERE source_id = $1", source_id);
		return true;
	}
	return false;
}

void
tide_rebuild_all(void)
{
	ListCell   *lc;

	foreach(lc, tide_catalog_sources())
	{
		int			source_id = ((TideSource *) lfirst(lc))->source_id;

		if (!tide_shadow_drop(source_id))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("shadow table \"tide_shadow.t%d\" is being read", source_id),
					 errhint("Try again when the running pulls have ended.")));
		unbuild_shapes(source_id);
	}
	(void) tide_spi_run_for("DELETE FROM tide_internal.buckets WHERE $1 = 0", 0);
	(void) tide_spi_run_for("DELETE FROM tide_internal.epochs WHERE $1 = 0", 0);
	tide_ingest_begin_epoch();
}

void
tide_rebuild_moved(void)
{
	tide_rebuild_all();
	(void) tide_spi_run_for("UPDATE tide_internal.mutators SET function ="
							" coalesce(pg_catalog.to_regprocedure(signature)::oid, 0) WHERE $1 = 0", 0);
	(void) tide_spi_run_for("UPDATE tide_internal.conflict_policies SET function ="
							" coalesce(pg_catalog.to_regprocedure(signature)::oid, 0)"
							" WHERE $1 = 0 AND signature IS NOT NULL", 0);
	(void) tide_spi_run_for("UPDATE tide_internal.home SET system_id = s.system_identifier"
							" FROM pg_catalog.pg_control_system() s WHERE $1 = 0", 0);
	CommandCounterIncrement();
	ereport(LOG,
			(errmsg("pg_tide database was moved to this server: all shapes are built anew")));
}
