/*
 * apply.h
 *	  One mutation onto the app's tables, as the current user.
 */
#ifndef TIDE_PUSH_APPLY_H
#define TIDE_PUSH_APPLY_H

#include "push/mutation_log.h"
#include "push/writable.h"

typedef struct TideApply
{
	TideWritableSet *tables;
	MemoryContext context;		/* outcomes are allocated here */
	bool		check_deferred; /* the database has deferrable constraints */
	bool		is_first;		/* no mutation of this push has been applied before */
} TideApply;

/*
 * Apply a mutation in a subtransaction of its own and say what became of it.
 * What was wrong with it is an outcome, not an error; errors that are not the
 * mutation's fault are thrown, among them deadlocks and serialization failures that
 * do not go away by trying again. Leaves garbage in the current context.
 */
extern void tide_mutation_apply(const TideApply *apply, const TideMutation *mutation,
								TideOutcome *outcome);

/* outcome of a mutation that an error undid */
extern void tide_outcome_reject(const TideApply *apply, TideOutcome *outcome,
								int sqlerrcode, const char *message);

#endif							/* TIDE_PUSH_APPLY_H */
