/*
 * altered.c
 *	  Whether a source's table is still what the shapes on it were compiled for.
 *
 * The shadow has all columns the table had when it was copied. What shapes do not use of
 * it need not be kept true: a column may come, go, be renamed or change its type without
 * anybody noticing. A new shape that wants such a column finds that the table is not as
 * copied (build.c), and has it copied anew.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/transam.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "catalog/table_key.h"
#include "ingest/altered.h"
#include "ingest/capture.h"
#include "ingest/membership.h"
#include "ingest/route.h"
#include "ingest/tree.h"
#include "ingest/type_labels.h"
#include "util/compat.h"

static void note_node(TideWatch *watch, const TideShapeNode *node);

void
tide_altered_note_use(TideWatch *watch)
{
	const TideSource *source = watch->shadow->source;
	ListCell   *lc;

	watch->used = palloc0(sizeof(bool) * Max(source->ncolumns, 1));
	watch->uses_all = false;
	for (int i = 0; i < source->nkeys; i++)
		watch->used[watch->shadow->key_pos[i]] = true;
	foreach(lc, watch->evals)
	{
		const TideNodeEval *eval = lfirst(lc);

		watch->uses_all |= eval->shape->shows_all;
		note_node(watch, eval->node);
	}
	foreach(lc, watch->joined)
		note_node(watch, ((const TideJoined *) lfirst(lc))->node);

	/*
	 * a shape of several tables may need more than its nodes say, and a hash
	 * needs all
	 */
	if (watch->joins != NULL || watch->shadow->is_keyless || source->leaves != NULL)
	{
		memset(watch->used, true, source->ncolumns);
		watch->uses_all = true;
	}
}

static void
note_node(TideWatch *watch, const TideShapeNode *node)
{
	Bitmapset  *attnums = NULL;
	int			a = -1;
	ListCell   *lc;

	for (int i = 0; i < node->ncolumns; i++)
		attnums = bms_add_member(attnums, node->columns[i] -
								 FirstLowInvalidHeapAttributeNumber);
	pull_varattnos(node->filter, 1, &attnums);
	foreach(lc, node->key_parts)
		pull_varattnos(((TideKeyPart *) lfirst(lc))->expr, 1, &attnums);
	while ((a = bms_next_member(attnums, a)) >= 0)
	{
		int			attnum = a + FirstLowInvalidHeapAttributeNumber;

		if (attnum > 0 && attnum < watch->shadow->natts_source &&
			watch->shadow->attnum_pos[attnum] >= 0)
			watch->used[watch->shadow->attnum_pos[attnum]] = true;
	}
}

bool
tide_altered_is_lost(const TideWatch *watch, Relation rel, int column)
{
	const TideSource *source = watch->shadow->source;
	AttrNumber	attnum = source->columns[column];
	Form_pg_attribute att;

	if (TIDE_ATTNUM_IS_OWN(attnum))
		return false;
	if (attnum > RelationGetNumberOfAttributes(rel))
		return true;
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	return att->attisdropped || att->atttypid != source->column_types[column];
}

bool
tide_altered_fits(const TideWatch *watch, Relation rel)
{
	const TideSource *source = watch->shadow->source;
	TupleDesc	desc = RelationGetDescr(rel);
	int			n = 0;

	for (int i = 0; i < source->ncolumns; i++)
	{
		Form_pg_attribute att;

		if (!watch->used[i] || TIDE_ATTNUM_IS_OWN(source->columns[i]))
			continue;
		if (tide_altered_is_lost(watch, rel, i))
			return false;
		att = TupleDescAttr(desc, source->columns[i] - 1);
		if (strcmp(source->column_names[i], NameStr(att->attname)) != 0 ||
			att->attcollation != TupleDescAttr(watch->shadow->desc,
											   i + TIDE_SHADOW_FIXED)->attcollation)
			return false;
	}
	for (int i = 0; watch->uses_all && i < desc->natts; i++)
		n += tide_source_keeps(TupleDescAttr(desc, i));
	return !watch->uses_all || n == source->ncolumns - watch->shadow->nown;
}

/* whether some column of the expression is gone or of another type */
static bool
lacks_column(Node *node, void *context)
{
	TupleDesc	desc = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		return var->varattno > 0 &&
			(var->varattno > desc->natts ||
			 TupleDescAttr(desc, var->varattno - 1)->attisdropped ||
			 TupleDescAttr(desc, var->varattno - 1)->atttypid != var->vartype);
	}
	return expression_tree_walker(node, lacks_column, context);
}

