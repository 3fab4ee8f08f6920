/*
 * conflict_clock.c
 *	  The clocks of the values in a row, and of rows deleted.
 *
 * A noted clock belongs to a value. Whose it is, if the column has the value with the hash:
 *
 *	row_clocks	server_clocks	clock
 *	fits		fits not		the push's
 *	fits not	fits			the server's, at the time of the commit
 *	fits		fits			the later one's; of one transaction the push's
 *	fits not	fits not		the server's: it has written a value that nobody noted
 *
 * For the last, the time is that of the row's last write if it is known, now if the ingest
 * has not seen that write yet, else that of the clocks noted before; and if there are none,
 * the value is older than all clocks.
 *
 * What the server writes comes after what it writes over, so its clock does, too.
 */
#include "postgres.h"

#include "access/commit_ts.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "crdt/vclock.h"
#include "push/conflict_clock.h"
#include "push/conflict_memory.h"
#include "store/clock_key.h"
#include "util/spi.h"

/* the server's node in vector clocks; above all clients when writes are concurrent */
#define SERVER_NODE	"server"

static List *read_noted(const TideConflict *conflict);
static FullTransactionId read_mark(TideConflict *conflict);
static const TideNotedClock *find_noted(const List *noted, AttrNumber attnum, bool by_ingest);
static void choose_clock(TideConflict *conflict, TideConflictColumn *column,
						 const List *noted);
static bool is_ingests_later(const TideNotedClock *ours, const TideNotedClock *ingests);
static bool time_of_last_write(TideConflict *conflict, TimestampTz *at);
static bool is_before(TransactionId xid, FullTransactionId mark);
static void set_clients(TideValueClock *clock, const TideNotedClock *noted);
static void set_servers(TideValueClock *clock, const TideNotedClock *before, TimestampTz at);
static Jsonb *server_vclock(TimestampTz at);
static Jsonb *empty_vclock(void);
static void find_tombstone(TideConflict *conflict);
static void note_value(const TideConflict *conflict, AttrNumber attnum, Datum value,
					   bool isnull, const Jsonb *clock_before);
static void note_staying(const TideConflict *conflict, const TideConflictColumn *column,
						 bool is_written);
static char *hlc_text(const TideHlc *hlc);
static void begin_note(const TideConflict *conflict, TideNotedClock *note);
static Jsonb *clock_before(const TideConflict *conflict, AttrNumber attnum);
static bool is_own(const TideConflict *conflict, const TideValueClock *clock);

void
tide_conflict_read_clocks(TideConflict *conflict)
{
	List	   *noted;
	bool		any = false;

	for (int i = 0; i < conflict->ncolumns; i++)
		any |= tide_policy_traits[conflict->columns[i].policy].has_clock;
	if (!any)
		return;
	noted = read_noted(conflict);
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (tide_policy_traits[conflict->columns[i].policy].has_clock)
			choose_clock(conflict, &conflict->columns[i], noted);
	}
}

static List *
read_noted(const TideConflict *conflict)
{
	MemoryContext context = CurrentMemoryContext;
	TideSpiFrame frame;
	List	   *noted;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	noted = tide_clocks_read(RelationGetRelid(conflict->target->rel), &conflict->key_id,
							 context);
	tide_spi_end(&frame);
	return noted;
}

/* once a mutation, and only for values that nobody has noted a clock for */
static FullTransactionId
read_mark(TideConflict *conflict)
{
	TideSpiFrame frame;

	if (!conflict->mark_is_read)
	{
		tide_spi_begin(&frame, TIDE_AS_OWNER);
		conflict->mark = tide_clock_mark_read();
		tide_spi_end(&frame);
		conflict->mark_is_read = true;
	}
	return conflict->mark;
}

static const TideNotedClock *
find_noted(const List *noted, AttrNumber attnum, bool by_ingest)
{
	ListCell   *lc;

	foreach(lc, noted)
	{
		const TideNotedClock *clock = lfirst(lc);

		if (clock->attnum == attnum && clock->by_ingest == by_ingest)
			return clock;
	}
	return NULL;
}

