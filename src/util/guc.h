/*
 * guc.h
 *	  pg_tide's settings, all of prefix "tide.".
 */
#ifndef TIDE_GUC_H
#define TIDE_GUC_H

extern int	tide_max_page_size; /* kB: a pull's page is cut there */
extern int	tide_max_buckets_per_pull;
extern int	tide_batch_size;	/* source changes: a batch ends at the next
								 * commit */
extern int	tide_spool_memory;	/* kB of a batch's tuplestore before it spills */
extern int	tide_tick_interval; /* ms between checkpoints of an idle ingest,
								 * for time windows */
extern char *tide_clock;		/* time that the ingest takes for now; "": the
								 * system's */
extern int	tide_apply_memory;	/* kB of rows folded at a time */
extern int	tide_batch_time;	/* ms of reading after which a batch is closed */
extern bool tide_compaction;	/* remove superseded entries */
extern int	tide_compaction_batch;	/* entries a step of compaction looks at */
extern int	tide_compaction_delay;	/* ms between two steps */
extern int	tide_removed_retention; /* s that leave entries are kept; -1: for
									 * ever */
extern int	tide_max_removed_rows;	/* leave entries of a bucket beyond its
									 * rows; -1: any */
extern int	tide_mutation_retention;	/* s that mutations are logged; -1:
										 * for ever */
extern int	tide_client_retention;	/* s after its last push that a client
									 * expires; -1: never */
extern int	tide_max_push_mutations;
extern int	tide_max_push_size; /* kB of a push request */
extern int	tide_max_clock_drift;	/* ms that a client's clock may be ahead */
extern int	tide_max_bucket_rows;	/* 0: any */
extern int	tide_max_shape_rows;	/* 0: any */
extern char *tide_jwt_audience; /* comma lists; "": none */
extern char *tide_jwt_issuer;
extern char *tide_jwt_role_claim;	/* "": no role is assumed */
extern int	tide_jwt_leeway;	/* s that clocks may differ */
extern bool tide_jwt_require_exp;

/* define the settings; called once, by _PG_init */
extern void tide_guc_init(void);

#endif							/* TIDE_GUC_H */
