/*
 * vclock.h
 *	  Vector clocks (Fidge 1988, Mattern 1989) held as jsonb objects {"node": n}.
 *
 * n counts the node's events: an integer from 0 to 2^63 - 1. A node that is absent
 * counts as 0, so {"a": 0} and {} are equal; results never show zeros. All functions
 * take any jsonb and throw ERROR 22023 if it is no vector clock.
 */
#ifndef TIDE_VCLOCK_H
#define TIDE_VCLOCK_H

#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "crdt/object.h"

typedef enum TideVclockOrder
{
	TIDE_VCLOCK_EQUAL,
	TIDE_VCLOCK_BEFORE,			/* b has seen all of a, and more */
	TIDE_VCLOCK_AFTER,			/* a has seen all of b, and more */
	TIDE_VCLOCK_CONCURRENT		/* each has seen what the other has not */
} TideVclockOrder;

/* "equal", "before", "after", "concurrent" */
extern const char *tide_vclock_order_name(TideVclockOrder order);

/* ERROR 22023 unless it is a vector clock */
extern void tide_vclock_check(Jsonb *clock);

/* how a stands to b */
extern TideVclockOrder tide_vclock_compare(Jsonb *a, Jsonb *b);

/* the least clock that is not before either; palloc'd */
extern Jsonb *tide_vclock_merge(Jsonb *a, Jsonb *b);

/* by (not negative) more events of node; errors as below */
extern Jsonb *tide_vclock_add(Jsonb *clock, const char *node, int len, int64 by);

/* one more event of node (len bytes, not empty); ERROR 22003 if its count is full; palloc'd */
extern Jsonb *tide_vclock_increment(Jsonb *clock, const char *node, int len);

/* a clock taken apart, to look up many nodes; points into the jsonb */
typedef struct TideVclock
{
	TideMembers members;
	int64	   *counts;			/* of each member */
} TideVclock;

extern void tide_vclock_read(Jsonb *clock, TideVclock *result);

/* events of node that the clock has seen */
extern int64 tide_vclock_count(const TideVclock *clock, const char *node, int len);

/* a member of a clock: its count, 0 if it is NULL; and the other way round, none for 0 */
extern int64 tide_vclock_read_count(const JsonbValue *value);
extern void tide_vclock_push_count(JsonbParseState **state, const char *node, int len,
								   int64 count);

/* sum over all nodes */
extern Numeric tide_vclock_total(Jsonb *clock);

#endif							/* TIDE_VCLOCK_H */
