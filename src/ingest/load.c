/*
 * load.c
 *	  Which table and which shape take most of the ingest's time.
 *
 * The share of the time is averaged over about ten seconds and published every second, for
 * view tide.status.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "ingest/load.h"
#include "store/shared.h"

#define PERIOD_US	1000000.0
#define OLD_PART	0.9			/* of the average, per period */
#define FORGOTTEN	0.0005

typedef struct LoadEntry
{
	struct
	{
		int			kind;
		int			id;
	}			key;			/* hash key */
	double		spent_us;		/* in this period */
	double		share;			/* average of the periods before */
} LoadEntry;

typedef struct TideLoad
{
	HTAB	   *entries;
	instr_time	period_begin;
} TideLoad;

static TideLoad *
load_of(TideIngest *in)
{
	HASHCTL		ctl = {0};

	if (in->load != NULL)
		return in->load;
	in->load = MemoryContextAllocZero(in->context, sizeof(TideLoad));
	ctl.keysize = sizeof(((LoadEntry *) NULL)->key);
	ctl.entrysize = sizeof(LoadEntry);
	ctl.hcxt = in->context;
	in->load->entries = hash_create("tide load", 64, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	INSTR_TIME_SET_CURRENT(in->load->period_begin);
	return in->load;
}

void
tide_load_add(TideIngest *in, TideLoadKind kind, int id, instr_time *begin)
{
	LoadEntry	probe = {.key = {kind, id}};
	LoadEntry  *entry;
	bool		found;
	instr_time	now;
	instr_time	spent;

	INSTR_TIME_SET_CURRENT(now);
	spent = now;
	INSTR_TIME_SUBTRACT(spent, *begin);
	*begin = now;
	entry = hash_search(load_of(in)->entries, &probe.key, HASH_ENTER, &found);
	if (!found)
		entry->spent_us = entry->share = 0;
	entry->spent_us += INSTR_TIME_GET_MICROSEC(spent);
}

void
tide_load_publish(TideIngest *in)
{
	TideLoad   *load = load_of(in);
	TideSharedLoad worst[2] = {{0}};
	HASH_SEQ_STATUS status;
	LoadEntry  *entry;
	instr_time	now;
	instr_time	passed;

	INSTR_TIME_SET_CURRENT(now);
	passed = now;
	INSTR_TIME_SUBTRACT(passed, load->period_begin);
	if (INSTR_TIME_GET_MICROSEC(passed) < PERIOD_US)
		return;
	load->period_begin = now;
	hash_seq_init(&status, load->entries);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		TideSharedLoad *w = &worst[entry->key.kind];

		entry->share = entry->share * OLD_PART +
			entry->spent_us / INSTR_TIME_GET_MICROSEC(passed) * (1 - OLD_PART);
		entry->spent_us = 0;
		if (entry->share > w->share)
		{
			w->id = entry->key.id;
			w->share = entry->share;
		}
		if (entry->share < FORGOTTEN)
			(void) hash_search(load->entries, &entry->key, HASH_REMOVE, NULL);
	}
	tide_shared_publish_load(&worst[TIDE_LOAD_SOURCE], &worst[TIDE_LOAD_SHAPE]);
}
