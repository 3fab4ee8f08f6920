/*
 * statement.h
 *	  The SQL of a mutation, and its plans.
 */
#ifndef TIDE_PUSH_STATEMENT_H
#define TIDE_PUSH_STATEMENT_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

typedef enum TideStatementKind
{
	TIDE_STATEMENT_INSERT,		/* one row from key and values */
	TIDE_STATEMENT_UPDATE,		/* values into the row of the key */
	TIDE_STATEMENT_DELETE,		/* the row of the key */
	TIDE_STATEMENT_PROBE,		/* one row of nothing if the key's row is
								 * visible */
	TIDE_STATEMENT_FETCH		/* the key's row as jsonb */
} TideStatementKind;

/* an open table with its primary key */
typedef struct TideTarget
{
	Relation	rel;
	int			nkeys;
	AttrNumber *keys;			/* attnums, in index order */
	Oid		   *equals;			/* equality operator of each */
} TideTarget;

/*
 * Text of a statement with parameters $1 (key) and $2 (values), both jsonb
 * objects. columns are the attnums taken from $2. Every name in it is
 * qualified, so that it means the same under any search_path. In the current context.
 */
extern char *tide_statement_text(const TideTarget *target, TideStatementKind kind,
								 const List *columns);

/*
 * Run such a text within the caller's SPI frame, as the current user. Plans
 * are kept for the process, up to a bound. Returns the number of rows.
 */
extern uint64 tide_statement_run(const char *sql, Datum key, Datum values);

/* the same of a text that has $3 (base) and $4 (computed values), too; 0 for NULL */
extern uint64 tide_statement_run_full(const char *sql, Datum key, Datum values, Datum base,
									  Datum computed);

/* rows that a text finds which only reads, in what is committed by now whatever the transaction's snapshot */
extern uint64 tide_statement_run_latest(const char *sql, Datum key, Datum values);

/*
 * Parts of such texts. Source: pg_catalog.jsonb_to_record($1) AS k(id pg_catalog.uuid, ...),
 * $2 AS v, $3 AS b, $4 AS w. Condition: WHERE t has the key of k, equality as its index
 * has it. Column: its name, quoted.
 */
extern void tide_statement_append_source(StringInfo sql, const TideTarget *target, char alias,
										 const AttrNumber *attnums, int n);
extern void tide_statement_append_condition(StringInfo sql, const TideTarget *target);
extern void tide_statement_append_operator(StringInfo sql, Oid operator);
extern const char *tide_statement_column(const TideTarget *target, AttrNumber attnum);

#endif							/* TIDE_PUSH_STATEMENT_H */
