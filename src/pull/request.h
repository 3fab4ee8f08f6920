/*
 * request.h
 *	  A pull request, checked and taken apart.
 */
#ifndef TIDE_PULL_REQUEST_H
#define TIDE_PULL_REQUEST_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define TIDE_PULL_DEFAULT_LIMIT	1000
#define TIDE_PULL_MAX_LIMIT		100000

/* one member of "shapes" */
typedef struct TideAskedShape
{
	char	   *name;
	List	   *params;			/* of Jsonb objects */
} TideAskedShape;

typedef struct TidePullRequest
{
	bool		has_client;
	pg_uuid_t	client;
	List	   *shapes;			/* of TideAskedShape */
	Jsonb	   *cookie;			/* whatever was sent, or NULL */
	int			limit;
	int			nresync;
	int64	   *resync;			/* bucket ids */
} TidePullRequest;

/*
 * Check everything that can be checked without looking at the database.
 * ERROR 22023 naming the field. Result in the current context.
 */
extern TidePullRequest *tide_pull_request_parse(Jsonb *request);

/* text that uuid_in() takes, so that it needs no error of its own */
extern bool tide_looks_like_uuid(const char *text);

#endif							/* TIDE_PULL_REQUEST_H */
