/*
 * plan_group.c
 *	  The direct nodes of one table, those that differ in constants only evaluated as one.
 *
 * The nodes of a group have one owner and one template (shape/plan_share.h). Its steps are evaluated
 * once for a row. The values of those that dispatch, in order, lead to the members: for
 * each beginning of the sequence of constants that some member has there is a Prefix. A step is
 * only evaluated if some member's constants lead there, so whatever it raises is the fault of
 * these, and would have been raised by each on its own. So a row costs what its groups cost, and
 * what the members cost that hold it, however many there are.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/memutils.h"

#include "ingest/plan_group.h"
#include "util/spi.h"

/* a beginning of some members' constants */
typedef struct Prefix
{
	struct Prefix *next_same_hash;
	int			length;
	char	   *image;
	List	   *members;		/* of TideNodeEval */
} Prefix;

typedef struct PrefixEntry
{
	uint64		hash;
	Prefix	   *first;
} PrefixEntry;

typedef struct PlanGroup
{
	struct PlanGroup *next_same_hash;
	const TidePlanTemplate *template;	/* a member's: only the constants
										 * differ */
	TideNodeEval *first;
	int64		newest_build;	/* of the plain shapes among the members */
	Prefix		root;			/* of length 0: all members */
	HTAB	   *prefixes;		/* NULL if no step dispatches */
	bool		is_prepared;
	bool		is_builtin;		/* see TideNodeEval */
	int			nsteps;
	int			nexprs;			/* steps, then keys */
	Expr	  **exprs;			/* over the shadow */
	ExprState **states;			/* kept for good if is_builtin */
	TidePlanImager **imagers;	/* by step */
	TideKeyCodec **codecs;		/* by key */
} PlanGroup;

typedef struct GroupEntry
{
	uint64		hash;
	PlanGroup  *first;
} GroupEntry;

struct TidePlanGroups
{
	MemoryContext context;
	TideShadow *shadow;
	HTAB	   *by_text;
	List	   *groups;
	int64		newest_build;	/* of all groups */
	TupleTableSlot *slot;		/* the row in question */
	ExprContext *econtext;		/* of groups that are is_builtin */
};

/* whose expressions are being evaluated */
static const Prefix *evaluating = NULL;

static HTAB *
make_table(TidePlanGroups *groups, const char *name, Size entry_size)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(uint64);
	ctl.entrysize = entry_size;
	ctl.hcxt = groups->context;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

TidePlanGroups *
tide_groups_create(MemoryContext context, TideShadow *shadow)
{
	TidePlanGroups *groups = MemoryContextAllocZero(context, sizeof(TidePlanGroups));

	groups->context = context;
	groups->shadow = shadow;
	groups->by_text = make_table(groups, "tide plan groups", sizeof(GroupEntry));
	evaluating = NULL;
	return groups;
}

/* ---- members ---- */

static Prefix *
find_prefix(const PlanGroup *group, const char *image, int length)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) image, length, 0);
	PrefixEntry *entry = hash_search(group->prefixes, &hash, HASH_FIND, NULL);
	Prefix	   *prefix = entry ? entry->first : NULL;

	while (prefix != NULL &&
		   (prefix->length != length || memcmp(prefix->image, image, length) != 0))
		prefix = prefix->next_same_hash;
	return prefix;
}

static Prefix *
obtain_prefix(PlanGroup *group, const char *image, int length)
{
	uint64		hash;
	Prefix	   *prefix = find_prefix(group, image, length);
	PrefixEntry *entry;
	bool		found;

	if (prefix != NULL)
		return prefix;
	hash = hash_bytes_extended((const unsigned char *) image, length, 0);
	entry = hash_search(group->prefixes, &hash, HASH_ENTER, &found);
	prefix = palloc0(sizeof(Prefix));
	prefix->next_same_hash = found ? entry->first : NULL;
	prefix->length = length;
	prefix->image = memcpy(palloc(Max(length, 1)), image, length);
	entry->first = prefix;
	return prefix;
}

