/*
 * apply.h
 *	  One mutation onto the app's tables, as the current user.
 */
#ifndef TIDE_PUSH_APPLY_H
#define TIDE_PUSH_APPLY_H

#include "push/guard.h"
#include "push/mutation_log.h"
#include "push/writable.h"

typedef struct TideApply
{
	TideWritableSet *tables;
	TideGuardSet *guards;		/* or NULL */
	MemoryContext context;		/* outcomes are allocated here */
	const pg_uuid_t *client;	/* whose mutations these are */
	Jsonb	   *claims;			/* of the request: an object */
	const TidePushRequest *request; /* of which this is one mutation */
	const TideOutcome *outcomes;	/* of its mutations, as far as they ran */
	bool		check_deferred; /* what is deferred is due at the end of a
								 * mutation */
	bool		fire_deferred;	/* all deferrable constraints are initially
								 * deferred */
} TideApply;

/*
 * Apply a mutation in a subtransaction of its own and say what became of it.
 * What was wrong with it is an outcome, not an error; errors that are not the
 * mutation's fault are thrown, among them deadlocks and serialization failures.
 * Leaves garbage in the current context.
 */
extern void tide_mutation_apply(const TideApply *apply, const TideMutation *mutation,
								TideOutcome *outcome);

/*
 * The same without a subtransaction: its errors are thrown, for the caller to undo
 * what it has done.
 */
extern void tide_mutation_run(const TideApply *apply, const TideMutation *mutation,
							  TideOutcome *outcome);

/*
 * Fire what is deferred in the transaction, to learn now whether it fails. Throws its
 * errors.
 */
extern void tide_check_deferred(const TideApply *apply);

/* whether an error tells of other sessions, so that trying again may help */
extern bool tide_error_is_transient(int sqlerrcode);

/* outcome of a mutation that an error undid */
extern void tide_outcome_reject(const TideApply *apply, TideOutcome *outcome,
								int sqlerrcode, const char *message);

#endif							/* TIDE_PUSH_APPLY_H */
