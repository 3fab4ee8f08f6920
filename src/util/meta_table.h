/*
 * meta_table.h
 *	  Direct access to the tables of schema tide_internal.
 */
#ifndef TIDE_META_TABLE_H
#define TIDE_META_TABLE_H

#include "utils/relcache.h"
#include "storage/lockdefs.h"

/*
 * Open tide_internal.<name>. ERROR 3F000/42P01 if the extension is not in this database.
 * Close with table_close().
 */
extern Relation tide_meta_open(const char *name, LOCKMODE lockmode);

/* Oid of an index of tide_internal, cached like the tables */
extern Oid	tide_meta_relid(const char *name);

#endif							/* TIDE_META_TABLE_H */