/* enter a member below each combination of its constants; step is the next one to look at */
static void
add_member(PlanGroup *group, TideNodeEval *eval, const TidePlanTemplate *template, int step,
		   StringInfo image)
{
	int			length = image->len;
	TidePlanStep *at;
	ListCell   *lc;

	while (step < list_length(template->steps) &&
		   !((TidePlanStep *) list_nth(template->steps, step))->is_dispatch)
		step++;
	if (step == list_length(template->steps))
		return;
	at = list_nth(template->steps, step);
	foreach(lc, at->images)
	{
		bytea	   *constant = lfirst(lc);
		Prefix	   *prefix;

		appendBinaryStringInfo(image, VARDATA(constant), VARSIZE(constant) - VARHDRSZ);
		prefix = obtain_prefix(group, image->data, image->len);
		prefix->members = lappend(prefix->members, eval);
		add_member(group, eval, template, step + 1, image);
		image->len = length;
	}
}

static PlanGroup *
obtain_group(TidePlanGroups *groups, TideNodeEval *eval, const TidePlanTemplate *template)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) template->text,
										   strlen(template->text), eval->shape->owner);
	bool		found;
	GroupEntry *entry = hash_search(groups->by_text, &hash, HASH_ENTER, &found);
	PlanGroup  *group = found ? entry->first : NULL;

	while (group != NULL && (group->first->shape->owner != eval->shape->owner ||
							 strcmp(group->template->text, template->text) != 0))
		group = group->next_same_hash;
	if (group != NULL)
		return group;
	group = palloc0(sizeof(PlanGroup));
	group->next_same_hash = found ? entry->first : NULL;
	entry->first = group;
	group->template = template;
	group->first = eval;
	if (template->ndispatch > 0)
		group->prefixes = make_table(groups, "tide plan prefixes", sizeof(PrefixEntry));
	groups->groups = lappend(groups->groups, group);
	return group;
}

void
tide_groups_add(TidePlanGroups *groups, TideNodeEval *eval, const TidePlanTemplate *template)
{
	MemoryContext old = MemoryContextSwitchTo(groups->context);
	PlanGroup  *group = obtain_group(groups, eval, template);
	StringInfoData image;

	if (!eval->in_tree)
	{
		group->newest_build = Max(group->newest_build, eval->shape->built_op_id);
		groups->newest_build = Max(groups->newest_build, group->newest_build);
	}
	group->root.members = lappend(group->root.members, eval);
	if (template->ndispatch > 0)
	{
		initStringInfo(&image);
		add_member(group, eval, template, 0, &image);
		pfree(image.data);
	}
	MemoryContextSwitchTo(old);
}

/* ---- errors ---- */

/* from here on errors are the fault of the members of a prefix; NULL: of nobody */
static void
blame(const Prefix *prefix)
{
	evaluating = prefix;
	tide_evaluating_shape = prefix == NULL ? 0 :
		((TideNodeEval *) linitial(prefix->members))->shape->shape_id;
}

List *
tide_evaluating_shapes(void)
{
	List	   *ids = NIL;
	ListCell   *lc;

	foreach(lc, evaluating ? evaluating->members : NIL)
	{
		int			shape_id = ((TideNodeEval *) lfirst(lc))->shape->shape_id;

		/* a shape's nodes follow each other */
		if (ids == NIL || llast_int(ids) != shape_id)
			ids = lappend_int(ids, shape_id);
	}
	if (ids == NIL && tide_evaluating_shape != 0)
		ids = list_make1_int(tide_evaluating_shape);
	return ids;
}

void
tide_evaluating_none(void)
{
	blame(NULL);
}

/* ---- evaluation ---- */

