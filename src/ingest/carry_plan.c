/*
 * carry_plan.c
 *	  Which entries a row gets when its table is carried over (carry.c).
 *
 * An old row's memberships are those of its _members, and those that shapes imply
 * which were built after the row was written: their entries are current because
 * they are newer than _op. A row goes on with both, and with new entries beside
 * them, as long as no entry newer than _op is superseded; else _op moves on and all that
 * was implied is written out. Where every row is sent again nothing is implied any more:
 * the old entries are not in the new change log.
 */
#include "postgres.h"

#include "utils/datum.h"

#include "ingest/carry_plan.h"
#include "store/members.h"

/* a bucket that held the row */
typedef struct OldMember
{
	TideMember	member;			/* op_id 0 if implied */
	CarryNode  *joined;			/* whose it is, or NULL: of a plain shape */
	bool		is_implied;		/* or it is in _members */
	bool		is_by_op;		/* its entry is current for being newer than
								 * _op */
	bool		goes_on;		/* the row is still in the bucket */
	bool		is_kept;		/* without a new entry */
} OldMember;

/* what becomes of a row in one node */
typedef enum Fate
{
	FATE_OUT,					/* not in a bucket of the node */
	FATE_KEPT,
	FATE_CHANGED,
	FATE_ENTERED
} Fate;

/* old: the membership it replaces, or NULL */
static int64
add_entry(Carry *carry, int row, TideBucket *bucket, char kind, uint32 hash,
		  const OldMember *old, Datum *columns)
{
	TideLogEntry *entry;

	if (carry->entries == NULL)
	{
		carry->max_entries = TIDE_MULTI_INSERT;
		carry->entries = palloc(sizeof(TideLogEntry) * carry->max_entries);
		carry->rows = palloc(sizeof(int) * carry->max_entries);
	}
	else if (carry->nentries == carry->max_entries)
	{
		carry->max_entries *= 2;
		carry->entries = repalloc(carry->entries, sizeof(TideLogEntry) * carry->max_entries);
		carry->rows = repalloc(carry->rows, sizeof(int) * carry->max_entries);
	}
	carry->rows[carry->nentries] = row;
	entry = &carry->entries[carry->nentries++];
	entry->bucket_id = bucket->bucket_id;
	entry->op_id = ++carry->in->checkpoint.op_id;
	entry->kind = kind;
	entry->hash = hash;
	ItemPointerSetInvalid(&entry->tid);
	entry->columns = columns;
	tide_bucket_count(carry->in->buckets, bucket,
					  kind == TIDE_LOG_ENTER ? 1 : kind == TIDE_LOG_LEAVE ? -1 : 0,
					  hash, old ? old->member.hash : 0, entry->op_id);
	return entry->op_id;
}

/* the node a bucket is of; NULL if its shape has failed, or is no more */
static CarryNode *
node_of(Carry *carry, int64 bucket_id)
{
	TideBucket *bucket = tide_bucket_by_id(carry->in->buckets, bucket_id);
	ListCell   *lc;

	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);

		if (bucket != NULL && node->is->shape->shape_id == bucket->shape_id &&
			node->is->node->node_id == bucket->node_id)
			return node;
	}
	return NULL;
}

/*
 * The buckets that held the row: those of _members, and those it implies for shapes built
 * since it was written.
 */
static int
old_members(Carry *carry, int row, OldMember **members)
{
	CarryRow   *old = &carry->olds[row];
	struct varlena *packed = NULL;
	int			n = 0;
	ListCell   *lc;

	if (old->values == NULL)
		return 0;
	if (!old->nulls[TIDE_SHADOW_MEMBERS - 1])
		packed = PG_DETOAST_DATUM_PACKED(old->values[TIDE_SHADOW_MEMBERS - 1]);
	*members = palloc0(sizeof(OldMember) * ((packed ? tide_members_count(packed) : 0) +
											list_length(carry->nodes) + 1));
	for (int i = 0; packed && i < tide_members_count(packed); i++)
	{
		OldMember  *explicit = &(*members)[n++];
		CarryNode  *node;

		explicit->member = tide_members_get(packed, i);
		node = node_of(carry, explicit->member.bucket_id);
		explicit->joined = node != NULL && node->is_joined ? node : NULL;
		explicit->is_by_op = explicit->member.op_id >
			DatumGetInt64(old->values[TIDE_SHADOW_OP - 1]) &&
			node != NULL && !node->resends; /* else its entry is gone */
	}
	foreach(lc, carry->nodes)
	{
		CarryNode  *node = lfirst(lc);
		OldMember  *implied = &(*members)[n];

		if (node->was_buckets[row] == NULL)
			continue;
		implied->is_implied = true;
		implied->is_by_op = !node->resends;
		implied->member.count = 1;
		implied->member.bucket_id = node->was_buckets[row]->bucket_id;
		implied->member.hash = tide_node_eval_hash(node->was, old->values, old->nulls, NULL);
		n++;
	}
	return n;
}

