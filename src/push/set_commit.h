/*
 * set_commit.h
 *	  Elements are added when their transaction commits, not when a push notes them.
 */
#ifndef TIDE_PUSH_SET_COMMIT_H
#define TIDE_PUSH_SET_COMMIT_H

#include "access/xlogdefs.h"
#include "utils/uuid.h"

/* a client's elements noted from lsn on get the LSN of the end of the transaction */
extern void tide_set_commit_later(const pg_uuid_t *client, XLogRecPtr lsn);

#endif							/* TIDE_PUSH_SET_COMMIT_H */
