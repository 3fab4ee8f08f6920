/*
 * session.c
 *	  What a session is while it pushes for somebody: his claims, his role.
 *
 * Sessions are shared by many users (poolers in transaction mode), so nothing of one
 * may be left for the next, and no code of the app may change whom it works for:
 *
 * - The claims are the value of a setting that nobody can set, tide.request_claims. That is for the
 *	 machinery of settings: it puts values back at the end of a nest level and at the abort of any
 *	 subtransaction. Policies that ask tide.claim() cannot be deceived by SET, as
 *	 those can that read request.jwt.claims in sessions of clients.
 * - request.jwt.claims is for policies that exist. Anybody can set it, also a trigger in the midst of a
 *	 push, and a SET in there would outlive the nest level: so it is put back by hand, if need be.
 * - A role is assumed as by a SECURITY DEFINER function: while that lasts, SET ROLE and SET SESSION
 *	 AUTHORIZATION are errors, so no trigger gets back to the session's own rights.
 * - Nothing of it may run later, at commit, when the session's own rights are back: triggers that were deferred
 *	 run before, and cursors WITH HOLD, whose queries would, cannot be made.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "auth/claims.h"
#include "auth/session.h"
#include "auth/strict_json.h"
#include "util/compat.h"
#include "util/guc.h"

#define CLAIMS_SETTING		"request.jwt.claims"
#define OWN_CLAIMS_SETTING	"tide.request_claims"

/* the setting, empty outside of a push; the same as jsonb, once it was asked for */
static char *request_claims = NULL;
static Jsonb *current_claims = NULL;

static ProcessUtility_hook_type next_utility_hook = NULL;

static void assign_request_claims(const char *value, void *extra);
static void set_claims(const char *name, const char *value, GucContext context);
static Oid	token_role(Jsonb *claims);
static void assume_role(TideSession *session, Oid role);
static void run_deferred(void);
static void make_immediate(void);
static void restore_claims(const char *before);
static void refuse_held(PlannedStmt *planned, const char *query, bool read_only_tree,
						ProcessUtilityContext context, ParamListInfo params,
						QueryEnvironment * environment, DestReceiver * dest,
						QueryCompletion * completion);

void
tide_session_init(void)
{
	DefineCustomStringVariable(OWN_CLAIMS_SETTING,
							   "Shows the claims of the request that is being pushed.", NULL,
							   &request_claims, "", PGC_INTERNAL,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
							   NULL, assign_request_claims, NULL);
	next_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = refuse_held;
}

