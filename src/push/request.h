/*
 * request.h
 *	  A push request, checked and taken apart.
 */
#ifndef TIDE_PUSH_REQUEST_H
#define TIDE_PUSH_REQUEST_H

#include "access/xlogdefs.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef enum TidePushOp
{
	TIDE_PUSH_INSERT,
	TIDE_PUSH_UPDATE,
	TIDE_PUSH_DELETE,
	TIDE_PUSH_CALL
} TidePushOp;

typedef struct TideMutation
{
	int64		id;
	TidePushOp	op;
	char	   *table;			/* as sent; NULL for call */
	Jsonb	   *key;			/* object; NULL for call */
	Jsonb	   *values;			/* object; NULL if none were sent */
	Jsonb	   *base;			/* object: what the client wrote over, or NULL */
	char	   *hlc;			/* clock of the write as sent, or NULL */
	Jsonb	   *vclock;			/* object of clients' counters, or NULL */
	XLogRecPtr	seen;			/* checkpoint the client had, or
								 * InvalidXLogRecPtr */
	int64		tx;				/* group, or 0 */
	char	   *call;			/* mutator's name, or NULL */
	Jsonb	   *args;			/* object; NULL if none were sent */
	Jsonb	   *signature;		/* object, or NULL */
	Jsonb	   *sent;			/* all of it as sent; only if there is a
								 * signature */
} TideMutation;

typedef struct TidePushRequest
{
	pg_uuid_t	client;
	bool		atomic;
	int64		rejected_seen;	/* the client knows of rejections up to this
								 * id */
	int			nmutations;
	TideMutation *mutations;
} TidePushRequest;

/* name of an operation, as in requests and in the mutation log */
extern const char *tide_push_op_name(TidePushOp op);

/*
 * Check everything that can be checked without looking at the database.
 * ERROR 22023 naming the field. Result in the current context.
 */
extern TidePushRequest *tide_push_request_parse(Jsonb *request);

#endif							/* TIDE_PUSH_REQUEST_H */
