/*
 * verify.h
 *	  Does the change log say what the shape's own query says? tide.verify.
 */
#ifndef TIDE_VERIFY_H
#define TIDE_VERIFY_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* JSON texts, palloc'd */
typedef struct TideDifference
{
	char	   *table;
	char	   *key;			/* NULL: about the bucket as a whole */
	const char *problem;		/* missing, extra, different, duplicate,
								 * count, checksum */
	char	   *expected;		/* by the live table, or by the rows of the
								 * log; or NULL */
	char	   *found;			/* in the log, or in the bucket's row; or NULL */
	int64		bucket_id;		/* 0: the bucket does not exist */
} TideDifference;

/*
 * Differences that stay through several rounds, with a sync between them where the
 * ingest is on: list of TideDifference in the current context. Locks nothing; changes
 * meanwhile do no harm. ERROR 25001 above READ COMMITTED, 42704 unknown shape, 55000
 * shape not live, 22023 parameters.
 */
extern List *tide_verify(const char *shape, Jsonb *params, Jsonb *claims);

/* all live shapes with all their buckets, and rows whose bucket does not exist */
extern List *tide_verify_all(void);

#endif							/* TIDE_VERIFY_H */
