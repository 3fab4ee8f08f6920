/*
 * registered.c
 *	  The registered claims of a token.
 *
 * A claim of the wrong type is refused, never ignored. "aud" is checked in both directions: a token that is
 * addressed is not for a server that has no address (RFC 7519, 4.1.3), and one without address is
 * not for a server that has.
 */
#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "auth/claims.h"
#include "auth/registered.h"
#include "auth/strict_json.h"
#include "util/guc.h"

/* end of year 9999; what is beyond it was not meant as seconds */
#define MAX_NUMERIC_DATE	253402300799.0

/* seconds since 1970 of a claim; false if it is absent */
static bool
numeric_date(Jsonb *claims, const char *name, double *seconds)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&claims->root, name, strlen(name), NULL);

	if (value == NULL)
		return false;
	if (value->type != jbvNumeric)
		tide_auth_refuse(psprintf("The token's \"%s\" is not a number.", name));
	*seconds = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												  NumericGetDatum(value->val.numeric)));
	if (isnan(*seconds) || *seconds < 0 || *seconds > MAX_NUMERIC_DATE)
		tide_auth_refuse(psprintf("The token's \"%s\" is no time in seconds.", name));
	return true;
}

static void
check_times(Jsonb *claims, TimestampTz now)
{
	double		at = (double) now / USECS_PER_SEC +
	(double) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	double		claim;

	if (numeric_date(claims, "exp", &claim))
	{
		if (at >= claim + tide_jwt_leeway)
			tide_auth_refuse("The token has expired.");
	}
	else if (tide_jwt_require_exp)
		tide_auth_refuse("The token has no \"exp\".");
	if (numeric_date(claims, "nbf", &claim) && at < claim - tide_jwt_leeway)
		tide_auth_refuse("The token is not valid yet.");
	if (numeric_date(claims, "iat", &claim) && at < claim - tide_jwt_leeway)
		tide_auth_refuse("The token was issued in the future.");
}

/* elements of a setting's list; its check hook has seen to the syntax */
static List *
setting_list(const char *setting)
{
	List	   *list = NIL;

	if (!SplitGUCList(pstrdup(setting), ',', &list))
		elog(ERROR, "invalid list in a setting");
	return list;
}

static bool
is_listed(const JsonbValue *value, const List *list)
{
	char	   *text = tide_json_string_value(value);
	ListCell   *lc;

	if (text == NULL)
		return false;
	foreach(lc, list)
	{
		if (strcmp(text, lfirst(lc)) == 0)
			return true;
	}
	return false;
}

static void
check_issuer(Jsonb *claims)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&claims->root, "iss", 3, NULL);
	List	   *list = setting_list(tide_jwt_issuer);

	if (value != NULL && value->type != jbvString)
		tide_auth_refuse("The token's \"iss\" is not a string.");
	if (list != NIL && !is_listed(value, list))
		tide_auth_refuse("The token's \"iss\" is none of tide.jwt_issuer.");
}

/* whether one of the audiences is ours; all of them must be strings */
static bool
is_for_us(JsonbValue *audience, const List *list)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	element;
	bool		found = false;

	if (audience->type == jbvString)
		return is_listed(audience, list);
	if (audience->type != jbvBinary || !JsonContainerIsArray(audience->val.binary.data))
		tide_auth_refuse("The token's \"aud\" is neither string nor array.");
	it = JsonbIteratorInit(audience->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (element.type != jbvString)
			tide_auth_refuse("The token's \"aud\" has an element that is not a string.");
		found |= is_listed(&element, list);
	}
	return found;
}

static void
check_audience(Jsonb *claims)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&claims->root, "aud", 3, NULL);
	List	   *list = setting_list(tide_jwt_audience);

	if (value == NULL && list != NIL)
		tide_auth_refuse("The token has no \"aud\".");
	if (value != NULL && !is_for_us(value, list))
		tide_auth_refuse("The token's \"aud\" is none of tide.jwt_audience.");
}

static void
check_subject(Jsonb *claims)
{
	JsonbValue *value = tide_json_member(claims, "sub");

	if (value != NULL && value->type != jbvString && value->type != jbvNumeric)
		tide_auth_refuse("The token's \"sub\" is neither string nor number.");
}

void
tide_registered_check(Jsonb *claims, TimestampTz now)
{
	check_times(claims, now);
	check_issuer(claims);
	check_audience(claims);
	check_subject(claims);
}
