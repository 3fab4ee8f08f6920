/*
 * table_key.h
 *	  What tells the rows of a table apart, for the ingest and for clients.
 *
 * A table with no key of its own (REPLICA IDENTITY FULL or NOTHING, no primary key) has its
 * rows told apart by their content: columns TIDE_ATTNUM_ROW, a keyed hash of the whole row,
 * and TIDE_ATTNUM_COPY, which counts equal rows from 1. They exist in the shadow table alone,
 * with attnums beyond any table's.
 */
#ifndef TIDE_TABLE_KEY_H
#define TIDE_TABLE_KEY_H

#include "access/attnum.h"
#include "access/htup_details.h"
#include "nodes/bitmapset.h"
#include "utils/relcache.h"

#define TIDE_ATTNUM_ROW		(MaxHeapAttributeNumber + 1)	/* uuid "_row" */
#define TIDE_ATTNUM_COPY	(MaxHeapAttributeNumber + 2)	/* int "_copy" */
#define TIDE_ATTNUM_LEAF	(MaxHeapAttributeNumber + 3)	/* oid: partition that
															 * holds the row */

#define TIDE_ATTNUM_IS_OWN(attnum)	((attnum) > MaxHeapAttributeNumber)

/* name and type of such a column */
extern const char *tide_own_column_name(AttrNumber attnum);
extern Oid	tide_own_column_type(AttrNumber attnum);

/* name of a table's column, own ones included; NULL if there is none */
extern char *tide_column_name(Oid relid, AttrNumber attnum);

/*
 * Attnums of the key columns, in index order, into an array of INDEX_MAX_KEYS; their number, 0
 * if rows cannot be told apart:
 *	  primary key, if it is immediate; with REPLICA IDENTITY USING INDEX only if the index
 *	  has all its columns, else the index's columns; else, FULL and NOTHING, ROW and COPY.
 * Reads catalogs only: works under a historic snapshot.
 */
extern int	tide_table_key(Relation rel, AttrNumber *attnums);

/* the index those columns are of; InvalidOid if they are no index's */
extern Oid	tide_table_key_index(Relation rel);

/*
 * The index by whose columns clients name a table's rows: that of tide_table_key_index(), else a
 * deferrable primary key; InvalidOid if there is none
 */
extern Oid	tide_primary_key_index(Relation rel);

/* attnums of its columns, in index order, into an array of INDEX_MAX_KEYS; their number, 0 if
 * there is none */
extern int	tide_client_key(Relation rel, AttrNumber *attnums);

/* attnums the WAL has the old values of when a row is updated or deleted; *all: every one */
extern Bitmapset *tide_table_identity(Relation rel, bool *all);

#endif							/* TIDE_TABLE_KEY_H */
