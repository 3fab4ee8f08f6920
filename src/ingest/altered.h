/*
 * altered.h
 *	  Whether a source's table is still what the shapes on it were compiled for.
 */
#ifndef TIDE_ALTERED_H
#define TIDE_ALTERED_H

#include "utils/relcache.h"

#include "ingest/ingest.h"
#include "ingest/type_labels.h"

/* which of the source's columns its shapes show or use; all evals must be there */
extern void tide_altered_note_use(TideWatch *watch);

/*
 * Whether decoded rows of rel can go on into the shadow: the columns used are as they were.
 * Columns that nobody uses may come, go and change; spooled rows have NULL for those
 * that tide_altered_is_lost() names.
 */
extern bool tide_altered_fits(const TideWatch *watch, Relation rel);
extern bool tide_altered_is_lost(const TideWatch *watch, Relation rel, int column);

/*
 * After DDL: whether the table is there under its name, logged, with its key and fitting
 * columns, and was not rewritten since tide_altered_note_rewrite(). Both read catalogs of the
 * snapshot in force, a historic one too.
 */
extern void tide_altered_note_rewrite(TideWatch *watch, Oid relid);
extern bool tide_altered_still_serves(const TideWatch *watch);

/*
 * The names within the columns' types, and how they differ from those of the copy: renamed only if in a type that
 * shapes show or use.
 */
extern TideLabelsDiffer tide_altered_labels(const TideWatch *watch, List **labels);

/* whether row-level security does not concern the owner of a shape on it: he sees all rows */
extern bool tide_altered_is_open(const TideWatch *watch);

/* whether rel has the columns, of the types, that a shape over it alone was compiled for */
extern bool tide_altered_fits_shape(const TideShape *shape, Relation rel);

/* whether the table is there, of the kind it was, with the key it had, of the same types */
extern bool tide_altered_has_key(const TideSource *source);

/* "schema.table", quoted as needed, as the catalogs in force have it; NULL if it is gone */
extern char *tide_altered_table_name(Oid relid);

/*
 * Whether a type of the source's columns is gone as of now, so that no value of it can be stored any more. Not while decoding.
 */
extern bool tide_altered_lost_type(const TideWatch *watch);

#endif							/* TIDE_ALTERED_H */
