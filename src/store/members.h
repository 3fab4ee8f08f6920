/*
 * members.h
 *	  The column _members of a shadow row: a packed array of (bucket, op_id of
 *	  the row's newest entry there, hash, count), 24 bytes each in native byte order.
 *
 * The bytea has a 1-byte or 4-byte header and no alignment: everything goes
 * through memcpy. Callers pass a detoasted (PG_DETOAST_DATUM_PACKED) value.
 * Order means nothing; a bucket occurs at most once.
 */
#ifndef TIDE_MEMBERS_H
#define TIDE_MEMBERS_H

#include "fmgr.h"

#include "util/compat.h"

#define TIDE_MEMBER_SIZE	24

typedef struct TideMember
{
	int64		bucket_id;
	int64		op_id;
	uint32		hash;
	uint32		count;			/* parent rows that bring it there; of a root
								 * 1 */
} TideMember;

static inline int
tide_members_count(const struct varlena *members)
{
	return VARSIZE_ANY_EXHDR(members) / TIDE_MEMBER_SIZE;
}

static inline TideMember
tide_members_get(const struct varlena *members, int i)
{
	const char *p = VARDATA_ANY(members) + (Size) i * TIDE_MEMBER_SIZE;
	TideMember	member;

	memcpy(&member.bucket_id, p, 8);
	memcpy(&member.op_id, p + 8, 8);
	memcpy(&member.hash, p + 16, 4);
	memcpy(&member.count, p + 20, 4);
	return member;
}

/* write the i-th member of an array whose data starts at p */
static inline void
tide_members_put(char *data, int i, const TideMember *member)
{
	char	   *p = data + (Size) i * TIDE_MEMBER_SIZE;

	memcpy(p, &member->bucket_id, 8);
	memcpy(p + 8, &member->op_id, 8);
	memcpy(p + 16, &member->hash, 4);
	memcpy(p + 20, &member->count, 4);
}

/* index of the bucket's member, or -1 */
static inline int
tide_members_find(const struct varlena *members, int64 bucket_id)
{
	int			n = tide_members_count(members);
	const char *p = VARDATA_ANY(members);

	for (int i = 0; i < n; i++, p += TIDE_MEMBER_SIZE)
	{
		int64		b;

		memcpy(&b, p, 8);
		if (b == bucket_id)
			return i;
	}
	return -1;
}

#endif							/* TIDE_MEMBERS_H */
