/*
 * pull.h
 *	  tide.pull: what a client lacks of the buckets it is entitled to, a page at a time.
 */
#ifndef TIDE_PULL_H
#define TIDE_PULL_H

#include "utils/jsonb.h"

/*
 * Answer a pull request with JSON text in the current context. Reads under the active
 * snapshot, writes nothing. ERRORs: 22023 malformed, 28000 refused, 42704 unknown
 * shape, 54000 too many buckets, 55000 failed shape.
 */
extern text * tide_pull(Jsonb *request);

#endif							/* TIDE_PULL_H */
