/*
 * counter.h
 *	  PN counter: {"added": vector clock, "removed": vector clock}.
 *
 * Each node's sums only ever grow and only the node itself adds to them, so merging is
 * taking the greater. Fields that are absent are {}; {} counts 0.
 */
#ifndef TIDE_COUNTER_H
#define TIDE_COUNTER_H

#include "utils/jsonb.h"
#include "utils/numeric.h"

/* by may be negative; ERROR 22003 if a sum leaves bigint */
extern Jsonb *tide_counter_add(Jsonb *state, const char *node, int len, int64 by);
extern Jsonb *tide_counter_merge(Jsonb *a, Jsonb *b);
extern Numeric tide_counter_value(Jsonb *state);

#endif							/* TIDE_COUNTER_H */
