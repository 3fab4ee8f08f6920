/*
 * hlc.c
 *	  Hybrid logical clocks.
 *
 * Time and counter are held in one integer, so the published rules (take the greatest
 * of the times; count on if it was there before, else start at 0) become: the greatest of
 * now and one more than each clock seen. A counter that is full carries into the ms.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "utils/timestamp.h"

#include "crdt/hlc.h"
#include "util/errors.h"
#include "util/guc.h"

#define MS_DIGITS		12
#define COUNTER_DIGITS	4
#define NODE_DIGITS		16

#define UNIX_EPOCH_US \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* process cache: where the server's clock is, and the clock of a session without preload */
static pg_atomic_uint64 *server_clock = NULL;
static uint64 session_clock = 0;

static bool parse_hex(const char *text, int digits, uint64 *result);
static void format_hex(uint64 value, int digits, char *buf);
static uint64 time_after(uint64 time);
static uint64 advance_server_clock(uint64 seen);

bool
tide_hlc_parse(const char *text, int len, TideHlc *result)
{
	uint64		ms;
	uint64		counter;

	if (len != TIDE_HLC_TEXT_LEN || text[MS_DIGITS] != '-' ||
		text[MS_DIGITS + 1 + COUNTER_DIGITS] != '-' ||
		!parse_hex(text, MS_DIGITS, &ms) ||
		!parse_hex(text + MS_DIGITS + 1, COUNTER_DIGITS, &counter) ||
		!parse_hex(text + MS_DIGITS + COUNTER_DIGITS + 2, NODE_DIGITS, &result->node))
		return false;
	result->time = ms << TIDE_HLC_COUNTER_BITS | counter;
	return true;
}

/* lower case only: so equal clocks have equal texts */
static bool
parse_hex(const char *text, int digits, uint64 *result)
{
	*result = 0;
	for (int i = 0; i < digits; i++)
	{
		char		c = text[i];

		if (c >= '0' && c <= '9')
			*result = *result << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			*result = *result << 4 | (c - 'a' + 10);
		else
			return false;
	}
	return true;
}

void
tide_hlc_format(const TideHlc *hlc, char *buf)
{
	format_hex(tide_hlc_ms(hlc), MS_DIGITS, buf);
	buf += MS_DIGITS;
	*buf++ = '-';
	format_hex(tide_hlc_counter(hlc), COUNTER_DIGITS, buf);
	buf += COUNTER_DIGITS;
	*buf++ = '-';
	format_hex(hlc->node, NODE_DIGITS, buf);
	buf[NODE_DIGITS] = '\0';
}

static void
format_hex(uint64 value, int digits, char *buf)
{
	for (int i = digits - 1; i >= 0; i--, value >>= 4)
		buf[i] = "0123456789abcdef"[value & 0xF];
}

int
tide_hlc_compare(const TideHlc *a, const TideHlc *b)
{
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	if (a->node != b->node)
		return a->node < b->node ? -1 : 1;
	return 0;
}

uint64
tide_hlc_ms(const TideHlc *hlc)
{
	return hlc->time >> TIDE_HLC_COUNTER_BITS;
}

uint16
tide_hlc_counter(const TideHlc *hlc)
{
	return (uint16) (hlc->time & TIDE_HLC_MAX_COUNTER);
}

TimestampTz
tide_hlc_timestamp(const TideHlc *hlc)
{
	return (TimestampTz) tide_hlc_ms(hlc) * 1000 - UNIX_EPOCH_US;
}

uint64
tide_hlc_ms_of_timestamp(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at < -UNIX_EPOCH_US ||
		at / 1000 > (int64) TIDE_HLC_MAX_MS - UNIX_EPOCH_US / 1000)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time out of range for a hybrid logical clock")));
	return (uint64) (at + UNIX_EPOCH_US) / 1000;
}

TideHlc
tide_hlc_at(TimestampTz at, uint64 node)
{
	TideHlc		result = {tide_hlc_ms_of_timestamp(at) << TIDE_HLC_COUNTER_BITS, node};

	return result;
}

uint64
tide_hlc_node_of_uuid(const pg_uuid_t *uuid)
{
	uint64		node = 0;

	for (int i = UUID_LEN - sizeof(node); i < UUID_LEN; i++)
		node = node << 8 | uuid->data[i];
	return node;
}

uint64
tide_hlc_server_node(void)
{
	return GetSystemIdentifier();
}

static uint64
time_after(uint64 time)
{
	if (time == PG_UINT64_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("hybrid logical clock out of range")));
	return time + 1;
}

TideHlc
tide_hlc_tick(const TideHlc *local, uint64 now_ms)
{
	TideHlc		result = {Max(time_after(local->time), now_ms << TIDE_HLC_COUNTER_BITS),
	local->node};

	return result;
}

TideHlc
tide_hlc_receive(const TideHlc *local, const TideHlc *remote, uint64 now_ms)
{
	TideHlc		seen = {Max(local->time, remote->time), local->node};

	return tide_hlc_tick(&seen, now_ms);
}

bool
tide_hlc_is_ahead(const TideHlc *hlc, uint64 now_ms)
{
	return tide_hlc_ms(hlc) > now_ms + tide_max_clock_drift;
}

void
tide_hlc_check_drift(const TideHlc *hlc, uint64 now_ms)
{
	if (tide_hlc_is_ahead(hlc, now_ms))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_CLOCK_AHEAD),
				 errmsg("clock is ahead by " UINT64_FORMAT " ms, more than \"tide.max_clock_drift\" (%d ms)",
						tide_hlc_ms(hlc) - now_ms, tide_max_clock_drift)));
}

uint64
tide_hlc_system_ms(void)
{
	return tide_hlc_ms_of_timestamp(GetCurrentTimestamp());
}

void
tide_hlc_attach(pg_atomic_uint64 *clock)
{
	server_clock = clock;
}

TideHlc
tide_hlc_now(void)
{
	TideHlc		result = {advance_server_clock(0), tide_hlc_server_node()};

	return result;
}

TideHlc
tide_hlc_observe(const TideHlc *remote)
{
	TideHlc		result = {0, tide_hlc_server_node()};

	tide_hlc_check_drift(remote, tide_hlc_system_ms());
	result.time = advance_server_clock(remote->time);
	return result;
}

/* Move the server's clock to a time after seen, its own and not before now. */
static uint64
advance_server_clock(uint64 seen)
{
	uint64		now = tide_hlc_system_ms() << TIDE_HLC_COUNTER_BITS;
	uint64		old = server_clock ? pg_atomic_read_u64(server_clock) : session_clock;
	uint64		new;

	do
	{
		new = Max(time_after(Max(old, seen)), now);
		if (server_clock == NULL)
			return session_clock = new;
	} while (!pg_atomic_compare_exchange_u64(server_clock, &old, new));
	return new;
}
