/*
 * join.c
 *	  How an include hangs from its parent, if it does not say: by the one foreign key between
 *	  the two tables, whichever of them has it.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "shape/join.h"

/* a foreign key, seen from the include */
typedef struct Candidate
{
	ForeignKeyCacheInfo *key;
	bool		of_child;		/* the child's table has the constraint */
} Candidate;

/* foreign keys of one table that refer to the other */
static List *
candidates_of(Relation rel, Relation referenced, bool of_child, List *candidates)
{
	ListCell   *lc;

	foreach(lc, RelationGetFKeyList(rel))
	{
		ForeignKeyCacheInfo *key = lfirst(lc);
		Candidate  *candidate;

		if (key->confrelid != RelationGetRelid(referenced))
			continue;
		candidate = palloc(sizeof(Candidate));
		candidate->key = copyObject(key);
		candidate->of_child = of_child;
		candidates = lappend(candidates, candidate);
	}
	return candidates;
}

static const char *
row_name(const TideExprRow *row)
{
	if (row->is_parent && row->no_table_name)
		return "parent";
	return quote_identifier(RelationGetRelationName(row->rel));
}

/* comments.author_id = users.id [AND ...] */
static char *
candidate_text(const Candidate *candidate, const TideExprRow *parent, const TideExprRow *child)
{
	const TideExprRow *referrer = candidate->of_child ? child : parent;
	const TideExprRow *referenced = candidate->of_child ? parent : child;
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < candidate->key->nkeys; i++)
		appendStringInfo(&text, "%s%s.%s = %s.%s", i > 0 ? " AND " : "",
						 row_name(referrer),
						 quote_identifier(get_attname(candidate->key->conrelid,
													  candidate->key->conkey[i], false)),
						 row_name(referenced),
						 quote_identifier(get_attname(candidate->key->confrelid,
													  candidate->key->confkey[i], false)));
	return text.data;
}

static char *
candidates_text(List *candidates, const TideExprRow *parent, const TideExprRow *child)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, candidates)
	{
		Candidate  *candidate = lfirst(lc);

		appendStringInfo(&text, "%s\"%s\" by \"%s\"", foreach_current_index(lc) > 0 ? ", " : "",
						 candidate_text(candidate, parent, child),
						 get_constraint_name(candidate->key->conoid));
	}
	return text.data;
}

static Var *
column_var(Relation rel, int varno, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

	return makeVar(varno, attnum, att->atttypid, att->atttypmod, att->attcollation, 0);
}

/* a column as an operator wants it: seen as another type of the same values, or cast implicitly */
static Expr *
as_operand(Var *column, Oid type)
{
	Oid			wanted = IsPolymorphicType(type) ? InvalidOid : type;

	return (Expr *) (OidIsValid(wanted) && column->vartype != wanted ?
					 coerce_to_target_type(NULL, (Node *) column, column->vartype, wanted, -1,
										   COERCION_IMPLICIT, COERCE_IMPLICIT_CAST, -1) :
					 (Node *) column);
}

/* the operator of a foreign key compares referenced with referring values */
static Node *
key_condition(const Candidate *candidate, const TideExprRow *parent, const TideExprRow *child,
			  Bitmapset **columns)
{
	const TideExprRow *rows[] = {parent, child};
	int			referrer = candidate->of_child ? 1 : 0;
	int			referenced = 1 - referrer;
	List	   *conditions = NIL;

	for (int i = 0; i < candidate->key->nkeys; i++)
	{
		AttrNumber	attnum[2];
		Var		   *left;
		Var		   *right;
		Expr	   *condition;
		Oid			operator = candidate->key->conpfeqop[i];
		Oid			left_type;
		Oid			right_type;

		attnum[referrer] = candidate->key->conkey[i];
		attnum[referenced] = candidate->key->confkey[i];
		left = column_var(rows[referenced]->rel, referenced + 1, attnum[referenced]);
		right = column_var(rows[referrer]->rel, referrer + 1, attnum[referrer]);
		op_input_types(operator, &left_type, &right_type);
		condition = make_opclause(operator, BOOLOID, false,
								  as_operand(left, left_type),
								  as_operand(right, right_type),
								  InvalidOid, left->varcollid);
		((OpExpr *) condition)->opfuncid = get_opcode(operator);
		conditions = lappend(conditions, condition);
		for (int row = 0; row < 2; row++)
			columns[row] = bms_add_member(columns[row], attnum[row] -
										  FirstLowInvalidHeapAttributeNumber);
	}
	return (Node *) make_ands_explicit(conditions);
}

Node *
tide_join_by_foreign_key(const TideExprRow *parent, const TideExprRow *child, Bitmapset **columns)
{
	List	   *candidates;

	candidates = candidates_of(child->rel, parent->rel, true, NIL);
	candidates = candidates_of(parent->rel, child->rel, false, candidates);
	if (candidates == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("no foreign key joins \"%s\" to \"%s\"",
						RelationGetRelationName(child->rel),
						RelationGetRelationName(parent->rel)),
				 errhint("Give the include an \"on\", a condition over both tables.")));
	if (list_length(candidates) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("more than one foreign key joins \"%s\" to \"%s\"",
						RelationGetRelationName(child->rel),
						RelationGetRelationName(parent->rel)),
				 errdetail("Candidates are %s.", candidates_text(candidates, parent, child)),
				 errhint("Give the include one of them as \"on\".")));
	return key_condition(linitial(candidates), parent, child, columns);
}