/* whether a column shown differs: its bits, or as JSON where its type is another now */
static bool
column_differs(Carry *carry, CarryNode *node, int row, int i)
{
	CarryRow   *old = &carry->olds[row];
	CarryRow   *new = &carry->news[row];
	int			w = node->was->positions[i] + TIDE_SHADOW_FIXED;
	int			n = node->is->positions[i] + TIDE_SHADOW_FIXED;
	Form_pg_attribute att = TupleDescAttr(carry->new->desc, n);
	StringInfoData was;
	StringInfoData is;
	bool		result;

	if (old->nulls[w] || new->nulls[n])
		return old->nulls[w] != new->nulls[n];
	if (TupleDescAttr(carry->old->desc, w)->atttypid == att->atttypid)
		return !datum_image_eq(old->values[w], new->values[n], att->attbyval, att->attlen);
	initStringInfo(&was);
	initStringInfo(&is);
	tide_row_writer_value(node->was_writer, &was, i, old->values[w], false);
	tide_row_writer_value(node->is_writer, &is, i, new->values[n], false);
	result = was.len != is.len || memcmp(was.data, is.data, is.len) != 0;
	pfree(was.data);
	pfree(is.data);
	return result;
}

static bool
shows_change(Carry *carry, CarryNode *node, int row)
{
	for (int i = 0; i < node->is->ncolumns; i++)
		if (column_differs(carry, node, row, i))
			return true;
	return false;
}

/* *was: the membership that goes on, or NULL */
static Fate
fate_in_node(Carry *carry, CarryNode *node, int row, OldMember *old, int nold,
			 OldMember **was)
{
	CarryRow   *new = &carry->news[row];

	*was = NULL;
	if (node->is_buckets[row] == NULL)
		return FATE_OUT;
	for (int i = 0; i < nold; i++)
		if (old[i].member.bucket_id == node->is_buckets[row]->bucket_id)
			*was = &old[i];
	if (*was == NULL)
		return FATE_ENTERED;
	if (node->resends || shows_change(carry, node, row))
		return FATE_CHANGED;

	/* what is implied must be so by the new form as well, hash included */
	if ((*was)->is_implied && (*was)->member.hash !=
		tide_node_eval_hash(node->is, new->values, new->nulls, NULL))
		return FATE_CHANGED;
	return FATE_KEPT;
}

/* columns of the new layout that hold the old row's key */
static Datum *
old_key(Carry *carry, int row)
{
	Datum	   *columns = palloc0(sizeof(Datum) * carry->new->ncolumns);

	for (int i = 0; i < carry->new->nkeys; i++)
		columns[carry->new->key_pos[i]] =
			carry->olds[row].values[carry->old->key_pos[i] + TIDE_SHADOW_FIXED];
	return columns;
}

/* whether old and new row have the same key bit for bit: else it is another to clients */
static bool
is_same_key(Carry *carry, int row)
{
	for (int i = 0; i < carry->new->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(carry->new->key_desc, i);

		if (!datum_image_eq(carry->olds[row].values[carry->old->key_pos[i] + TIDE_SHADOW_FIXED],
							carry->news[row].values[carry->new->key_pos[i] + TIDE_SHADOW_FIXED],
							att->attbyval, att->attlen))
			return false;
	}
	return true;
}

/* entries for the buckets the row is in no more */
static void
plan_leaves(Carry *carry, int row, OldMember *old, int nold)
{
	for (int i = 0; i < nold; i++)
	{
		TideBucket *bucket = old[i].goes_on ? NULL :
		tide_bucket_by_id(carry->in->buckets, old[i].member.bucket_id);

		if (bucket != NULL)
			(void) add_entry(carry, row, bucket, TIDE_LOG_LEAVE, 0, &old[i],
							 old_key(carry, row));
	}
}

/*
 * Decide on one row in all nodes. True if _op has to move on: an entry that is current
 * for being newer must no longer be so. Then what is implied gets an entry as well.
 */