static void
choose_clock(TideConflict *conflict, TideConflictColumn *column, const List *noted)
{
	int64		hash = tide_clock_value_hash(column->att, column->raw, column->raw_null);
	const TideNotedClock *ours = find_noted(noted, column->attnum, false);
	const TideNotedClock *ingests = find_noted(noted, column->attnum, true);
	bool		ours_fits = ours != NULL && ours->hash == hash;
	bool		ingests_fits = ingests != NULL && ingests->hash == hash;
	TideValueClock *clock = &column->clock;
	TimestampTz at;

	clock->vclock = empty_vclock();
	clock->is_noted = ours_fits || ingests_fits;
	if (ours_fits && !(ingests_fits && is_ingests_later(ours, ingests)))
		set_clients(clock, ours);
	else if (ingests_fits)
		set_servers(clock, ours, ingests->at);
	else if (time_of_last_write(conflict, &at))
		set_servers(clock, ours, at);
	else if (ours != NULL || ingests != NULL)
		set_servers(clock, ours, Max(ours ? ours->at : 0, ingests ? ingests->at : 0));
}

/* of two notes on one column or row; a push's own transaction comes through the ingest, too */
static bool
is_ingests_later(const TideNotedClock *ours, const TideNotedClock *ingests)
{
	return ingests->xid != ours->xid && ingests->lsn > ours->lsn;
}

/* false: not known, and the ingest would have noted it */
static bool
time_of_last_write(TideConflict *conflict, TimestampTz *at)
{
	FullTransactionId mark;

	if (!TransactionIdIsValid(conflict->xmin))
		return false;
	*at = GetCurrentTimestamp();
	if (TransactionIdIsCurrentTransactionId(conflict->xmin))
		return true;
	if (track_commit_timestamp)
		return TransactionIdGetCommitTsData(conflict->xmin, at, NULL);
	mark = read_mark(conflict);
	return FullTransactionIdIsValid(mark) && !is_before(conflict->xmin, mark);
}

/* whether a transaction of the last two billions is before the mark */
static bool
is_before(TransactionId xid, FullTransactionId mark)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	if (!TransactionIdIsNormal(xid))
		return true;
	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return FullTransactionIdPrecedes(FullTransactionIdFromEpochAndXid(epoch, xid), mark);
}

static void
set_clients(TideValueClock *clock, const TideNotedClock *noted)
{
	clock->is_known = true;
	clock->has_client = noted->has_client;
	clock->client = noted->client;
	if (noted->hlc != NULL && !tide_hlc_parse(noted->hlc, strlen(noted->hlc), &clock->hlc))
		elog(ERROR, "invalid hybrid logical clock in tide_internal.row_clocks");
	if (noted->vclock != NULL)
		clock->vclock = noted->vclock;
}

/* before: the clock of what was written over, or NULL */
static void
set_servers(TideValueClock *clock, const TideNotedClock *before, TimestampTz at)
{
	TideHlc		hlc = tide_hlc_at(at, tide_hlc_server_node());

	if (before != NULL)
		set_clients(clock, before);
	clock->is_known = true;
	clock->has_client = false;
	if (clock->hlc.time >= hlc.time)
		hlc = tide_hlc_tick(&clock->hlc, 0);
	hlc.node = tide_hlc_server_node();
	clock->hlc = hlc;
	clock->vclock = tide_vclock_merge(clock->vclock, server_vclock(at));
}

