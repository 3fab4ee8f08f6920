/*
 * mutator.h
 *	  Named functions of the app that clients call by a push.
 */
#ifndef TIDE_PUSH_MUTATOR_H
#define TIDE_PUSH_MUTATOR_H

#include "push/apply.h"

/* give a function (jsonb, jsonb) a name for clients, and take it back */
extern void tide_mutator_create(const char *name, Oid function);
extern void tide_mutator_drop(const char *name);

/*
 * Call the mutator of a mutation as the current user, within the mutation's
 * subtransaction. What it returns becomes the outcome's result. ERRORs reject the
 * mutation: 42883 no such mutator, 42501, whatever the function raises.
 */
extern void tide_mutator_call(const TideApply *apply, const TideMutation *mutation,
							  TideOutcome *outcome);

#endif							/* TIDE_PUSH_MUTATOR_H */
