/*
 * guc.h
 *	  pg_tide's settings, all of prefix "tide.".
 */
#ifndef TIDE_GUC_H
#define TIDE_GUC_H

extern int	tide_max_page_size;		/* kB: a pull's page is cut there */
extern int	tide_max_buckets_per_pull;
extern int	tide_batch_size;		/* source changes: a batch ends at the next commit */
extern int	tide_spool_memory;		/* kB of a batch's tuplestore before it spills */
extern int	tide_tick_interval;		/* ms between checkpoints of an idle ingest, for time windows */
extern char *tide_clock;			/* time that the ingest takes for now; "": the system's */
extern int	tide_apply_memory;		/* kB of rows folded at a time */

/* define the settings; called once, by _PG_init */
extern void tide_guc_init(void);

#endif							/* TIDE_GUC_H */
