/*
 * shape_catalog.h
 *	  Reader and writer of tide_internal.shapes, shape_nodes, shape_sources and sources.
 *	  Readers use the active snapshot and need no rights of the caller.
 */
#ifndef TIDE_SHAPE_CATALOG_H
#define TIDE_SHAPE_CATALOG_H

#include "access/xlogdefs.h"

#include "catalog/shape.h"

typedef struct TideSource
{
	int			source_id;
	Oid			relid;
	bool		live;			/* shadow table exists */
	bool		broken;			/* and is kept no more: to be rebuilt */
	int			nkeys;
	AttrNumber *keys;			/* source attnums of the key, see table_key.h */
	int			ncolumns;		/* 0 unless live */
	AttrNumber *columns;		/* source attnums the shadow has, own ones
								 * last */
	char	  **column_names;
	Oid		   *column_types;
	int			nleaves;
	Oid		   *leaves;			/* of a partitioned table: ascending; else
								 * NULL */
	char	   *snapshot;		/* of the copy, or NULL */
	XLogRecPtr	snapshot_lsn;
	char	   *table_name;		/* as SQL writes it, as of the copy; while
								 * new, as the shapes were compiled */
	List	   *labels;			/* of char *: names within types, as of the
								 * copy */
} TideSource;

/*
 * Whether the shadow is not of one moment with the checkpoint, whose LSN is given: broken, or
 * copied at a later one. Nothing of it may be served then.
 */
static inline bool
tide_source_is_held(const TideSource *source, XLogRecPtr checkpoint_lsn)
{
	return source->live && (source->broken || source->snapshot_lsn > checkpoint_lsn);
}

/* as it stands in tide_internal.shapes.state */
extern const char *tide_shape_state_name(TideShapeState state);

/* compiled shape by name (not dropped), or NULL; by id; all not dropped (all = also dropped) */
extern TideShape *tide_catalog_shape_by_name(const char *name);
extern TideShape *tide_catalog_shape_by_id(int shape_id);
extern List *tide_catalog_shapes(bool include_dropped);
extern List *tide_catalog_sources(void);

/* Oids of all tables a shape needs, those of subqueries included; in order of their first use */
extern List *tide_shape_relids(const TideShape *shape);

/*
 * Take the lock that adding and dropping shapes take, until the transaction ends; false
 * if somebody has it. For who waits for nobody.
 */
extern bool tide_catalog_try_lock(void);

/*
 * Insert a compiled shape in state building, adding sources as needed; returns
 * its id. The nodes' source_id is set. ERROR 42710 if the name is taken.
 */
extern int	tide_catalog_insert_shape(TideShape *shape, Jsonb *definition, const char *search_path);

/*
 * The nodes of a shape that has none, and its shape_sources, adding sources as needed; sets
 * the nodes' source_id.
 */
extern void tide_catalog_insert_nodes(int shape_id, List *nodes);

/* columns and snapshot of a source that was just copied */
extern void tide_catalog_set_source_live(const TideSource *source);

/* its live shapes are "building" until it is made anew: pulls leave their buckets as they are */
extern void tide_catalog_set_source_broken(int source_id);
extern void tide_catalog_set_shape_state(int shape_id, TideShapeState state,
										 int64 built_op_id, const char *error);

/*
 * Mark the named shape dropped; the ingest removes it. ERROR 42704 if there is none,
 * 42501 unless role is a superuser or has the rights of its owner or the database's.
 */
extern void tide_catalog_drop_shape(const char *name, Oid role);

/* the same errors as of tide_catalog_drop_shape() */
extern void tide_catalog_check_own_shape(const char *name, Oid role);

/*
 * By number of a node of one form of a definition the one of another form whose buckets it can go on with, or -1:
 * it has the same table and place, and keys of the same types. True if all keep their numbers.
 */
extern bool tide_shape_map_nodes(const TideShape *was, const TideShape *is, int16 *map);

/*
 * Give the live shape of the same name another definition over its buckets, for the ingest to build;
 * false, with nothing done, if there is none or no node can go on with its buckets.
 */
extern bool tide_catalog_redefine_shape(TideShape *shape, Jsonb *definition,
										const char *search_path);

/* the ingest's part of it: give buckets the new numbers of their nodes; those of nodes that are gone go */
extern void tide_catalog_renumber_buckets(int shape_id);

extern void tide_catalog_delete_shape(int shape_id);	/* its rows, once its
														 * buckets are gone */

#endif							/* TIDE_SHAPE_CATALOG_H */