/* what the server has written by then: its time in ms */
static Jsonb *
server_vclock(TimestampTz at)
{
	char	   *text = psprintf("{\"" SERVER_NODE "\": " UINT64_FORMAT "}",
								tide_hlc_ms_of_timestamp(at));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static Jsonb *
empty_vclock(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

bool
tide_conflict_wins_hlc(const TideConflict *conflict, const TideValueClock *clock)
{
	int			order = tide_hlc_compare(&conflict->hlc, &clock->hlc);

	return !clock->is_known || order > 0 || (order == 0 && is_own(conflict, clock));
}

bool
tide_conflict_wins_vclock(const TideConflict *conflict, const TideValueClock *clock,
						  bool has_seen)
{
	if (!clock->is_known || has_seen)
		return true;
	switch (tide_vclock_compare(conflict->attempt->mutation->vclock, clock->vclock))
	{
		case TIDE_VCLOCK_AFTER:
			return true;
		case TIDE_VCLOCK_BEFORE:
			return false;
		case TIDE_VCLOCK_EQUAL:
			return is_own(conflict, clock);
		case TIDE_VCLOCK_CONCURRENT:
			return clock->has_client &&
				memcmp(conflict->attempt->apply->client, &clock->client, UUID_LEN) >= 0;
	}
	return false;
}

static bool
is_own(const TideConflict *conflict, const TideValueClock *clock)
{
	return clock->has_client &&
		memcmp(conflict->attempt->apply->client, &clock->client, UUID_LEN) == 0;
}

/* a mutation without a clock has no column that would need one */
bool
tide_conflict_wins_over_tombstone(TideConflict *conflict)
{
	find_tombstone(conflict);
	if (conflict->has_hlc && conflict->with_hlc &&
		!tide_conflict_wins_hlc(conflict, &conflict->tombstone))
		return false;
	return !conflict->has_vclock || conflict->attempt->mutation->vclock == NULL ||
		tide_conflict_wins_vclock(conflict, &conflict->tombstone, false);
}

static void
find_tombstone(TideConflict *conflict)
{
	TideValueClock *clock = &conflict->tombstone;
	List	   *noted;
	const TideNotedClock *ours;
	const TideNotedClock *ingests;

	clock->vclock = empty_vclock();
	noted = read_noted(conflict);
	ours = find_noted(noted, 0, false);
	ingests = find_noted(noted, 0, true);
	if (ingests != NULL && (ours == NULL || is_ingests_later(ours, ingests)))
		set_servers(clock, ours, ingests->at);
	else if (ours != NULL)
		set_clients(clock, ours);
}

void
tide_conflict_note_inserted(TideConflict *conflict, const List *returned,
							SPITupleTable *values)
{
	Oid			relid = RelationGetRelid(conflict->target->rel);
	TideSpiFrame frame;
	ListCell   *lc;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_tombstone_forget(relid, &conflict->key_id);
	foreach(lc, returned)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(values->vals[0], values->tupdesc,
										  conflict->target->nkeys + foreach_current_index(lc) + 1,
										  &isnull);

		if (lfirst_int(lc) > 0)
			note_value(conflict, lfirst_int(lc), value, isnull, conflict->tombstone.vclock);
		else if (!isnull)
			tide_set_note(relid, &conflict->key_id, -lfirst_int(lc),
						  tide_conflict_set_ids(DatumGetJsonbP(value)),
						  conflict->attempt->apply->client, conflict->lsn);
	}
	tide_spi_end(&frame);
}

void
tide_conflict_note_updated(TideConflict *conflict, const List *returned,
						   SPITupleTable *values)
{
	Oid			relid = RelationGetRelid(conflict->target->rel);
	TideSpiFrame frame;
	ListCell   *lc;

	if (!conflict->has_clocks && !conflict->has_sets)
		return;
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	foreach(lc, returned)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(values->vals[0], values->tupdesc,
										  conflict->target->nkeys + foreach_current_index(lc) + 1,
										  &isnull);

		note_value(conflict, lfirst_int(lc), value, isnull,
				   clock_before(conflict, lfirst_int(lc)));
	}
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		const TideConflictColumn *column = &conflict->columns[i];

		if (tide_policy_traits[column->policy].has_clock &&
			(column->fate == TIDE_COLUMN_KEPT || column->fate == TIDE_COLUMN_ASIDE))
			note_staying(conflict, column, values != NULL);
		tide_set_forget(relid, &conflict->key_id, column->attnum, column->removed);
		tide_set_note(relid, &conflict->key_id, column->attnum, column->added,
					  conflict->attempt->apply->client, conflict->lsn);
	}
	tide_spi_end(&frame);
}

/*
 * A column now has the mutation's clock; without one, a default of a row inserted, the least of
 * all. before: vector clock of what was there, or NULL.
 */
