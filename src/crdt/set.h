/*
 * set.h
 *	  Sets of JSON values: one that only grows, and an observed-remove set.
 *
 * Elements are equal and sorted as jsonb values are. Results are in normal form
 * (sorted, nothing empty), so sets that say the same are equal; arguments need not be.
 *
 * Grow-only set: an array of its elements.
 * OR-set (without tombstones: Bieniusa et al., "An optimized conflict-free replicated
 * set", 2012): {"clock": vector clock, "elements": [{"value": v, "dots": vector clock}]}.
 * An add is a dot (node, n), n counted by the node. clock tells which dots the state
 * has seen; an element is there as long as one of its dots is. A dot that one state has seen and
 * has no more was removed there, one it has not seen is news to it.
 */
#ifndef TIDE_SET_H
#define TIDE_SET_H

#include "utils/jsonb.h"

extern Jsonb *tide_g_set_add(Jsonb *state, Jsonb *element);
extern Jsonb *tide_g_set_merge(Jsonb *a, Jsonb *b);

extern Jsonb *tide_or_set_add(Jsonb *state, Jsonb *element, const char *node, int len);
extern Jsonb *tide_or_set_remove(Jsonb *state, Jsonb *element);
extern Jsonb *tide_or_set_merge(Jsonb *a, Jsonb *b);

/* sorted array of the elements */
extern Jsonb *tide_or_set_value(Jsonb *state);

#endif							/* TIDE_SET_H */