bool
tide_altered_fits_shape(const TideShape *shape, Relation rel)
{
	const TideShapeNode *root = linitial(shape->nodes);
	TupleDesc	desc = RelationGetDescr(rel);
	int			stored = 0;
	ListCell   *lc;

	for (int i = 0; i < root->ncolumns; i++)
	{
		if (TIDE_ATTNUM_IS_OWN(root->columns[i]))
			stored++;
		else if (root->columns[i] > desc->natts ||
				 (root->columns[i] > 0 &&
				  TupleDescAttr(desc, root->columns[i] - 1)->attisdropped))
			return false;
	}
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		stored += !att->attisdropped && TIDE_ATT_IS_STORED(att);
	}
	if (shape->shows_all && root->ncolumns != stored)
		return false;
	foreach(lc, root->key_parts)
	{
		if (lacks_column(((TideKeyPart *) lfirst(lc))->expr, desc))
			return false;
	}
	return !lacks_column(root->filter, desc);
}

bool
tide_altered_has_key(const TideSource *source)
{
	Relation	rel = RelationIdGetRelation(source->relid);
	bool		result;

	if (!RelationIsValid(rel))
		return false;
	result = tide_route_is_same(source, rel);
	for (int i = 0; result && i < source->nkeys; i++)
	{
		Form_pg_attribute att;

		if (TIDE_ATTNUM_IS_OWN(source->keys[i]))
			continue;
		att = TupleDescAttr(RelationGetDescr(rel), source->keys[i] - 1);
		for (int c = 0; c < source->ncolumns; c++)
			if (source->columns[c] == source->keys[i])
				result &= source->column_types[c] == att->atttypid;
	}
	RelationClose(rel);
	return result;
}

bool
tide_altered_lost_type(const TideWatch *watch)
{
	const TideSource *source = watch->shadow->source;

	for (int i = 0; i < source->ncolumns; i++)
	{
		if (!SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(source->column_types[i])))
			return true;
	}
	return false;
}

char *
tide_altered_table_name(Oid relid)
{
	char	   *name = get_rel_name(relid);
	char	   *schema = name ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	return schema ? quote_qualified_identifier(schema, name) : NULL;
}

static Oid
file_of(Oid relid)
{
	Relation	rel = RelationIdGetRelation(relid);
	Oid			file;

	if (!RelationIsValid(rel))
		return InvalidOid;
	file = rel->rd_rel->relfilenode;
	RelationClose(rel);
	return file;
}

/* anybody may write the message, but only who may alter the table gives it another file */
void
tide_altered_note_rewrite(TideWatch *watch, Oid relid)
{
	watch->rewrite_relid = relid;
	watch->rewrite_from = file_of(relid);
}

bool
tide_altered_is_open(const TideWatch *watch)
{
	Oid			relid = watch->shadow->source->relid;
	ListCell   *lc;

	foreach(lc, watch->evals)
	{
		if (check_enable_rls(relid, ((TideNodeEval *) lfirst(lc))->shape->owner, true) ==
			RLS_ENABLED)
			return false;
	}
	foreach(lc, watch->joined)
	{
		if (check_enable_rls(relid, ((TideJoined *) lfirst(lc))->shape->owner, true) ==
			RLS_ENABLED)
			return false;
	}
	return true;
}

TideLabelsDiffer
tide_altered_labels(const TideWatch *watch, List **labels)
{
	const TideSource *source = watch->shadow->source;
	List	   *used = NIL;

	*labels = NIL;
	for (int i = 0; i < source->ncolumns; i++)
	{
		*labels = tide_type_labels(*labels, source->column_types[i]);
		if (watch->used[i])
			used = tide_type_labels(used, source->column_types[i]);
	}
	if (tide_labels_compare(source->labels, used) == TIDE_LABELS_RENAMED)
		return TIDE_LABELS_RENAMED;
	return tide_labels_compare(source->labels, *labels) == TIDE_LABELS_SAME ?
		TIDE_LABELS_SAME : TIDE_LABELS_ADDED;
}

bool
tide_altered_still_serves(const TideWatch *watch)
{
	const TideSource *source = watch->shadow->source;
	Relation	rel = RelationIdGetRelation(source->relid);
	char	   *name;
	bool		result;

	if (!RelationIsValid(rel))
		return false;
	name = tide_altered_table_name(source->relid);
	result = name != NULL && source->table_name != NULL &&
		strcmp(name, source->table_name) == 0 &&
		(!OidIsValid(watch->rewrite_from) ||
		 watch->rewrite_from == file_of(watch->rewrite_relid)) &&
		tide_route_is_same(source, rel) && tide_altered_fits(watch, rel);

	result = result && tide_altered_is_open(watch);

	/*
	 * the shadow does not keep a type from being dropped, nor a column of one
	 * that may be
	 */
	for (int i = 0; result && i < source->ncolumns; i++)
		result = source->column_types[i] < FirstNormalObjectId ||
			!tide_altered_is_lost(watch, rel, i);
	RelationClose(rel);
	return result;
}
