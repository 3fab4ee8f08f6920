/*
 * blame.h
 *	  What an ERROR of the ingest is due to, and going on without that.
 */
#ifndef TIDE_BLAME_H
#define TIDE_BLAME_H

#include "nodes/pg_list.h"

/*
 * Ids of the shapes that an ERROR of this moment is put down to, in the current context; NIL if none. To
 * be called before what was being evaluated is cleaned up; nothing is being evaluated afterwards.
 */
extern List *tide_blame_take(void);

/*
 * In a transaction from before the error, with an active snapshot: tables that have lost a type break, or the shapes whose
 * fault it is fail; the error is noted where tide.status and tide.shapes show it. Whether the next try goes on without
 * what the error was due to; *shape_ids are the shapes that have failed then.
 */
extern bool tide_blame_note(const ErrorData *error, List **shape_ids);

#endif							/* TIDE_BLAME_H */
