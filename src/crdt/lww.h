/*
 * lww.h
 *	  Last writer wins: a register, and a map whose entries are registers.
 *
 * Register: {"hlc": h, "value": v}; without "value" it has been removed; {} was never
 * written. Of two the later clock wins; of equal clocks (which one node never gives twice) the
 * greater value in jsonb's order, and a value before a removal.
 * Map: {key: register, …}; a removed key stays as {"hlc": h} until it is pruned.
 */
#ifndef TIDE_LWW_H
#define TIDE_LWW_H

#include "utils/jsonb.h"

#include "crdt/hlc.h"

/* register; value NULL: removed */
extern Jsonb *tide_lww_register(Jsonb *value, const TideHlc *clock);
extern Jsonb *tide_lww_register_merge(Jsonb *a, Jsonb *b);

/* NULL if it was never written, or removed */
extern Jsonb *tide_lww_register_value(Jsonb *state);

/* false if it was never written */
extern bool tide_lww_register_clock(Jsonb *state, TideHlc *clock);

/* map */
extern Jsonb *tide_lww_map_set(Jsonb *state, const char *key, int len, Jsonb *value,
							   const TideHlc *clock);
extern Jsonb *tide_lww_map_merge(Jsonb *a, Jsonb *b);

/* {key: value} of what is there */
extern Jsonb *tide_lww_map_value(Jsonb *state);

/* the latest clock in it, false if there is none */
extern bool tide_lww_map_clock(Jsonb *state, TideHlc *clock);

/* without the removed keys whose clock is before that one */
extern Jsonb *tide_lww_map_prune(Jsonb *state, const TideHlc *before);

#endif							/* TIDE_LWW_H */
