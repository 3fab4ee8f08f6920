/*
 * statement.c
 *	  The SQL of a mutation, and its plans.
 *
 * Values go from JSON to columns by PostgreSQL's own jsonb_to_record(), with a
 * column list of just what was sent: jsonb_populate_record() would also check
 * domains of columns that were not. For a table issues (id uuid, title text):
 *
 *	INSERT INTO public.issues AS t (id, title) SELECT k.id, v.title
 *	  FROM pg_catalog.jsonb_to_record($1) AS k(id pg_catalog.uuid),
 *	       pg_catalog.jsonb_to_record($2) AS v(title pg_catalog.text)
 *	UPDATE public.issues AS t SET title = v.title FROM … k, … v
 *	  WHERE t.id OPERATOR(pg_catalog.=) k.id
 *	DELETE FROM public.issues AS t USING … k WHERE …
 *	SELECT FROM public.issues AS t, … k WHERE …
 *	SELECT pg_catalog.to_jsonb(t.*) FROM public.issues AS t, … k WHERE …
 *
 * Plans are found by their text, which is written anew for each mutation from
 * the relcache. So a plan can never be one for another state of the
 * table; that it costs a few microseconds is the price of needing no
 * invalidation. Rights and row-level security are the executor's and the plan cache's
 * business: both look at the current user at each run.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "push/statement.h"
#include "util/spi.h"

#define MAX_PLANS	256

typedef struct PlanEntry
{
	uint64		hash;			/* hash key: of the text */
	char	   *sql;			/* in CacheMemoryContext */
	SPIPlanPtr	plan;			/* kept */
} PlanEntry;

/*
 * Process cache. It may be emptied only while none of its plans runs, and a
 * trigger may push while a push runs: emptied at the first use after
 * a transaction has ended, if it is full.
 */
static HTAB *plans = NULL;
static bool plans_idle = false;

static void append_columns(StringInfo sql, const TideTarget *target, const char *prefix,
						   const AttrNumber *attnums, int n);
static void append_type(StringInfo sql, Form_pg_attribute att);
static void append_collation(StringInfo sql, Oid collation);
static SPIPlanPtr find_plan(const char *sql);
static void prepare_cache(void);
static void empty_cache(void);
static void plans_at_xact_end(XactEvent event, void *arg);

char *
tide_statement_text(const TideTarget *target, TideStatementKind kind,
					const List *columns)
{
	int			n = list_length(columns);
	AttrNumber *attnums = palloc(sizeof(AttrNumber) * (n + 1));
	char	   *table = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(target->rel)),
												   RelationGetRelationName(target->rel));
	StringInfoData sql;

	for (int i = 0; i < n; i++)
		attnums[i] = list_nth_int(columns, i);

	initStringInfo(&sql);
	switch (kind)
	{
		case TIDE_STATEMENT_INSERT:
			appendStringInfo(&sql, "INSERT INTO %s AS t (", table);
			append_columns(&sql, target, "", target->keys, target->nkeys);
			if (n > 0)
				appendStringInfoString(&sql, ", ");
			append_columns(&sql, target, "", attnums, n);
			appendStringInfoString(&sql, ") SELECT ");
			append_columns(&sql, target, "k.", target->keys, target->nkeys);
			if (n > 0)
				appendStringInfoString(&sql, ", ");
			append_columns(&sql, target, "v.", attnums, n);
			appendStringInfoString(&sql, " FROM ");
			break;
		case TIDE_STATEMENT_UPDATE:
			appendStringInfo(&sql, "UPDATE %s AS t SET ", table);
			for (int i = 0; i < n; i++)
			{
				const char *name = tide_statement_column(target, attnums[i]);

				appendStringInfo(&sql, "%s%s = v.%s", i > 0 ? ", " : "", name, name);
			}
			appendStringInfoString(&sql, " FROM ");
			break;
		case TIDE_STATEMENT_DELETE:
			appendStringInfo(&sql, "DELETE FROM %s AS t USING ", table);
			break;
		case TIDE_STATEMENT_PROBE:
			appendStringInfo(&sql, "SELECT FROM %s AS t, ", table);
			break;
		case TIDE_STATEMENT_FETCH:
			appendStringInfo(&sql, "SELECT pg_catalog.to_jsonb(t.*) FROM %s AS t, ", table);
			break;
	}

	tide_statement_append_source(&sql, target, 'k', target->keys, target->nkeys);
	if (n > 0)
	{
		appendStringInfoString(&sql, ", ");
		tide_statement_append_source(&sql, target, 'v', attnums, n);
	}
	if (kind != TIDE_STATEMENT_INSERT)
		tide_statement_append_condition(&sql, target);
	return sql.data;
}

uint64
tide_statement_run(const char *sql, Datum key, Datum values)
{
	return tide_statement_run_full(sql, key, values, (Datum) 0, (Datum) 0);
}

uint64
tide_statement_run_full(const char *sql, Datum key, Datum values, Datum base, Datum computed)
{
	Datum		args[] = {key, values, base, computed};
	const char	nulls[] = {' ', ' ', base ? ' ' : 'n', computed ? ' ' : 'n'};
	int			code = SPI_execute_plan(find_plan(sql), args, nulls, false, 0);

	if (code < 0)
		elog(ERROR, "could not run a mutation: %s", SPI_result_code_string(code));
	return SPI_processed;
}

