/*
 * object.h
 *	  States as JSON objects: taken apart, walked two at a time, put together.
 *
 * What a state of some kind must look like is checked as it is read; all errors are
 * 22023 and name the kind ("OR-set").
 */
#ifndef TIDE_CRDT_OBJECT_H
#define TIDE_CRDT_OBJECT_H

#include "utils/jsonb.h"

#include "util/compat.h"

/* the members of an object, in jsonb's order of keys; all points into the jsonb */
typedef struct TideMembers
{
	JsonbPair  *pairs;
	int			n;
} TideMembers;

/* a walk along two objects; at each step a key and what either has for it */
typedef struct TideWalk
{
	TideMembers a;
	TideMembers b;
	int			at_a;
	int			at_b;
	const JsonbValue *key;
	const JsonbValue *value_a;	/* NULL: a has no such key */
	const JsonbValue *value_b;
} TideWalk;

/* ERROR "malformed <kind>" with a detail, a whole sentence */
TIDE_NORETURN extern void tide_state_malformed(const char *kind, const char *detail,...) pg_attribute_printf(2, 3);

/* ERROR unless it is an object */
extern void tide_members_read(Jsonb *object, const char *kind, TideMembers *result);

/* index of the member with that key, -1 if there is none */
extern int	tide_members_index(const TideMembers *members, const char *key, int len);

/* false when both objects have been walked through */
extern bool tide_walk_next(TideWalk *walk);

/*
 * Find the members named by names (n of them) in the object; NULL where there is none
 * (JSON null is a value). ERROR if there are others.
 */
extern void tide_members_find(const TideMembers *members, const char *kind,
							  const char *const *names, int n, const JsonbValue **values);

/* a jsonb as a value to be put into another, and back; the first points into the jsonb */
extern void tide_jsonb_to_value(Jsonb *jsonb, JsonbValue *result);
extern Jsonb *tide_value_to_jsonb(const JsonbValue *value);

/* order of values, as jsonb's own; equal values may be written differently (1, 1.0) */
extern int	tide_jsonb_compare(Jsonb *a, Jsonb *b);

/* append a member to the object that state builds */
extern void tide_push_key(JsonbParseState **state, const char *key, int len);
extern void tide_push_member(JsonbParseState **state, const char *key, const JsonbValue *value);
extern void tide_push_jsonb(JsonbParseState **state, const char *key, Jsonb *value);

extern Jsonb *tide_empty_object(void);
extern Jsonb *tide_empty_array(void);
extern bool tide_is_empty(Jsonb *container);

#endif							/* TIDE_CRDT_OBJECT_H */
