/*
 * claims.c
 *	  Whose claims a request carries.
 *
 * Claims are what somebody has proved about the user behind a request: the issuer of
 * its token (token.c), or the session itself: a backend that has authenticated its
 * users sends their claims with each request, and its role is listed in
 * tide_internal.trusted_roles.
 *
 * "The session" is the session user, who logged in (or whom a superuser became
 * by SET SESSION AUTHORIZATION), not the current user: SET ROLE is how such a
 * backend steps down to a user's role and must not take its standing away, and
 * a SECURITY DEFINER function must not lend its owner's standing to whoever
 * calls it. Membership counts where it gives the rights of the role, as with
 * any privilege, so a group can be trusted; NOINHERIT members are not trusted.
 *
 * Every refusal has the same SQLSTATE and message; the cause is in
 * the server log only.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "auth/claims.h"
#include "auth/token.h"
#include "util/errors.h"
#include "util/meta_table.h"

static bool request_member(Jsonb *request, const char *name, JsonbValue *value);
static Jsonb *token_claims(const JsonbValue *token);
static Jsonb *empty_object(void);
static bool session_is_trusted(Oid session);
static Oid	database_owner(void);
static bool has_trusted_role(Oid session);

/*
 * The claims of a request; see claims.h. A null "token" or "claims" counts as
 * absent. ERROR 22023 if the request or its claims are not objects. The
 * result is in the current context.
 */
Jsonb *
tide_request_claims(Jsonb *request)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(request))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("request must be a JSON object")));

	if (tide_request_has_token(request) && tide_request_has_claims(request))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("fields \"token\" and \"claims\" of the request exclude each other"),
				 errhidestmt(true)));
	if (request_member(request, "token", &value))
		return token_claims(&value);

	if (!request_member(request, "claims", &value))
		return empty_object();

	if (!session_is_trusted(GetSessionUserId()))
		tide_auth_refuse("The session's role may not send claims.");

	if (value.type != jbvBinary ||
		!JsonContainerIsObject(value.val.binary.data))
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request must be a JSON object",
						"claims")));

	return JsonbValueToJsonb(&value);
}

/* whether a request carries claims, be they empty */
bool
tide_request_has_claims(Jsonb *request)
{
	JsonbValue	value;

	return request_member(request, "claims", &value);
}

bool
tide_request_has_token(Jsonb *request)
{
	JsonbValue	value;

	return request_member(request, "token", &value);
}

/*
 * Refuse a request; cause, a sentence, goes to the server log and never to the client. The log
 * gets neither statement nor context, which may hold the token.
 */
void
tide_auth_refuse(const char *cause)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_AUTH),
			 errmsg("could not authenticate the request"),
			 errdetail_log("%s", cause),
			 errhidestmt(true),
			 errhidecontext(true)));
}

static void
hide_statement(void *arg)
{
	errhidestmt(true);
}

static void
hide_nothing(void *arg)
{
}

void
tide_hide_token_begin(ErrorContextCallback *callback, Jsonb *request)
{
	callback->callback = JB_ROOT_IS_OBJECT(request) && tide_request_has_token(request) ?
		hide_statement : hide_nothing;
	callback->arg = NULL;
	callback->previous = error_context_stack;
	error_context_stack = callback;
}

void
tide_hide_token_end(ErrorContextCallback *callback)
{
	error_context_stack = callback->previous;
}

/*
 * Claim "sub" as text, in the current context; NULL if absent, null or neither
 * string nor number.
 */
char *
tide_claims_subject(Jsonb *claims)
{
	JsonbValue	value;

	if (!request_member(claims, "sub", &value))
		return NULL;
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	if (value.type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(value.val.numeric)));
	return NULL;
}

/* member of a JSON object; false if it is absent or null */
static bool
request_member(Jsonb *request, const char *name, JsonbValue *value)
{
	if (getKeyJsonValueFromContainer(&request->root, name, strlen(name),
									 value) == NULL)
		return false;
	return value->type != jbvNull;
}

static Jsonb *
token_claims(const JsonbValue *token)
{
	if (token->type != jbvString)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("field \"%s\" of the request must be a string", "token"),
				 errhidestmt(true)));
	return tide_token_claims(token->val.string.val, token->val.string.len,
							 GetCurrentTimestamp());
}

static Jsonb *
empty_object(void)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* superuser, database owner, or with the rights of a trusted role */
static bool
session_is_trusted(Oid session)
{
	return superuser_arg(session) ||
		has_privs_of_role(session, database_owner()) ||
		has_trusted_role(session);
}

static Oid
database_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID,
										ObjectIdGetDatum(MyDatabaseId));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for database %u", MyDatabaseId);
	owner = ((Form_pg_database) GETSTRUCT(tuple))->datdba;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * Scans the table directly: the caller has no rights on it, and what counts is
 * what is committed now (a role no longer trusted is out at once, also
 * in a REPEATABLE READ transaction), which is what a catalog snapshot sees.
 * Roles dropped while trusted are nobody's role, so their rows do no harm.
 */
static bool
has_trusted_role(Oid session)
{
	Relation	rel = tide_meta_open("trusted_roles", AccessShareLock);
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		role = heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull);

		found = !isnull && has_privs_of_role(session, DatumGetObjectId(role));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}