uint64
tide_statement_run_latest(const char *sql, Datum key, Datum values)
{
	Datum		args[] = {key, values, (Datum) 0, (Datum) 0};
	int			code = SPI_execute_snapshot(find_plan(sql), args, "  nn", GetLatestSnapshot(),
											InvalidSnapshot, true, false, 0);

	if (code < 0)
		elog(ERROR, "could not run a mutation: %s", SPI_result_code_string(code));
	return SPI_processed;
}

void
tide_statement_append_source(StringInfo sql, const TideTarget *target, char alias,
							 const AttrNumber *attnums, int n)
{
	static const char aliases[] = "kvbw";
	TupleDesc	desc = RelationGetDescr(target->rel);

	appendStringInfo(sql, "pg_catalog.jsonb_to_record($%d) AS %c(",
					 (int) (strchr(aliases, alias) - aliases) + 1, alias);
	for (int i = 0; i < n; i++)
	{
		appendStringInfo(sql, "%s%s ", i > 0 ? ", " : "", tide_statement_column(target, attnums[i]));
		append_type(sql, TupleDescAttr(desc, attnums[i] - 1));
	}
	appendStringInfoChar(sql, ')');
}

static void
append_columns(StringInfo sql, const TideTarget *target, const char *prefix,
			   const AttrNumber *attnums, int n)
{
	for (int i = 0; i < n; i++)
		appendStringInfo(sql, "%s%s%s", i > 0 ? ", " : "", prefix,
						 tide_statement_column(target, attnums[i]));
}

void
tide_statement_append_condition(StringInfo sql, const TideTarget *target)
{
	for (int i = 0; i < target->nkeys; i++)
	{
		const char *name = tide_statement_column(target, target->keys[i]);

		appendStringInfo(sql, " %s t.%s ", i > 0 ? "AND" : "WHERE", name);
		tide_statement_append_operator(sql, target->equals[i]);
		appendStringInfo(sql, " k.%s", name);
	}
}

void
tide_statement_append_operator(StringInfo sql, Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator %u", operator);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	appendStringInfo(sql, "OPERATOR(%s.%s)",
					 quote_identifier(get_namespace_name(form->oprnamespace)),
					 NameStr(form->oprname));
	ReleaseSysCache(tuple);
}

/* qualified type, and the column's collation where the type has another */
static void
append_type(StringInfo sql, Form_pg_attribute att)
{
	appendStringInfoString(sql,
						   format_type_extended(att->atttypid, att->atttypmod,
												FORMAT_TYPE_TYPEMOD_GIVEN |
												FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(att->attcollation) &&
		att->attcollation != get_typcollation(att->atttypid))
		append_collation(sql, att->attcollation);
}

static void
append_collation(StringInfo sql, Oid collation)
{
	HeapTuple	tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Form_pg_collation form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	form = (Form_pg_collation) GETSTRUCT(tuple);
	appendStringInfo(sql, " COLLATE %s",
					 quote_qualified_identifier(get_namespace_name(form->collnamespace),
												NameStr(form->collname)));
	ReleaseSysCache(tuple);
}

const char *
tide_statement_column(const TideTarget *target, AttrNumber attnum)
{
	return quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(target->rel),
												  attnum - 1)->attname));
}

/*
 * A plan for the text: kept, if there is room, else for the current SPI frame.
 */
static SPIPlanPtr
find_plan(const char *sql)
{
	Oid			types[] = {JSONBOID, JSONBOID, JSONBOID, JSONBOID};
	uint64		hash = hash_bytes_extended((const unsigned char *) sql, strlen(sql), 0);
	PlanEntry  *entry;
	SPIPlanPtr	plan;
	char	   *copy;

	prepare_cache();
	entry = hash_search(plans, &hash, HASH_FIND, NULL);
	if (entry != NULL && strcmp(entry->sql, sql) == 0)
		return entry->plan;

	plan = SPI_prepare(sql, lengthof(types), types);
	if (plan == NULL)
		elog(ERROR, "could not prepare a mutation: %s",
			 SPI_result_code_string(SPI_result));
	if (entry != NULL || hash_get_num_entries(plans) >= MAX_PLANS)
		return plan;

	/* all that can fail first, then the entry; SPI_keepplan() only relinks */
	copy = MemoryContextStrdup(CacheMemoryContext, sql);
	entry = hash_search(plans, &hash, HASH_ENTER, NULL);
	SPI_keepplan(plan);
	entry->sql = copy;
	entry->plan = plan;
	return plan;
}

static void
prepare_cache(void)
{
	HASHCTL		ctl = {.keysize = sizeof(uint64),.entrysize = sizeof(PlanEntry)};

	if (plans == NULL)
	{
		ctl.hcxt = CacheMemoryContext;
		plans = hash_create("tide push plans", MAX_PLANS, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		RegisterXactCallback(plans_at_xact_end, NULL);
	}
	if (plans_idle && hash_get_num_entries(plans) >= MAX_PLANS)
		empty_cache();
	plans_idle = false;
}

static void
empty_cache(void)
{
	HASH_SEQ_STATUS seq;
	PlanEntry  *entry;

	hash_seq_init(&seq, plans);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		SPI_freeplan(entry->plan);
		pfree(entry->sql);
		hash_search(plans, &entry->hash, HASH_REMOVE, NULL);
	}
}

static void
plans_at_xact_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		plans_idle = true;
}
