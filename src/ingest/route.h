/*
 * route.h
 *	  From a table that rows change in to the sources they are rows of: the table's own,
 *	  and those of the partitioned tables above it.
 *
 * Everything here reads catalogs as they are for the caller: under a historic snapshot
 * while decoding, today's while copying.
 */
#ifndef TIDE_ROUTE_H
#define TIDE_ROUTE_H

#include "utils/relcache.h"

#include "ingest/ingest.h"

struct ReorderBufferTXN;

/* one source of a table's rows */
typedef struct TideTarget
{
	TideWatch  *watch;
	AttrNumber *attnums;		/* by the source's column position: attnum in
								 * the table, or 0. NULL: the rows are not
								 * what the shadow holds */
	bool		gives_key;		/* the WAL has the key of updated and deleted
								 * rows */
} TideTarget;

/* list of TideTarget, valid until the next call; NIL: nobody listens */
extern List *tide_route(TideIngest *in, Relation rel);

/* the table's attnums by the source's column position, 0 for one that is gone and not used
 * by watch (NULL: none may be);
 * NULL if they do not fit */
extern AttrNumber *tide_route_map(const TideSource *source, const TideWatch *watch,
								  Relation rel);

/* tables that hold the rows of a partitioned table, ascending; NULL for an ordinary one */
extern Oid *tide_route_leaves(Oid relid, int *n);

/* whether it is among them */
extern bool tide_route_has_leaf(const Oid *leaves, int n, Oid relid);

/* whether the source's table still has the key and the kind of its copy */
extern bool tide_route_is_same(const TideSource *source, Relation rel);

/* counts invalidations: catalogs are as before while it stays the same */
extern uint64 tide_route_version(void);

#endif							/* TIDE_ROUTE_H */
