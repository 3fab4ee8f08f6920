/*
 * conflict.h
 *	  A mutation of a table that has conflict policies other than overwrite.
 *
 * conflict.c goes through the steps: lock the row, decide, write, remember; the others do
 * one each. What they share is here.
 */
#ifndef TIDE_PUSH_CONFLICT_H
#define TIDE_PUSH_CONFLICT_H

#include "access/transam.h"
#include "catalog/pg_attribute.h"

#include "crdt/hlc.h"
#include "push/attempt.h"
#include "push/conflict_policy.h"

typedef enum TideColumnFate
{
	TIDE_COLUMN_WRITTEN,		/* the value sent; of a delete: nothing
								 * against it */
	TIDE_COLUMN_MERGED,			/* another value than the one sent */
	TIDE_COLUMN_KEPT,			/* the server's value stays */
	TIDE_COLUMN_ASIDE			/* not sent: there for its clock's sake */
} TideColumnFate;

/* a clock as it is noted, or as it is to be */
typedef struct TideNotedClock
{
	AttrNumber	attnum;			/* 0: of a deleted row */
	bool		by_ingest;		/* from server_clocks, which has no hlc,
								 * vclock, client */
	int64		hash;
	char	   *hlc;			/* or NULL */
	Jsonb	   *vclock;			/* or NULL */
	bool		has_client;		/* else the server wrote it */
	pg_uuid_t	client;
	TransactionId xid;
	XLogRecPtr	lsn;
	TimestampTz at;
} TideNotedClock;

/* the clock that the value in a column has */
typedef struct TideValueClock
{
	bool		is_known;		/* else older than all others */
	bool		is_noted;		/* as that of the value in the column */
	bool		has_client;		/* else the server wrote it */
	pg_uuid_t	client;
	TideHlc		hlc;			/* of policy hlc */
	Jsonb	   *vclock;			/* of policy vclock; never NULL */
} TideValueClock;

typedef struct TideConflictColumn
{
	AttrNumber	attnum;
	Form_pg_attribute att;
	TideConflictPolicy policy;
	Oid			function;		/* of custom */
	bool		is_sent;		/* among the values */
	bool		has_base;
	bool		is_grouped;		/* custom of the table: decided with others */
	TideConflictForm form;		/* as asked for: no TYPED without equality */
	Datum		raw;			/* in the row, as the column's type */
	bool		raw_null;
	Datum		values[3];		/* by TideConflictValue; as form says */
	bool		nulls[3];
	TideColumnFate fate;
	Jsonb	   *computed;		/* MERGED of set and custom: to be written;
								 * NULL for SQL NULL */
	TideValueClock clock;		/* of policies that have one */
	List	   *added;			/* of set: ids of elements added */
	List	   *removed;		/* and of those removed */
} TideConflictColumn;

typedef enum TideConflictValue
{
	TIDE_VALUE_CURRENT,
	TIDE_VALUE_BASE,			/* of form SUM: what is to be written */
	TIDE_VALUE_NEW
} TideConflictValue;

typedef struct TideConflict
{
	TideAttempt *attempt;
	const TideTarget *target;
	const TideTablePolicies *policies;
	TideConflictColumn *columns;
	int			ncolumns;
	bool		has_hlc;		/* the table has columns with such policies */
	bool		has_vclock;
	bool		has_clocks;		/* one of the two */
	bool		has_sets;
	bool		has_group;		/* columns decided together */
	bool		with_hlc;		/* the mutation's clock is used */
	TideHlc		hlc;
	pg_uuid_t	key_id;			/* of the row, once it is known */
	TransactionId xmin;			/* of the row; 0: the caller may not know it */
	XLogRecPtr	lsn;			/* when the row was locked */
	FullTransactionId mark;		/* of the ingest: tide_clock_mark_read() */
	bool		mark_is_read;
	Jsonb	   *row;			/* with has_group */
	TideValueClock tombstone;	/* of the row that was deleted, once it was
								 * looked for */
} TideConflict;

/*
 * Apply a mutation, unless overwrite's way does the same (false): then nothing has been
 * done. columns are the attnums of its values. In the caller's SPI frame, in a subtransaction.
 */
extern bool tide_conflict_apply(TideAttempt *attempt, const TideTarget *target,
								const TideTablePolicies *policies, const List *columns);

/*
 * conflict_columns.c: which columns are concerned: those sent, of a delete those that may have
 * something against it, and those with clocks that the caller may read.
 */
extern void tide_conflict_find_columns(TideConflict *conflict, const List *sent);

/* whether overwrite's way will not do */
extern bool tide_conflict_is_concerned(const TideConflict *conflict);

/* ERROR 22023 if something is missing that a policy needs; takes in the mutation's clock */
extern void tide_conflict_check_needs(TideConflict *conflict);

/*
 * Attnums of the columns with clocks: all of them (for a delete), or those that an insert has
 * to note: sent ones, and others that the caller may read.
 */
extern List *tide_conflict_clock_columns(const TideConflict *conflict, bool all);

/* sent columns with policy set that the caller may read, as negative attnums */
extern List *tide_conflict_sent_sets(const TideConflict *conflict);

/* the column among conflict->columns, added if it is not there */
extern TideConflictColumn *tide_conflict_column(TideConflict *conflict, AttrNumber attnum);

/* conflict_statement.c: texts. See tide_statement_text() for their parameters. */
extern char *tide_conflict_lock_text(const TideConflict *conflict);
extern char *tide_conflict_key_text(const TideConflict *conflict);
extern char *tide_conflict_insert_text(const TideConflict *conflict, const List *returned);
extern char *tide_conflict_update_text(const TideConflict *conflict, const List *returned);

/* conflict_decide.c: the fate of each column; ERROR TD001 of policy reject */
extern void tide_conflict_decide(TideConflict *conflict);

/* whether two values of the column are the same */
extern bool tide_conflict_same(const TideConflictColumn *column, TideConflictValue a,
							   TideConflictValue b);

/* conflict_set.c: the decision of policy set */
extern void tide_conflict_decide_set(TideConflict *conflict, TideConflictColumn *column);

/* ids of the elements of a set's JSON array, as in set_elements; duplicates included */
extern List *tide_conflict_set_ids(Jsonb *array);

/* conflict_custom.c: that of policy custom, of a column and of all grouped ones */
extern void tide_conflict_decide_custom(TideConflict *conflict, TideConflictColumn *column);
extern void tide_conflict_decide_group(TideConflict *conflict);

#endif							/* TIDE_PUSH_CONFLICT_H */
