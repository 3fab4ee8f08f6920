/*
 * hlc.h
 *	  Hybrid logical clocks (Kulkarni et al., "Logical Physical Clocks", 2014).
 *
 * A clock is a physical time in ms, a counter for events within it, and the node that
 * made it. Comparing (time, counter, node) is a total order that never contradicts
 * causality. Text form: 12 hex digits of ms since 1970, 4 of the counter, 16 of the
 * node, lower case: "019aa64d1b2c-0003-8000000000000001"; it sorts (bytewise) as the
 * clocks do.
 */
#ifndef TIDE_HLC_H
#define TIDE_HLC_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "utils/uuid.h"

typedef struct TideHlc
{
	uint64		time;			/* ms since 1970 << 16 | counter */
	uint64		node;
} TideHlc;

#define TIDE_HLC_COUNTER_BITS	16
#define TIDE_HLC_MAX_COUNTER	0xFFFF
#define TIDE_HLC_MAX_MS			(PG_UINT64_MAX >> TIDE_HLC_COUNTER_BITS)
#define TIDE_HLC_TEXT_LEN		34

/* the text form, nothing else around it; false if text is none */
extern bool tide_hlc_parse(const char *text, int len, TideHlc *result);

/* writes TIDE_HLC_TEXT_LEN bytes and a zero byte */
extern void tide_hlc_format(const TideHlc *hlc, char *buf);

/* -1, 0, 1 */
extern int	tide_hlc_compare(const TideHlc *a, const TideHlc *b);

extern uint64 tide_hlc_ms(const TideHlc *hlc);
extern uint16 tide_hlc_counter(const TideHlc *hlc);
extern TimestampTz tide_hlc_timestamp(const TideHlc *hlc);

/* ms since 1970, rounded down; ERROR 22008 before 1970 and beyond TIDE_HLC_MAX_MS */
extern uint64 tide_hlc_ms_of_timestamp(TimestampTz at);

/* the clock of an event of which only the time is known: counter 0; ERROR 22008 as above */
extern TideHlc tide_hlc_at(TimestampTz at, uint64 node);

/* a client's node is the last 8 bytes of its uuid; the server's is its system identifier */
extern uint64 tide_hlc_node_of_uuid(const pg_uuid_t *uuid);
extern uint64 tide_hlc_server_node(void);

/*
 * The two steps of the algorithm, for a node whose clock is local: an event of its
 * own, and taking in another node's clock. The result is after all arguments.
 * ERROR 22003 if no clock is after them. Nothing is checked for drift.
 */
extern TideHlc tide_hlc_tick(const TideHlc *local, uint64 now_ms);
extern TideHlc tide_hlc_receive(const TideHlc *local, const TideHlc *remote, uint64 now_ms);

/* further ahead of now_ms than tide.max_clock_drift? The second form throws TIDE_ERRCODE_CLOCK_AHEAD. */
extern bool tide_hlc_is_ahead(const TideHlc *hlc, uint64 now_ms);
extern void tide_hlc_check_drift(const TideHlc *hlc, uint64 now_ms);

/* the system's clock, in ms since 1970 */
extern uint64 tide_hlc_system_ms(void);

/*
 * The server's own clock: one for all sessions if the library is preloaded, else one per
 * session. now: an event of the server, after all clocks given out and observed before.
 * observe: take in a client's clock; TIDE_ERRCODE_CLOCK_AHEAD if it is too far ahead.
 */
extern TideHlc tide_hlc_now(void);
extern TideHlc tide_hlc_observe(const TideHlc *remote);

/* keep the server's clock there, in shared memory; an initialized atomic, at first 0 */
extern void tide_hlc_attach(pg_atomic_uint64 *clock);

#endif							/* TIDE_HLC_H */
