/*
 * relation_cache.h
 *	  What the stream knows of each table: who gets its changes, and how they
 *	  are written.
 */
#ifndef TIDE_DECODE_RELATION_CACHE_H
#define TIDE_DECODE_RELATION_CACHE_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

#include "decode/identity.h"
#include "decode/row_filter.h"
#include "decode/stream.h"
#include "util/json_writer.h"

/* a constant part of a line */
typedef struct TideFragment
{
	char	   *data;
	int			len;
} TideFragment;

/* one audience of a table's changes: the plain table, or a shape over it */
typedef struct TideTarget
{
	TideRowFilter *filter;		/* NULL: the plain table */
	TideFragment heads[TIDE_LINE_TYPES];	/* {"type":…,"table":… */
	TideFragment types;			/* ,"types":{…} or empty */
	Bitmapset  *columns;		/* attnums shown */
	TideRowWriter *row;
	TideRowWriter *key;			/* NULL: rows have no name */
} TideTarget;

/* everything but the first three lives in context and goes with it */
typedef struct TideDecodeRelation
{
	Oid			relid;			/* hash key */
	bool		is_valid;		/* cleared by invalidations */
	bool		is_built;		/* an ERROR that core swallows may end
								 * building early */
	MemoryContext context;

	Oid			root;			/* the table that partitions go by, with
								 * partitions = root */
	TideFragment partition;		/* then ,"partition":… */
	int			ntargets;
	TideTarget *targets;

	TideIdentity identity;
	int			nvarlena;		/* columns that may be unchanged TOAST */
	AttrNumber *varlena;
	TupleTableSlot *old_slot;	/* virtual; values point into the change */
	TupleTableSlot *new_slot;
} TideDecodeRelation;

typedef struct TideRelationCache TideRelationCache;

extern TideRelationCache *tide_relation_cache_create(MemoryContext context);

/* build every entry anew at its next use: the shapes changed */
extern void tide_relation_cache_clear(TideRelationCache *cache);

/* whether the table is one of pg_tide's, which are never streamed */
extern bool tide_is_own_table(Relation relation);

/* The entry of a table, built or rebuilt if need be; valid until the next call. */
extern TideDecodeRelation *tide_decode_relation(TideStream *stream, Relation relation);

#endif							/* TIDE_DECODE_RELATION_CACHE_H */
