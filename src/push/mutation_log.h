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

/* what is known of a client */
typedef struct TideClient
{
	int64		last_mutation_id;
	int64		last_tx;		/* group of that mutation, or 0 */
	int64		rejected_seen;	/* it knows of rejections up to this id */
	bool		expired;
} TideClient;

/*
 * Lock the client's row against other pushes of the same client until the
 * transaction ends, making it if create; result is zeroes if there is no row. ERROR 28000
 * if the client belongs to another session user or subject.
 */
extern void tide_client_lock(const pg_uuid_t *client, const char *subject, bool create,
							 TideClient *result);

/*
 * Whether mutations of the client may have been lost with another server: it has not pushed
 * since the present epoch began, which is not the database's first.
 */
extern bool tide_client_may_have_lost(const pg_uuid_t *client);

/* store the client's last mutation id, its group, and what the client says it knows */
extern void tide_client_advance(const pg_uuid_t *client, int64 last_mutation_id,
								int64 last_tx, int64 rejected_seen);

/*
 * The logged outcome of a mutation, in context. One that is not in the log
 * any more counts as applied.
 */
extern void tide_mutation_log_read(const pg_uuid_t *client, int64 id,
								   MemoryContext context, TideOutcome *outcome);

/* log n mutations of a request with their outcomes, by their indexes in it */
extern void tide_mutation_log_write(const TidePushRequest *request,
									const TideOutcome *outcomes,
									const int *indexes, int n);

#endif							/* TIDE_PUSH_MUTATION_LOG_H */
