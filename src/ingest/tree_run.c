/*
 * tree_run.c
 *	  Running the statements of joined nodes.
 *
 * All of them read the shadow tables as of the batch's end and go through indexes, so that their
 * cost is that of what they find; what changed in the batch they see as named relations.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "ingest/tree_pass.h"
#include "util/spi.h"

/* rows taken from a cursor at a time */
#define FETCH_ROWS		1000

/* $1: time of the checkpoint, $2: of the one before, $3: see nrivals */
#define NARGS			3
static Oid	arg_types[NARGS] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};

int
tide_tree_settings_push(void)
{
	static const char *const off[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin",
	"enable_material", "enable_memoize", "jit"};
	int			nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("plan_cache_mode", "force_generic_plan", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

static void
name_relation(const char *name, TupleDesc desc, Tuplestorestate *store, int64 n)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = n;
	enr->reldata = store;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"%s\"", name);
}

TupleDesc
tide_tree_rows_desc(void)
{
	static TupleDesc desc = NULL;

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		desc = CreateTemplateTupleDesc(1);
		TupleDescInitEntry(desc, 1, "tid", TIDOID, -1, 0);
		MemoryContextSwitchTo(old);
	}
	return desc;
}

static void
name_relations(const TideTreeInputs *inputs)
{
	/*
	 * few rows are assumed: the statements go through indexes whatever their
	 * number
	 */
	if (inputs->versions != NULL)
		name_relation("tide_versions", inputs->versions_of->shadow->desc,
					  inputs->versions->store, 10);
	if (inputs->rows != NULL)
		name_relation("tide_rows", tide_tree_rows_desc(), inputs->rows, 10);
}

void
tide_tree_run(TideIngest *in, TideJoined *joined, const char *sql, SPIPlanPtr *plan,
			  TideTreeInputs *inputs, TideTreeCallback callback, void *arg)
{
	TideSpiFrame frame;
	Portal		portal;
	Datum		args[NARGS] = {TimestampTzGetDatum(in->checkpoint.now),
	TimestampTzGetDatum(in->last_now), Int64GetDatum(inputs->nrivals)};

	tide_evaluating_shape = joined->shape->shape_id;
	PushActiveSnapshot(GetLatestSnapshot());
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	name_relations(inputs);
	if (*plan == NULL)
	{
		MemoryContext old;
		SPIPlanPtr	prepared = SPI_prepare(sql, NARGS, arg_types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
		*plan = prepared;
		old = MemoryContextSwitchTo(in->context);
		in->tree_plans = lappend(in->tree_plans, prepared);
		MemoryContextSwitchTo(old);
	}
	portal = SPI_cursor_open(NULL, *plan, args, NULL, true);
	do
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		for (uint64 i = 0; i < SPI_processed; i++)
			callback(arg, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
		if (SPI_processed == 0)
			break;
		SPI_freetuptable(SPI_tuptable);
	} while (true);
	SPI_cursor_close(portal);
	tide_spi_end(&frame);
	PopActiveSnapshot();
	tide_evaluating_shape = 0;
}
