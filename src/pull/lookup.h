/*
 * lookup.h
 *	  Runs the lookups of a shape: subqueries over claims and params whose rows say what
 *	  parts of bucket keys a request is entitled to.
 */
#ifndef TIDE_LOOKUP_H
#define TIDE_LOOKUP_H

#include "datatype/timestamp.h"

#include "pull/key_set.h"
#include "shape/request_value.h"

/* what a lookup is run on and for */
typedef struct TideLookupRun
{
	const TideShapeRequest *request;
	TimestampTz now;			/* the checkpoint's time */
	List	   *sources;		/* of TideSource */
	bool		over_sources;	/* as the shape's owner over the tables
								 * themselves, to verify */
	int			max_rows;		/* what it may give at most */
} TideLookupRun;

/*
 * Values for the lookup's Params, from the request. An array of 1 + refs; ERROR 22023 for
 * values a type does not accept.
 */
typedef struct TideLookupParams
{
	int			n;
	Oid		   *types;
	Datum	   *values;
	char	   *nulls;			/* 'n' or ' ' */
} TideLookupParams;

extern TideLookupParams *tide_lookup_params(const TideLookupRun *run,
											const TideKeyLookup *lookup);

/*
 * Rows of the lookup, under the active snapshot, as canonical texts of the parts they are for. Rows with a
 * null are left out: nothing equals it. *exists: there was a row. A set in the current context, or
 * NULL if there are more than max_rows.
 */
extern TideKeySet *tide_lookup_run(const TideLookupRun *run, const TideShapeNode *node,
								   const TideKeyLookup *lookup,
								   const TideLookupParams *params, bool *exists);

#endif							/* TIDE_LOOKUP_H */
