/*
 * log_remove.h
 *	  Removal of change log entries by their sole writer.
 *
 * The shadow is open with its indexes. Entries are deleted as any row is: readers under
 * older snapshots still see them.
 */
#ifndef TIDE_LOG_REMOVE_H
#define TIDE_LOG_REMOVE_H

#include "store/shadow.h"

/* a leave entry that was removed */
typedef struct TideLeft
{
	int64		bucket_id;
	int64		op_id;
} TideLeft;

/*
 * Where the newest entries of all logs are: rows that change often are found there without an
 * index. Of fixed size; may forget, or be wrong after VACUUM FULL, so what it tells is looked at.
 */
typedef struct TideLogPlaces TideLogPlaces;

extern TideLogPlaces *tide_log_places_create(MemoryContext context);
extern void tide_log_places_note(TideLogPlaces *places, const TideLogEntry *entries, int n);

/* places may be NULL. Remove an entry that an earlier command wrote; false if it is not there any more */
extern bool tide_log_remove(TideShadow *shadow, const TideLogPlaces *places,
							int64 bucket_id, int64 op_id);

/*
 * Remove the bucket's leave entry of the very key in columns (by position), if
 * there is one: the row is about to enter again.
 */
extern bool tide_log_remove_leave(TideShadow *shadow, int64 bucket_id, const Datum *columns);

/* end the look-ups of both; before the shadow is closed at the latest */
extern void tide_log_end_remove(TideShadow *shadow);

/* remove the entry at a place that was just read */
extern void tide_log_remove_at(TideShadow *shadow, ItemPointer tid);

/*
 * Remove the oldest leave entries after after_op_id, up to upto: max of them at
 * most. Tells which; returns how many.
 */
extern int	tide_log_remove_oldest(TideShadow *shadow, int64 after_op_id, int64 upto,
								   TideLeft *left, int max);

#endif							/* TIDE_LOG_REMOVE_H */
