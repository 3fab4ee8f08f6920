/*
 * membership.c
 *	  Which bucket of a shape node holds a row.
 *
 * A shape's expressions are compiled once and run against rows in the shadow's layout.
 * Those that call nothing but built-in functions keep their compiled form from batch to
 * batch; others are compiled anew for each transaction, since what user functions keep
 * in their call sites does not outlive it, and run as the shape's owner under
 * SECURITY_RESTRICTED_OPERATION.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/detoast.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "ingest/membership.h"
#include "util/compat.h"

int			tide_evaluating_shape = 0;

/* the value of TIDE_PARAM_NOW */
static ParamListInfo now_param = NULL;

static void prepare(TideNodeEval *eval);
static void compile(TideNodeEval *eval);

TideNodeEval *
tide_node_eval_create(MemoryContext context, TideShape *shape, TideShapeNode *node,
					  TideShadow *shadow)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	TideNodeEval *eval = palloc0(sizeof(TideNodeEval));

	tide_evaluating_shape = shape->shape_id;
	eval->shape = shape;
	eval->node = node;
	eval->shadow = shadow;
	eval->in_tree = !tide_shape_keeps_plain(shape);
	eval->ncolumns = node->ncolumns;
	eval->positions = palloc(sizeof(int) * node->ncolumns);
	for (int c = 0; c < node->ncolumns; c++)
	{
		AttrNumber	attnum = node->columns[c];
		int			pos = attnum < shadow->natts_source ? shadow->attnum_pos[attnum] : -1;

		if (pos < 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("a column of shape \"%s\" does not exist any more", shape->name)));
		eval->positions[c] = pos;
	}
	eval->nkeys = list_length(node->key_parts);
	tide_evaluating_shape = 0;
	MemoryContextSwitchTo(old);
	return eval;
}

/* in the eval's context */
static void
prepare(TideNodeEval *eval)
{
	MemoryContext context = GetMemoryChunkContext(eval);
	MemoryContext old = MemoryContextSwitchTo(context);
	TideShadow *shadow = eval->shadow;
	ListCell   *lc;

	eval->filter = eval->node->filter ?
		tide_expr_over_shadow(eval->node->filter, shadow) : NULL;
	eval->keys = palloc(sizeof(Expr *) * Max(eval->nkeys, 1));
	eval->key_states = palloc0(sizeof(ExprState *) * Max(eval->nkeys, 1));
	eval->key_is_set = palloc0(sizeof(bool) * Max(eval->nkeys, 1));
	eval->codecs = palloc(sizeof(TideKeyCodec *) * Max(eval->nkeys, 1));
	eval->is_builtin = !tide_calls_user_code((Node *) eval->filter, NULL);
	foreach(lc, eval->node->key_parts)
	{
		TideKeyPart *part = lfirst(lc);
		int			i = foreach_current_index(lc);

		eval->keys[i] = tide_expr_over_shadow(part->expr, shadow);
		eval->key_is_set[i] = part->is_set;
		eval->codecs[i] = tide_key_codec_create(context, part->type);
		eval->is_builtin &= !tide_calls_user_code((Node *) eval->keys[i], NULL);
	}
	eval->slot = MakeSingleTupleTableSlot(shadow->desc, &TTSOpsVirtual);
	eval->is_prepared = true;
	MemoryContextSwitchTo(old);
}

Expr *
tide_expr_over_shadow(Node *expr, const TideShadow *shadow)
{
	AttrMap    *map = make_attrmap(Max(shadow->natts_source - 1, 1));
	bool		found_whole_row;

	for (int attnum = 1; attnum < shadow->natts_source; attnum++)
		map->attnums[attnum - 1] = shadow->attnum_pos[attnum] < 0 ? 0 :
			shadow->attnum_pos[attnum] + 1 + TIDE_SHADOW_FIXED;
	return (Expr *) map_variable_attnos(copyObject(expr), 1, 0, map, InvalidOid,
										&found_whole_row);
}

static bool
is_user_function(Oid funcid, void *context)
{
	return funcid >= FirstNormalObjectId;
}

bool
tide_calls_user_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_user_function, context))
		return true;
	return expression_tree_walker(node, tide_calls_user_code, context);
}

/* into the current context */
static void
compile(TideNodeEval *eval)
{
	eval->econtext = CreateStandaloneExprContext();
	eval->filter_state = eval->filter ?
		ExecInitExpr(expression_planner(copyObject(eval->filter)), NULL) : NULL;
	for (int i = 0; i < eval->nkeys; i++)
		eval->key_states[i] = ExecInitExpr(expression_planner(copyObject(eval->keys[i])),
										   NULL);
}

void
tide_node_eval_begin(TideNodeEval *eval, TideSpiFrame *frame)
{
	tide_evaluating_shape = eval->shape->shape_id;
	if (!eval->is_prepared)
		prepare(eval);
	if (!eval->is_builtin)
	{
		tide_user_push(frame, eval->shape->owner);
		eval->frame = frame;
		compile(eval);
	}
	else if (eval->econtext == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(eval));

		compile(eval);
		MemoryContextSwitchTo(old);
	}
}

void
tide_node_eval_end(TideNodeEval *eval, TideSpiFrame *frame)
{
	ExecClearTuple(eval->slot);
	if (!eval->is_builtin)
	{
		FreeExprContext(eval->econtext, true);
		eval->econtext = NULL;
		eval->frame = NULL;
		tide_user_pop(frame);
	}
	tide_evaluating_shape = 0;
}