/* what a group needs before its first row, in the groups' context */
static void
prepare(TidePlanGroups *groups, PlanGroup *group)
{
	List	   *steps = group->template->steps;
	List	   *parts = group->first->node->key_parts;
	ListCell   *lc;

	blame(&group->root);
	group->nsteps = list_length(steps);
	group->nexprs = group->nsteps + list_length(parts);
	group->exprs = palloc0(sizeof(Expr *) * Max(group->nexprs, 1));
	group->states = palloc0(sizeof(ExprState *) * Max(group->nexprs, 1));
	group->imagers = palloc0(sizeof(TidePlanImager *) * Max(group->nsteps, 1));
	group->codecs = palloc0(sizeof(TideKeyCodec *) * Max(list_length(parts), 1));
	group->is_builtin = true;
	foreach(lc, steps)
	{
		TidePlanStep *step = lfirst(lc);
		int			i = foreach_current_index(lc);

		group->exprs[i] = tide_expr_over_shadow(step->expr, groups->shadow);
		if (step->is_dispatch)
			group->imagers[i] = tide_plan_imager(groups->context, exprType(step->expr));
	}
	foreach(lc, parts)
	{
		TideKeyPart *part = lfirst(lc);
		int			i = foreach_current_index(lc);

		group->exprs[group->nsteps + i] = tide_expr_over_shadow(part->expr, groups->shadow);
		group->codecs[i] = tide_key_codec_create(groups->context, part->type);
	}
	for (int i = 0; i < group->nexprs; i++)
		group->is_builtin &= !tide_calls_user_code((Node *) group->exprs[i], NULL);
	group->is_prepared = true;
}

/* into the current context */
static void
compile(PlanGroup *group)
{
	for (int i = 0; i < group->nexprs; i++)
		group->states[i] = ExecInitExpr(expression_planner(copyObject(group->exprs[i])), NULL);
}

static void
prepare_all(TidePlanGroups *groups)
{
	MemoryContext old = MemoryContextSwitchTo(groups->context);
	ListCell   *lc;

	if (groups->slot == NULL)
	{
		groups->slot = MakeSingleTupleTableSlot(groups->shadow->desc, &TTSOpsVirtual);
		groups->econtext = CreateStandaloneExprContext();
	}
	foreach(lc, groups->groups)
	{
		PlanGroup  *group = lfirst(lc);

		if (group->is_prepared)
			continue;
		prepare(groups, group);
		if (group->is_builtin)
			compile(group);
	}
	MemoryContextSwitchTo(old);
}

/* the members whose constants the row has, if the other steps hold as well; else NULL */
static const Prefix *
members_of_row(PlanGroup *group, ExprContext *econtext)
{
	const Prefix *prefix = &group->root;
	StringInfoData image = {0};

	blame(prefix);
	for (int i = 0; i < group->nsteps; i++)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr(group->states[i], econtext, &isnull);

		if (isnull)
			return NULL;
		if (group->imagers[i] == NULL)
		{
			if (!DatumGetBool(value))
				return NULL;
			continue;
		}
		if (image.data == NULL)
			initStringInfo(&image);
		tide_plan_image(&image, group->imagers[i], value);
		prefix = find_prefix(group, image.data, image.len);
		if (prefix == NULL)
			return NULL;
		blame(prefix);
	}
	return prefix;
}

static void
add_hit(TideHits *hits, TideNodeEval *eval, TideBucket *bucket)
{
	if (hits->n == hits->max)
	{
		hits->max = Max(4, hits->max * 2);
		hits->hits = hits->hits == NULL ? palloc(sizeof(TideHit) * hits->max) :
			repalloc(hits->hits, sizeof(TideHit) * hits->max);
	}
	hits->hits[hits->n].eval = eval;
	hits->hits[hits->n++].bucket = bucket;
}

