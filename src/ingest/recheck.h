/*
 * recheck.h
 *	  Sources whose table became another: noticed where a decoded transaction ends.
 */
#ifndef TIDE_RECHECK_H
#define TIDE_RECHECK_H

#include "ingest/ingest.h"

struct ReorderBufferTXN;

/*
 * At the end of a decoded transaction: compare the sources' keys and partitions with
 * the catalogs of that moment, if any definition has changed. Rows of partitions that are
 * gone are removed; whatever else differs breaks the source.
 */
extern void tide_recheck(TideIngest *in, struct ReorderBufferTXN *txn);

/* have a source's description, which has changed, stored with the batch */
extern void tide_recheck_store(TideIngest *in, struct ReorderBufferTXN *txn, TideSource *source);

/*
 * A transaction that changed catalogs changes rows of a table that is nobody's source now.
 * If it was a source's partition before, the source is broken: it may be again.
 */
extern void tide_recheck_stray(TideIngest *in, struct ReorderBufferTXN *txn, Oid relid);

#endif							/* TIDE_RECHECK_H */