/* no cursor WITH HOLD under an assumed role: it would be run at commit, as the session's user */
static void
refuse_held(PlannedStmt *planned, const char *query, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment * environment, DestReceiver * dest,
			QueryCompletion * completion)
{
	Node	   *statement = planned->utilityStmt;

	if (IsA(statement, DeclareCursorStmt) && InLocalUserIdChange() &&
		request_claims != NULL && request_claims[0] != '\0' &&
		(((DeclareCursorStmt *) statement)->options & CURSOR_OPT_HOLD) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot create a cursor WITH HOLD in a push under a token's role")));
	(next_utility_hook ? next_utility_hook : standard_ProcessUtility)
		(planned, query, read_only_tree, context, params, environment, dest, completion);
}

static void
assign_request_claims(const char *value, void *extra)
{
	if (current_claims != NULL)
		pfree(current_claims);
	current_claims = NULL;
}

void
tide_session_begin(TideSession *session, Jsonb *request, Jsonb *claims)
{
	char	   *text = JsonbToCString(NULL, &claims->root, VARSIZE(claims));
	const char *before = GetConfigOption(CLAIMS_SETTING, true, false);

	memset(session, 0, sizeof(*session));
	GetUserIdAndSecContext(&session->save_user, &session->save_sec_context);
	session->claims_before = before ? pstrdup(before) : NULL;
	session->nest_level = NewGUCNestLevel();
	set_claims(OWN_CLAIMS_SETTING, text, PGC_INTERNAL);

	/* without any the setting is left alone: API gateways set it themselves */
	if (tide_request_has_token(request) || tide_request_has_claims(request))
		set_claims(CLAIMS_SETTING, text, PGC_USERSET);
	if (tide_request_has_token(request))
	{
		Oid			role = token_role(claims);

		if (OidIsValid(role))
			assume_role(session, role);
	}
}

static void
set_claims(const char *name, const char *value, GucContext context)
{
	(void) set_config_option(name, value, context, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* the role a token names; InvalidOid if it names none */
static Oid
token_role(Jsonb *claims)
{
	JsonbValue *value;
	char	   *name;
	Oid			role;

	if (tide_jwt_role_claim[0] == '\0')
		return InvalidOid;
	value = tide_json_member(claims, tide_jwt_role_claim);
	if (value == NULL)
		return InvalidOid;
	name = tide_json_string_value(value);
	if (name == NULL)
		tide_auth_refuse("The token's role is not a string.");
	role = strlen(name) < NAMEDATALEN ? get_role_oid(name, true) : InvalidOid;
	if (!OidIsValid(role))
		tide_auth_refuse("The token's role does not exist.");
	return role;
}

/*
 * As SET ROLE has it, the session user must be a member. Where a SECURITY DEFINER function
 * calls, its owner must be as well: he could not SET ROLE at all.
 */
static void
assume_role(TideSession *session, Oid role)
{
	if (!tide_can_set_role_compat(GetSessionUserId(), role))
		tide_auth_refuse("The session's role is not a member of the token's role.");
	if (InLocalUserIdChange() && !tide_can_set_role_compat(session->save_user, role))
		tide_auth_refuse("The current user is not a member of the token's role.");
	session->has_role = true;
	SetUserIdAndSecContext(role, session->save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

void
tide_session_end(TideSession *session)
{
	if (session->has_role)
		run_deferred();
	AtEOXact_GUC(true, session->nest_level);
	restore_claims(session->claims_before);
	SetUserIdAndSecContext(session->save_user, session->save_sec_context);
}

/*
 * Whatever the database had at the push's begin: the push may have made such triggers itself. A trigger that
 * defers others again has not run them: the second time that is an error.
 */
static void
run_deferred(void)
{
	Oid			role;
	int			sec_context;

	make_immediate();
	GetUserIdAndSecContext(&role, &sec_context);
	SetUserIdAndSecContext(role, sec_context | SECURITY_RESTRICTED_OPERATION);
	make_immediate();
	SetUserIdAndSecContext(role, sec_context);
}

/* SET CONSTRAINTS ALL IMMEDIATE */
static void
make_immediate(void)
{
	ConstraintsSetStmt *stmt = makeNode(ConstraintsSetStmt);

	stmt->deferred = false;
	AfterTriggerSetState(stmt);
}

static void
restore_claims(const char *before)
{
	const char *now = GetConfigOption(CLAIMS_SETTING, true, false);

	if (strcmp(now ? now : "", before ? before : "") != 0)
		(void) set_config_option(CLAIMS_SETTING, before ? before : "", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SET, true, 0, false);
}

text *
tide_session_claim(const text * name)
{
	JsonbValue *value;

	if (request_claims == NULL || request_claims[0] == '\0')
		return NULL;
	if (current_claims == NULL)
	{
		Jsonb	   *claims = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																CStringGetDatum(request_claims)));

		current_claims = MemoryContextAlloc(TopMemoryContext, VARSIZE(claims));
		memcpy(current_claims, claims, VARSIZE(claims));
	}
	value = getKeyJsonValueFromContainer(&current_claims->root, VARDATA_ANY(name),
										 VARSIZE_ANY_EXHDR(name), NULL);
	if (value == NULL || value->type == jbvNull)
		return NULL;
	if (value->type == jbvString)
		return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
	return cstring_to_text(JsonbToCString(NULL, &JsonbValueToJsonb(value)->root, -1));
}
