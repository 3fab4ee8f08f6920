/*
 * bucket_hash.h
 *	  Hash of a bucket key, for index tide_internal.buckets_key.
 */
#ifndef TIDE_BUCKET_HASH_H
#define TIDE_BUCKET_HASH_H

#include "common/hashfn.h"

/* parts: the key's canonical texts, in order; 64 bits as SQL bigint */
static inline int64
tide_bucket_key_hash(const char *const *parts, int nparts)
{
	uint64		hash = 0;

	for (int i = 0; i < nparts; i++)
		hash = hash_combine64(hash, hash_bytes_extended((const unsigned char *) parts[i],
														strlen(parts[i]), i));
	return (int64) hash;
}

#endif							/* TIDE_BUCKET_HASH_H */
