/*
 * conflict_clock.h
 *	  The clocks of the values in a row, and of rows deleted.
 */
#ifndef TIDE_PUSH_CONFLICT_CLOCK_H
#define TIDE_PUSH_CONFLICT_CLOCK_H

#include "executor/spi.h"

#include "push/conflict.h"

/* find the clocks of the locked row's columns; without effect if none has a policy with clocks */
extern void tide_conflict_read_clocks(TideConflict *conflict);

/* whether the mutation's clock comes after a clock, of a column or a deleted row; has_seen:
 * what is there is what the client wrote over */
extern bool tide_conflict_wins_hlc(const TideConflict *conflict, const TideValueClock *clock);
extern bool tide_conflict_wins_vclock(const TideConflict *conflict,
									  const TideValueClock *clock, bool has_seen);

/* false if the row was deleted under a clock that the mutation's is not after */
extern bool tide_conflict_wins_over_tombstone(TideConflict *conflict);

/*
 * Remember what has been done. The values are those that a statement returned for the
 * attnums given: tide_conflict_insert_text().
 */
extern void tide_conflict_note_inserted(TideConflict *conflict, const List *returned,
										SPITupleTable *values);
extern void tide_conflict_note_updated(TideConflict *conflict, const List *returned,
									   SPITupleTable *values);
extern void tide_conflict_note_deleted(TideConflict *conflict, bool existed);

#endif							/* TIDE_PUSH_CONFLICT_CLOCK_H */