static void
note_value(const TideConflict *conflict, AttrNumber attnum, Datum value, bool isnull,
		   const Jsonb *before)
{
	const TideMutation *mutation = conflict->attempt->mutation;
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(conflict->target->rel), attnum - 1);
	TideConflictPolicy policy = tide_column_policy(conflict->policies, attnum)->policy;
	TideNotedClock note;

	begin_note(conflict, &note);
	note.attnum = attnum;
	note.hash = tide_clock_value_hash(att, value, isnull);
	if (policy == TIDE_CONFLICT_HLC)
		note.hlc = hlc_text(&conflict->hlc);
	else
		note.vclock = tide_vclock_merge(mutation->vclock ? mutation->vclock : empty_vclock(),
										before ? unconstify(Jsonb *, before) : empty_vclock());
	tide_clock_store(RelationGetRelid(conflict->target->rel), &conflict->key_id, &note);
}

/*
 * A value that stays. If it has won over a concurrent write, its vector clock is after both.
 * If the row has been written, by whom it was before will not be found out again.
 */
static void
note_staying(const TideConflict *conflict, const TideConflictColumn *column, bool is_written)
{
	const TideValueClock *clock = &column->clock;
	Jsonb	   *vclock = conflict->attempt->mutation->vclock;
	bool		has_won = column->fate == TIDE_COLUMN_KEPT &&
	column->policy == TIDE_CONFLICT_VCLOCK &&
	tide_vclock_compare(vclock, clock->vclock) == TIDE_VCLOCK_CONCURRENT;
	TideNotedClock note;

	if (!has_won && (clock->is_noted || !is_written))
		return;
	begin_note(conflict, &note);
	note.attnum = column->attnum;
	note.hash = tide_clock_value_hash(column->att, column->raw, column->raw_null);
	note.has_client = clock->has_client;
	note.client = clock->client;
	if (column->policy == TIDE_CONFLICT_HLC)
		note.hlc = hlc_text(&clock->hlc);
	else
		note.vclock = has_won ? tide_vclock_merge(vclock, clock->vclock) : clock->vclock;
	tide_clock_store(RelationGetRelid(conflict->target->rel), &conflict->key_id, &note);
}

static char *
hlc_text(const TideHlc *hlc)
{
	char	   *text = palloc(TIDE_HLC_TEXT_LEN + 1);

	tide_hlc_format(hlc, text);
	return text;
}

static void
begin_note(const TideConflict *conflict, TideNotedClock *note)
{
	memset(note, 0, sizeof(TideNotedClock));
	note->has_client = true;
	note->client = *conflict->attempt->apply->client;
	note->xid = GetTopTransactionId();
	note->lsn = conflict->lsn;
}

static Jsonb *
clock_before(const TideConflict *conflict, AttrNumber attnum)
{
	for (int i = 0; i < conflict->ncolumns; i++)
	{
		if (conflict->columns[i].attnum == attnum)
			return conflict->columns[i].clock.vclock;
	}
	return NULL;
}

/*
 * Forget the row, and keep the clock of its deletion. That of a row that was there is after all of its columns',
 * which have been asked, and so is good whatever an earlier tombstone says (the ingest keeps its own for longer);
 * that of one that was not there only if it is no older than the tombstone.
 */
void
tide_conflict_note_deleted(TideConflict *conflict, bool existed)
{
	const TideMutation *mutation = conflict->attempt->mutation;
	Oid			relid = RelationGetRelid(conflict->target->rel);
	TideNotedClock note;
	TideSpiFrame frame;
	bool		wins = true;

	begin_note(conflict, &note);
	if (conflict->has_clocks)
	{
		wins = tide_conflict_wins_over_tombstone(conflict) || existed;
		note.hlc = conflict->has_hlc ? mutation->hlc : NULL;
		if (conflict->has_vclock)
			note.vclock = tide_vclock_merge(mutation->vclock, conflict->tombstone.vclock);
		for (int i = 0; i < conflict->ncolumns && conflict->has_vclock; i++)
		{
			if (conflict->columns[i].clock.vclock != NULL)
				note.vclock = tide_vclock_merge(note.vclock, conflict->columns[i].clock.vclock);
		}
	}
	if (!wins)
		return;
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_row_forget(relid, &conflict->key_id);
	if (conflict->has_clocks)
	{
		tide_clock_store(relid, &conflict->key_id, &note);
		tide_tombstones_prune();
	}
	tide_spi_end(&frame);
}
