/*
 * round.h
 *	  One round of tide.ingest(), in the calling session's transaction.
 */
#ifndef TIDE_ROUND_H
#define TIDE_ROUND_H

/*
 * Build what waits, then take in up to max_changes source changes (0: all), but whole transactions; returns how many
 * that was. Shapes that fail are left out, and all is done again without them. ERRORs of the server and the session are
 * thrown.
 */
extern int64 tide_round_run(const char *slot_name, int64 max_changes);

#endif							/* TIDE_ROUND_H */
