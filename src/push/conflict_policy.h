/*
 * conflict_policy.h
 *	  Conflict policies: their names, what each needs, and which table and column has which.
 */
#ifndef TIDE_PUSH_CONFLICT_POLICY_H
#define TIDE_PUSH_CONFLICT_POLICY_H

#include "access/attnum.h"
#include "utils/relcache.h"

typedef enum TideConflictPolicy
{
	TIDE_CONFLICT_OVERWRITE,
	TIDE_CONFLICT_KEEP,
	TIDE_CONFLICT_REJECT,
	TIDE_CONFLICT_HLC,
	TIDE_CONFLICT_VCLOCK,
	TIDE_CONFLICT_COUNTER,
	TIDE_CONFLICT_SET,
	TIDE_CONFLICT_CUSTOM
} TideConflictPolicy;

#define TIDE_CONFLICT_NPOLICIES (TIDE_CONFLICT_CUSTOM + 1)

/* how a policy wants the values it decides by */
typedef enum TideConflictForm
{
	TIDE_FORM_NONE,				/* does not look at them */
	TIDE_FORM_TYPED,			/* as the column's type; jsonb if that has no
								 * equality */
	TIDE_FORM_JSON,				/* to_jsonb() of each */
	TIDE_FORM_SUM				/* as the type; what is to be written in place
								 * of the base */
} TideConflictForm;

typedef struct TidePolicyTraits
{
	const char *name;
	TideConflictForm form;
	bool		needs_base;		/* of an update */
	bool		has_clock;		/* decides by clocks of columns */
	bool		column_only;	/* cannot be a table's */
} TidePolicyTraits;

extern const TidePolicyTraits tide_policy_traits[TIDE_CONFLICT_NPOLICIES];

typedef struct TideColumnPolicy
{
	AttrNumber	attnum;			/* 0: the table's own */
	TideConflictPolicy policy;
	Oid			function;		/* of custom, or InvalidOid */
} TideColumnPolicy;

/* of a table that is not all overwrite */
typedef struct TideTablePolicies
{
	Oid			relid;			/* hash key */
	TideColumnPolicy own;
	int			ncolumns;
	TideColumnPolicy *columns;	/* that have their own */
} TideTablePolicies;

/* ERROR 22023 listing the valid ones */
extern TideConflictPolicy tide_conflict_policy_parse(const char *name);

/* never NULL; columns without a policy of their own have the table's */
extern const TideColumnPolicy *tide_column_policy(const TideTablePolicies *policies,
												  AttrNumber attnum);

/*
 * Set or take back (policy NULL) a column's policy, or with column NULL the table's own.
 * For administrators. function InvalidOid: none.
 */
extern void tide_conflict_policy_set(Oid relid, const char *column, const char *policy,
									 Oid function);

/* ERROR unless the table can have it: tide.allow_writes() sets it */
extern void tide_conflict_policy_check_table(TideConflictPolicy policy);

/* ERROR 42883 unless it is a function(jsonb, jsonb, jsonb) returns jsonb */
extern void tide_conflict_function_check(Oid function);

/* schema-qualified operator of a type, InvalidOid if it has none of type × type → type */
extern Oid	tide_type_operator(Oid type, const char *name);

/* remove what is remembered for columns that have no need for it any more; as the owner */
extern void tide_conflict_forget_unused(void);

#endif							/* TIDE_PUSH_CONFLICT_POLICY_H */
