/*
 * membership.h
 *	  Which bucket of a shape node holds a row.
 */
#ifndef TIDE_MEMBERSHIP_H
#define TIDE_MEMBERSHIP_H

#include "nodes/execnodes.h"
#include "nodes/params.h"

#include "ingest/ingest.h"
#include "shape/bucket_key.h"
#include "util/spi.h"

/* a shape node made ready for evaluation against rows in the shadow's layout */
typedef struct TideNodeEval
{
	TideShape  *shape;
	TideShapeNode *node;
	TideShadow *shadow;
	int			ncolumns;		/* columns shown */
	int		   *positions;		/* of them in the shadow */
	int			nkeys;
	bool		in_tree;		/* of a shape that is not plain: _members
								 * tells all */

	/*
	 * from the first begin() on; nodes that are decided in plan groups never
	 * have it
	 */
	bool		is_prepared;
	Expr	   *filter;			/* over shadow attnums, or NULL */
	Expr	  **keys;
	TideKeyCodec **codecs;
	bool	   *key_is_set;		/* by key: an array, each of whose elements is
								 * a key */
	bool		is_builtin;		/* calls no user code: may run as anybody */

	/* while evaluating; kept for good if is_builtin */
	ExprState  *filter_state;
	ExprState **key_states;
	ExprContext *econtext;
	TupleTableSlot *slot;
	TideSpiFrame *frame;		/* of begin(), unless is_builtin */
} TideNodeEval;

extern TideNodeEval *tide_node_eval_create(MemoryContext context, TideShape *shape,
										   TideShapeNode *node, TideShadow *shadow);

/*
 * Between begin and end, keys() evaluates as the shape's owner and puts
 * errors down to the shape. In a transaction, with an active snapshot.
 */
extern void tide_node_eval_begin(TideNodeEval *eval, TideSpiFrame *frame);
extern void tide_node_eval_end(TideNodeEval *eval, TideSpiFrame *frame);

/* now() of all evaluations until it is set again */
extern void tide_node_eval_set_now(TimestampTz now);

extern ParamListInfo tide_node_eval_now(void);

/*
 * Key tuples of the row in the current context: several if a key is a set, none if the
 * filter does not hold or a key is null. Each is an array of eval->nkeys texts.
 */
extern List *tide_node_eval_keys(TideNodeEval *eval, const Datum *values, const bool *nulls);

/*
 * Hash of the columns shown: the sum of a hash per column, so that a change can be
 * computed from the changed columns alone. changed = NULL: all of them.
 */
extern uint32 tide_node_eval_hash(const TideNodeEval *eval, const Datum *values,
								  const bool *nulls, const bool *changed);

/* the expression with Vars of the source's attnums turned into the shadow's */
extern Expr *tide_expr_over_shadow(Node *expr, const TideShadow *shadow);

/* a walker: whether the expression calls anything but built-in functions */
extern bool tide_calls_user_code(Node *node, void *context);

/* whether any of the columns shown is marked */
extern bool tide_node_eval_shows_change(const TideNodeEval *eval, const bool *changed);

#endif							/* TIDE_MEMBERSHIP_H */
