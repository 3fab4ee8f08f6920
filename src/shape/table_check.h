/*
 * table_check.h
 *	  Which tables a shape can be made of.
 */
#ifndef TIDE_SHAPE_TABLE_CHECK_H
#define TIDE_SHAPE_TABLE_CHECK_H

#include "nodes/bitmapset.h"
#include "utils/relcache.h"

/*
 * Look a table up by its (qualified) name in the current search_path and check that
 * it can be replicated: an ordinary or partitioned permanent table with a usable key.
 * WARNING if its replica identity leaves something out. Returns it open; the
 * AccessShareLock is to be kept until the transaction ends.
 */
extern Relation tide_shape_open_table(const char *name);

/* the same check for a table that is open */
extern void tide_shape_check_table(Relation rel);

/* attnums of the key (catalog/table_key.h), offset by FirstLowInvalidHeapAttributeNumber */
extern Bitmapset *tide_shape_table_key(Relation rel);

/*
 * Check that the current user may read the columns (offset likewise) and that no
 * row-level security would hide rows from him.
 */
extern void tide_shape_check_rights(Relation rel, Bitmapset *columns);

#endif							/* TIDE_SHAPE_TABLE_CHECK_H */