void
tide_node_eval_set_now(TimestampTz now)
{
	if (now_param == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		now_param = makeParamList(TIDE_PARAM_NOW);
		MemoryContextSwitchTo(old);
	}
	now_param->params[TIDE_PARAM_NOW - 1].value = TimestampTzGetDatum(now);
	now_param->params[TIDE_PARAM_NOW - 1].isnull = false;
	now_param->params[TIDE_PARAM_NOW - 1].pflags = PARAM_FLAG_CONST;
	now_param->params[TIDE_PARAM_NOW - 1].ptype = TIMESTAMPTZOID;
}

ParamListInfo
tide_node_eval_now(void)
{
	return now_param;
}

/* point the evaluation at a row; whether the filter holds */
static bool
row_is_wanted(TideNodeEval *eval, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = ExecClearTuple(eval->slot);
	int			natts = eval->shadow->desc->natts;
	bool		isnull;
	Datum		value;

	memcpy(slot->tts_values, values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * natts);
	slot->tts_isnull[TIDE_SHADOW_OP - 1] = slot->tts_isnull[TIDE_SHADOW_MEMBERS - 1] = true;
	ExecStoreVirtualTuple(slot);

	ResetExprContext(eval->econtext);
	eval->econtext->ecxt_scantuple = slot;
	eval->econtext->ecxt_param_list_info = now_param;
	if (eval->filter_state == NULL)
		return true;
	value = ExecEvalExprSwitchContext(eval->filter_state, eval->econtext, &isnull);
	if (eval->frame != NULL)
		tide_user_reset(eval->frame);
	return !isnull && DatumGetBool(value);
}

/* distinct texts of one key of the row; none if it is null */
static List *
key_texts(TideNodeEval *eval, int i)
{
	List	   *texts = NIL;
	bool		isnull;
	Datum		value;
	Datum	   *elems;
	bool	   *elem_nulls;
	int			n;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	ArrayType  *array;

	value = ExecEvalExprSwitchContext(eval->key_states[i], eval->econtext, &isnull);
	if (eval->frame != NULL)
		tide_user_reset(eval->frame);
	if (isnull)
		return NIL;
	if (!eval->key_is_set[i])
		return list_make1(tide_key_codec_text(eval->codecs[i], value));
	array = DatumGetArrayTypeP(value);
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &typlen, &typbyval, &typalign);
	deconstruct_array(array, ARR_ELEMTYPE(array), typlen, typbyval, typalign, &elems,
					  &elem_nulls, &n);
	for (int e = 0; e < n; e++)
		if (!elem_nulls[e])
			texts = lappend(texts, tide_key_codec_text(eval->codecs[i], elems[e]));
	return texts;
}

/* whether a list of key tuples has one with these texts */
static bool
has_tuple(List *tuples, char **tuple, int n)
{
	ListCell   *lc;

	foreach(lc, tuples)
	{
		char	  **other = lfirst(lc);
		int			i = 0;

		while (i < n && strcmp(other[i], tuple[i]) == 0)
			i++;
		if (i == n)
			return true;
	}
	return false;
}

List *
tide_node_eval_keys(TideNodeEval *eval, const Datum *values, const bool *nulls)
{
	List	   *tuples = NIL;

	if (!row_is_wanted(eval, values, nulls))
		return NIL;
	tuples = list_make1(palloc0(sizeof(char *) * Max(eval->nkeys, 1)));
	for (int i = 0; i < eval->nkeys; i++)
	{
		List	   *texts = key_texts(eval, i);
		List	   *longer = NIL;
		ListCell   *lc;
		ListCell   *lc2;

		foreach(lc, tuples)
		{
			foreach(lc2, texts)
			{
				char	  **tuple = palloc(sizeof(char *) * eval->nkeys);

				memcpy(tuple, lfirst(lc), sizeof(char *) * eval->nkeys);
				tuple[i] = lfirst(lc2);
				if (!has_tuple(longer, tuple, i + 1))
					longer = lappend(longer, tuple);
			}
		}
		tuples = longer;
	}
	return tuples;
}

/* of one column's content: the same for any way the value is stored */
static uint32
column_hash(Form_pg_attribute att, Datum value, bool isnull, AttrNumber attnum)
{
	uint32		hash = 0;

	if (!isnull && att->attbyval)
		hash = hash_bytes((const unsigned char *) &value, sizeof(Datum));
	else if (!isnull && att->attlen > 0)
		hash = hash_bytes((const unsigned char *) DatumGetPointer(value), att->attlen);
	else if (!isnull && att->attlen == -1)
	{
		struct varlena *flat = PG_DETOAST_DATUM_PACKED(value);

		hash = hash_bytes((const unsigned char *) VARDATA_ANY(flat), VARSIZE_ANY_EXHDR(flat));
		if ((Pointer) flat != DatumGetPointer(value))
			pfree(flat);
	}
	else if (!isnull)
		hash = hash_bytes((const unsigned char *) DatumGetCString(value),
						  strlen(DatumGetCString(value)));
	return murmurhash32(hash ^ murmurhash32((uint32) attnum * 2 + isnull));
}

uint32
tide_node_eval_hash(const TideNodeEval *eval, const Datum *values, const bool *nulls,
					const bool *changed)
{
	uint32		sum = 0;

	for (int i = 0; i < eval->ncolumns; i++)
	{
		int			pos = eval->positions[i];
		int			a = pos + TIDE_SHADOW_FIXED;

		if (changed == NULL || changed[pos])
			sum += column_hash(TupleDescAttr(eval->shadow->desc, a), values[a], nulls[a],
							   eval->node->columns[i]);
	}
	return sum;
}

bool
tide_node_eval_shows_change(const TideNodeEval *eval, const bool *changed)
{
	for (int i = 0; i < eval->ncolumns; i++)
		if (changed[eval->positions[i]])
			return true;
	return false;
}
