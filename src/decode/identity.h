/*
 * identity.h
 *	  What the WAL tells of a table's old rows, and what names a row.
 */
#ifndef TIDE_DECODE_IDENTITY_H
#define TIDE_DECODE_IDENTITY_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

typedef struct TideIdentity
{
	bool		full;			/* REPLICA IDENTITY FULL: whole old rows */
	int			nkeys;			/* 0: rows have no name */
	AttrNumber *keys;			/* what names a row: the identity's index, the
								 * primary key under FULL, every column where
								 * there is none */
	Bitmapset  *columns;		/* attnums whose old values are known; all if
								 * full */
} TideIdentity;

/* Set *identity, in the current context. Needs a transaction, reads catalogs only. */
extern void tide_identity_init(TideIdentity *identity, Relation relation);

/* attnums of the columns streamed: not dropped, not virtual; *count of them */
extern AttrNumber *tide_streamed_columns(TupleDesc desc, int *count);

#endif							/* TIDE_DECODE_IDENTITY_H */
