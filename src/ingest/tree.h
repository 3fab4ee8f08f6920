/*
 * tree.h
 *	  Shapes whose membership is decided by SQL over the shadow tables, at the end
 *	  of a batch. doc/shapes.md explains the method and its terms.
 */
#ifndef TIDE_TREE_H
#define TIDE_TREE_H

#include "utils/tuplestore.h"

#include "ingest/fold.h"
#include "ingest/membership.h"
#include "store/members.h"

/*
 * Versions of rows that were taken away or added in this batch. The descriptor is the shadow
 * table's, with TIDE_VERSION_SIGN in place of _op; columns that no node uses are null.
 */
typedef struct TideVersions
{
	Tuplestorestate *store;		/* NULL until the first */
	int64		n;
} TideVersions;

/* a statement that finds rows a changed row of another table may concern */
typedef struct TideReach
{
	TideWatch  *from;			/* whose versions it reads */
	char	   *sql;
	SPIPlanPtr	plan;
} TideReach;

/* a node that is not direct, or has children */
typedef struct TideJoined
{
	TideShape  *shape;
	TideShapeNode *node;
	struct TideJoined *parent;	/* NULL: a root */
	TideWatch  *watch;			/* of the node's table */
	TideNodeEval *eval;
	int			bit;			/* in the masks of own changes; see
								 * tide_tree_note_delta() */
	bool		is_direct;		/* decided on the row; here for its children
								 * and its build */
	bool		has_children;
	bool	   *decides;		/* by column position: its change may change
								 * membership */
	List	   *reaches;		/* of TideReach */
	char	   *recompute_sql;
	SPIPlanPtr	recompute_plan;
	char	   *add_sql;		/* NULL unless there is a parent */
	SPIPlanPtr	add_plan;		/* over versions of the parent's table */
	char	   *window_sql;		/* NULL unless there are windows */
	SPIPlanPtr	window_plan;
	char	   *limit_sql;		/* NULL unless there is a limit */
	SPIPlanPtr	limit_plan;
	TideVersions moved;			/* of rows whose membership this node changed;
								 * for children */
	HTAB	   *rows;			/* R: rows to recompute, TideTreeRow by tid */
} TideJoined;

/* an element of R */
typedef struct TideTreeRow
{
	ItemPointerData tid;		/* hash key */
	bool		holds;			/* recomputed: the conditions hold, or a
								 * parent was found */
} TideTreeRow;

/* what is to become of one row's membership in one bucket */
typedef struct TideTreeCount
{
	TideBucket *bucket;
	int64		count;			/* new, or to be added */
} TideTreeCount;

typedef struct TideTreeCounts
{
	TideTreeCount *counts;
	int			n;
	int			max;
} TideTreeCounts;

/* tree.c */

/* at reload: the joined nodes of a shape whose sources are all there; in watch_context */
extern void tide_tree_load(TideIngest *in, TideShape *shape);

/* before a reload */
extern void tide_tree_unload(TideIngest *in);

/* the joined node of this watch that a bucket belongs to, or NULL */
extern TideJoined *tide_tree_of_bucket(const TideWatch *watch, const TideBucket *bucket);

/* a row of a watch with joined nodes has changed and is written */
extern void tide_tree_note_delta(TideIngest *in, const TideDelta *delta);

/* decide what the batch's changes, and the time since the last one, mean for joined nodes */
extern void tide_tree_apply(TideIngest *in);

/* whether time alone changes some node */
extern bool tide_tree_has_windows(const TideIngest *in);

/* forget versions noted so far */
extern void tide_tree_reset(TideIngest *in);

/* have versions of the table noted; position of a column it depends on, or -1 */
extern void tide_tree_use(TideWatch *watch, int position);

/* tree_run.c */

/* settings for the statements; returns the nest level for AtEOXact_GUC() */
extern int	tide_tree_settings_push(void);

/* tree_gather.c */

/* put a row into R */
extern void tide_tree_add_row(TideIngest *in, TideJoined *joined, ItemPointer tid);

/* tree_pass.c */

/* one node, then those below it see what it moved; R is emptied */
extern void tide_tree_pass(TideIngest *in, TideJoined *joined);

/*
 * Write into the rows' _members what so far only the entries of a build say of a node that was
 * a plain shape's; no entry is written.
 */
extern void tide_tree_make_explicit(TideIngest *in, TideJoined *joined);

/* tree_sql.c */

/* texts of the node's statements */
extern void tide_tree_make_sql(TideIngest *in, TideJoined *joined);

/*
 * Those that follow from the node and its parent alone; of joined nothing else is looked at. ERROR 55000 unless
 * the sources are live. In the current context.
 */
struct TideShadowSql;
extern struct TideShadowSql *tide_tree_make_texts(List *sources, TideJoined *joined);

/* tree_reach.c */

/* the node's reaches */
extern void tide_tree_make_reaches(TideIngest *in, TideJoined *joined, struct TideShadowSql *sql);

/* tree_columns.c */

/* have versions of the tables noted, and mark columns of the node's own that decide on membership */
extern void tide_tree_mark_columns(TideIngest *in, TideJoined *joined);

/* indexes that the shape's statements and lookups ask for, unless they are there */
extern void tide_tree_create_indexes(TideIngest *in, const TideShape *shape);

/* tree_write.c */

extern void tide_tree_count(TideTreeCounts *counts, TideBucket *bucket, int64 count);

/*
 * Change one row's memberships in the node's buckets: to the counts given (absolute), or by them. Writes the
 * shadow row and the change log, and notes the versions for the node's children; *tid is where the row is then. Between
 * tide_node_eval_begin() and end(), with the watch's shadow open.
 */
extern void tide_tree_write(TideIngest *in, TideJoined *joined, ItemPointer tid,
							const TideTreeCounts *counts, bool absolute);

/* add one membership, whose entry is there, unless the row has it; its _op stays */
extern void tide_tree_write_member(TideJoined *joined, ItemPointer tid,
								   const TideMember *member);

/* fetch a row as it is now; its slot is good until the next call */
extern TupleTableSlot *tide_tree_fetch(TideJoined *joined, ItemPointer tid);

/* versions in and out; slot as fetched, members as given */
extern void tide_tree_put_version(TideIngest *in, TideVersions *versions, TideWatch *watch,
								  int64 sign, const Datum *values, const bool *nulls);

/* tree_build.c */

/* whether some shape waits for its build to go on */
extern bool tide_tree_is_building(const TideIngest *in);

/* after a reload: what is under way may be of shapes that are gone */
extern void tide_tree_build_forget(TideIngest *in);

/* next slice of a build, in a transaction of its own; false if there was nothing to do */
extern bool tide_tree_build_step(TideIngest *in);

#endif							/* TIDE_TREE_H */
