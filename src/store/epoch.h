/*
 * epoch.h
 *	  Names of a database's histories.
 *
 * An epoch is a stretch of history in which an op_id stands for one thing only. The next
 * begins where that cannot be said any more: a standby was promoted, a backup restored, a
 * slot lost, all taken away by tide.reset(). All epochs of a database, also on servers
 * that parted, have names alike in half of their bits; the later ones hold when they began.
 */
#ifndef TIDE_EPOCH_H
#define TIDE_EPOCH_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* 0: it is a database's first */
extern TimestampTz tide_epoch_began_at(const pg_uuid_t *epoch);

/* the name of an epoch that begins now, after one that has the name was */
extern void tide_epoch_next(const pg_uuid_t *was, pg_uuid_t *result);

/* whether epoch is of the same database and began after the other one */
extern bool tide_epoch_is_later(const pg_uuid_t *epoch, const pg_uuid_t *than);

/*
 * Whether the present history goes on with a former epoch's, and up to which op_id. Under
 * the active snapshot, without rights of the caller.
 */
extern bool tide_epoch_find(const pg_uuid_t *epoch, int64 *last_op_id);

#endif							/* TIDE_EPOCH_H */