static bool
decide(Carry *carry, int row, OldMember *old, int nold, Fate *fates, OldMember **was)
{
	bool		goes_on = carry->olds[row].values != NULL && is_same_key(carry, row);
	bool		moves = carry->olds[row].values == NULL;
	int			n = list_length(carry->nodes);

	for (int e = 0; e < n; e++)
	{
		fates[e] = fate_in_node(carry, list_nth(carry->nodes, e), row, old,
								goes_on ? nold : 0, &was[e]);
		if (was[e] != NULL)
			was[e]->goes_on = true;
		if (was[e] != NULL && fates[e] == FATE_KEPT)
			was[e]->is_kept = true;
	}
	for (int i = 0; i < nold; i++)
	{
		CarryNode  *node = goes_on ? old[i].joined : NULL;

		if (node != NULL)
		{
			old[i].goes_on = true;
			old[i].is_kept = !node->resends && !shows_change(carry, node, row);
		}
		moves |= old[i].is_by_op && !old[i].is_kept;
	}
	for (int e = 0; moves && e < n; e++)
		if (fates[e] == FATE_KEPT && was[e] != NULL && was[e]->is_implied)
			fates[e] = FATE_CHANGED;
	return moves;
}

/* memberships in trees that go on, with an entry if what they show has changed; how many */
static int
plan_joined(Carry *carry, int row, OldMember *old, int nold, bytea *packed)
{
	CarryRow   *after = &carry->news[row];
	int			n = 0;

	for (int i = 0; i < nold; i++)
	{
		TideMember	member = old[i].member;

		if (old[i].joined == NULL || !old[i].goes_on)
			continue;
		if (!old[i].is_kept)
		{
			member.hash = tide_node_eval_hash(old[i].joined->is, after->values, after->nulls,
											  NULL);
			member.op_id = add_entry(carry, row,
									 tide_bucket_by_id(carry->in->buckets, member.bucket_id),
									 TIDE_LOG_CHANGE, member.hash, &old[i],
									 after->values + TIDE_SHADOW_FIXED);
		}
		tide_members_put(VARDATA(packed), n++, &member);
	}
	return n;
}

void
tide_carry_plan_row(Carry *carry, int row)
{
	CarryRow   *after = &carry->news[row];
	int			n = list_length(carry->nodes);
	Fate	   *fates = palloc(sizeof(Fate) * (n + 1));
	OldMember **was = palloc0(sizeof(OldMember *) * (n + 1));
	OldMember  *old = NULL;
	int			nold = old_members(carry, row, &old);
	bytea	   *packed = palloc(VARHDRSZ + TIDE_MEMBER_SIZE * (n + nold + 1));
	int			nnew;
	bool		moves = decide(carry, row, old, nold, fates, was);

	plan_leaves(carry, row, old, nold);
	nnew = plan_joined(carry, row, old, nold, packed);
	for (int e = 0; e < n; e++)
	{
		CarryNode  *node = list_nth(carry->nodes, e);
		TideMember	member;

		if (fates[e] == FATE_OUT || (fates[e] == FATE_KEPT && was[e]->is_implied))
			continue;
		if (fates[e] == FATE_KEPT)
			member = was[e]->member;
		else
		{
			member.count = 1;
			member.bucket_id = node->is_buckets[row]->bucket_id;
			member.hash = tide_node_eval_hash(node->is, after->values, after->nulls, NULL);
			member.op_id = add_entry(carry, row, node->is_buckets[row],
									 was[e] ? TIDE_LOG_CHANGE : TIDE_LOG_ENTER,
									 member.hash, was[e],
									 after->values + TIDE_SHADOW_FIXED);
		}
		tide_members_put(VARDATA(packed), nnew++, &member);
	}
	SET_VARSIZE(packed, VARHDRSZ + TIDE_MEMBER_SIZE * nnew);
	after->values[TIDE_SHADOW_MEMBERS - 1] = PointerGetDatum(packed);
	after->nulls[TIDE_SHADOW_MEMBERS - 1] = nnew == 0;
	after->values[TIDE_SHADOW_OP - 1] = moves ? Int64GetDatum(carry->in->checkpoint.op_id) :
		carry->olds[row].values[TIDE_SHADOW_OP - 1];
}

void
tide_carry_plan_gone(Carry *carry, int row)
{
	OldMember  *old = NULL;
	int			nold = old_members(carry, row, &old);

	plan_leaves(carry, row, old, nold);
}
