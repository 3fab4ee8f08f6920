/*
 * attempt.h
 *	  One run of a mutation, and what all ways to apply it have in common.
 */
#ifndef TIDE_PUSH_ATTEMPT_H
#define TIDE_PUSH_ATTEMPT_H

#include "push/apply.h"
#include "push/statement.h"
#include "util/compat.h"

typedef struct TideAttempt
{
	const TideApply *apply;
	const TideMutation *mutation;
	TideOutcome *outcome;
	List	   *kept;			/* names of columns sent whose server's value
								 * stays */
	int			duplicates;
} TideAttempt;

/*
 * Attnums of the values to be written. Key columns may be among the values
 * if they say the same as the key; then there is nothing to write. What cannot be
 * written (generated columns) is left to PostgreSQL to refuse.
 */
extern List *tide_attempt_value_columns(const TideTarget *target, const TideMutation *mutation);

extern bool tide_target_is_key(const TideTarget *target, AttrNumber attnum);

/* number of rows a statement touched or found */
extern uint64 tide_attempt_run(const TideAttempt *attempt, const TideTarget *target,
							   TideStatementKind kind, const List *columns);

/* ERROR P0002 */
TIDE_NORETURN extern void tide_attempt_reject_missing(const TideTarget *target);

/*
 * How often a row that is seen and not touched is looked at again: other sessions may
 * have put it there, or taken it away, between two statements, each of which sees what
 * was committed before it. What is the same so often is no coincidence.
 */
#define TIDE_ATTEMPT_TRIES 3

/* deletes the row; false: it is there and the app has done something else; or ERROR 42501 */
extern bool tide_attempt_delete(const TideAttempt *attempt, const TideTarget *target);

/* whether a visible row may be left untouched by the app's own doing: a BEFORE trigger or a rule */
extern bool tide_attempt_may_replace(const TideTarget *target, TidePushOp op);

/* a visible row was not touched: by the app's own doing, or ERROR 42501 */
extern void tide_attempt_check_unchanged(const TideTarget *target, TidePushOp op);

/* that ERROR 42501 */
TIDE_NORETURN extern void tide_attempt_reject_policy(const TideTarget *target);

/* whether the user may look for rows by key; who may not can still insert */
extern bool tide_attempt_can_probe(const TideTarget *target);

/*
 * {"row": {...}, "columns": {...}}: the row as the current user sees it now, absent if he
 * does not or may not read all of it, and the columns kept. NULL if there is neither.
 */
extern Jsonb *tide_attempt_result(const TideAttempt *attempt, const TideTarget *target);

#endif							/* TIDE_PUSH_ATTEMPT_H */