/* answer for one group; the row is in econtext. frame: of the owner whose code it calls, or NULL */
static void
ask_group(PlanGroup *group, ExprContext *econtext, TideSpiFrame *frame, TideBuckets *buckets,
		  TideRowAsk *ask, int64 *op_id)
{
	const char *parts[INDEX_MAX_KEYS];
	int			nparts = group->nexprs - group->nsteps;
	MemoryContext old = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	const Prefix *prefix = members_of_row(group, econtext);
	ListCell   *lc;

	if (frame != NULL)
		tide_user_reset(frame);
	for (int i = 0; prefix != NULL && i < nparts; i++)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr(group->states[group->nsteps + i], econtext, &isnull);

		if (frame != NULL)
			tide_user_reset(frame);
		if (isnull)
			prefix = NULL;
		else
			parts[i] = tide_key_codec_text(group->codecs[i], value);
	}
	MemoryContextSwitchTo(old);
	foreach(lc, prefix ? prefix->members : NIL)
	{
		TideNodeEval *eval = lfirst(lc);

		if (ask->since > 0 && (eval->in_tree || eval->shape->built_op_id < ask->since))
			continue;
		add_hit(ask->hits, eval,
				tide_bucket_for_key(buckets, eval->shape->shape_id, eval->node->node_id, parts,
									nparts, op_id));
	}
}

/* point evaluations at a row */
static void
set_row(TidePlanGroups *groups, ExprContext *econtext, const TideRowAsk *ask)
{
	TupleTableSlot *slot = ExecClearTuple(groups->slot);
	int			natts = groups->shadow->desc->natts;

	memcpy(slot->tts_values, ask->values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, ask->nulls, sizeof(bool) * natts);
	slot->tts_isnull[TIDE_SHADOW_OP - 1] = slot->tts_isnull[TIDE_SHADOW_MEMBERS - 1] = true;
	ExecStoreVirtualTuple(slot);
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	econtext->ecxt_param_list_info = tide_node_eval_now();
}

static bool
may_answer(const PlanGroup *group, const TideRowAsk *ask)
{
	return ask->since == 0 || group->newest_build >= ask->since;
}

/* a group that calls user code: as its owner, compiled for this time only */
static void
ask_as_owner(TidePlanGroups *groups, PlanGroup *group, TideBuckets *buckets, TideRowAsk *asks,
			 int n, int64 *op_id)
{
	ExprContext *econtext = NULL;
	TideSpiFrame frame;

	for (int i = 0; i < n; i++)
	{
		if (!may_answer(group, &asks[i]))
			continue;
		if (econtext == NULL)
		{
			blame(&group->root);
			tide_user_push(&frame, group->first->shape->owner);
			econtext = CreateStandaloneExprContext();
			compile(group);
		}
		set_row(groups, econtext, &asks[i]);
		ask_group(group, econtext, &frame, buckets, &asks[i], op_id);
	}
	if (econtext == NULL)
		return;
	ExecClearTuple(groups->slot);
	FreeExprContext(econtext, true);
	tide_user_pop(&frame);
}

void
tide_groups_ask(TidePlanGroups *groups, TideBuckets *buckets, TideRowAsk *asks, int n,
				int64 *op_id)
{
	ListCell   *lc;

	if (groups == NULL || n == 0)
		return;
	prepare_all(groups);
	for (int i = 0; i < n; i++)
	{
		if (asks[i].since > groups->newest_build)
			continue;
		set_row(groups, groups->econtext, &asks[i]);
		foreach(lc, groups->groups)
		{
			PlanGroup  *group = lfirst(lc);

			if (group->is_builtin && may_answer(group, &asks[i]))
				ask_group(group, groups->econtext, NULL, buckets, &asks[i], op_id);
		}
	}
	ExecClearTuple(groups->slot);
	foreach(lc, groups->groups)
	{
		if (!((PlanGroup *) lfirst(lc))->is_builtin)
			ask_as_owner(groups, lfirst(lc), buckets, asks, n, op_id);
	}
	blame(NULL);
}
