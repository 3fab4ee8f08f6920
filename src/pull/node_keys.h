/*
 * node_keys.h
 *	  The buckets of all nodes of a shape that a request asks for and is entitled to.
 */
#ifndef TIDE_NODE_KEYS_H
#define TIDE_NODE_KEYS_H

#include "datatype/timestamp.h"

#include "shape/request_value.h"
#include "store/bucket_reader.h"

/* what keys are resolved with */
typedef struct TideKeyResolver
{
	TideBucketReader *reader;
	TimestampTz now;			/* the checkpoint's time */
	List	   *sources;		/* of TideSource; filled in when first needed */
	bool		over_sources;	/* lookups over the source tables, to verify */
	int			max_keys;		/* of all calls together */
	int			nkeys;			/* so far */
} TideKeyResolver;

typedef struct TideNodeBucket
{
	char	  **key;			/* TideNodeKeys.nparts texts */
	TideBucketInfo info;		/* bucket_id 0: does not exist */
} TideNodeBucket;

struct NodeWork;

/* one node of the shape */
typedef struct TideNodeKeys
{
	const TideShapeNode *node;
	struct NodeWork *work;		/* how they were found, see
								 * tide_node_keys_match() */
	bool		are_listed;		/* all keys there may be; else those of
								 * buckets that exist */
	int			nparts;			/* of a key, the parents' parts included */
	int			n;
	int			max;
	TideNodeBucket *buckets;	/* by key, without doubles */
} TideNodeKeys;

/*
 * One TideNodeKeys for each node of a live shape, in the current context, under
 * tide_settings_push(). Of a child only below buckets that exist. Reads what
 * exists under the reader's snapshot, runs lookups under the active one. ERROR 22023 for parameters that are unknown,
 * missing or not of their type, 54000 for more than max_keys keys.
 */
extern List *tide_node_keys_resolve(TideKeyResolver *resolver,
									const TideShapeRequest *request);

/* whether a key, of a bucket that exists or not, is among those meant */
extern bool tide_node_keys_match(const TideNodeKeys *keys, char *const *key);

/* count so many keys that were asked for; ERROR 54000 if they are too many */
extern void tide_node_keys_count(TideKeyResolver *resolver, int n);

/* the same errors of a request's parameters, without looking for anything */
extern void tide_node_keys_check(TideKeyResolver *resolver, const TideShapeRequest *request);

#endif							/* TIDE_NODE_KEYS_H */
