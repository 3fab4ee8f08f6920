/*
 * mutation_log.h
 *	  The client's row and what became of its mutations.
 *
 * All functions run SQL with the extension owner's rights, within an owner's SPI
 * frame the caller has opened.
 */
#ifndef TIDE_PUSH_MUTATION_LOG_H
#define TIDE_PUSH_MUTATION_LOG_H

#include "push/request.h"

typedef enum TidePushStatus
{
	TIDE_PUSH_APPLIED,
	TIDE_PUSH_MERGED,
	TIDE_PUSH_CONFLICT,			/* the policy kept the server's values */
	TIDE_PUSH_REJECTED
} TidePushStatus;

/* what became of a mutation; all pointers live as long as the push */
typedef struct TideOutcome
{
	TidePushStatus status;
	const char *code;			/* SQLSTATE of a rejection, else NULL */
	const char *message;		/* of a rejection, else NULL */
	Jsonb	   *result;			/* further members of the answer, or NULL */
	Oid			relid;			/* table meant, or InvalidOid */
	const char *table_name;		/* its name, else as sent; NULL for call */
} TideOutcome;

extern const char *tide_push_status_name(TidePushStatus status);

/*
 * Lock the client's row against other pushes of the same client until the
 * transaction ends, making it if create. Returns its last mutation id; 0 if there is no
 * row. ERROR 28000 if the client belongs to another session user or subject.
 */
extern int64 tide_client_lock(const pg_uuid_t *client, const char *subject, bool create);

/* store the client's last mutation id */
extern void tide_client_advance(const pg_uuid_t *client, int64 last_mutation_id);

/*
 * The logged outcome of a mutation, in context. One that is not in the log
 * any more counts as applied.
 */
extern void tide_mutation_log_read(const pg_uuid_t *client, int64 id,
								   MemoryContext context, TideOutcome *outcome);
extern void tide_mutation_log_write(const pg_uuid_t *client, const TideMutation *mutation,
									const TideOutcome *outcome);

#endif							/* TIDE_PUSH_MUTATION_LOG_H */
