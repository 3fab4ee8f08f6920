/*
 * jwt_key_read.c
 *	  A key as an administrator has it: raw, PEM or JWK (RFC 7517).
 *
 * PEM and JWK are told by their looks. A raw secret that is a JSON object by chance does not
 * happen to random bytes, and one that somebody has chosen to look so is not random.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "auth/jwt_key.h"
#include "auth/strict_json.h"
#include "crypto/base64url.h"
#include "util/errors.h"

#define MAX_KEY_BYTES	16384
#define MAX_JWK_DEPTH	4

typedef struct JwkKind
{
	const char *kty;
	const char *crv;			/* NULL: none */
} JwkKind;

static const JwkKind jwk_kinds[] = {
	[TIDE_JWS_HS256] = {"oct", NULL},
	[TIDE_JWS_EDDSA] = {"OKP", "Ed25519"},
	[TIDE_JWS_RS256] = {"RSA", NULL},
	[TIDE_JWS_ES256] = {"EC", "P-256"}
};

StaticAssertDecl(lengthof(jwk_kinds) == TIDE_JWS_NALGORITHMS, "one kind each");

static void
bad_key(const char *cause)
{
	ereport(ERROR,
			(errcode(TIDE_ERRCODE_BAD_REQUEST),
			 errmsg("cannot use the key"),
			 errdetail("%s", cause),
			 errhidestmt(true)));
}

/* a member that may be absent, but says what is expected if it is there */
static void
check_member(Jsonb *jwk, const char *name, const char *expected)
{
	JsonbValue *value = tide_json_member(jwk, name);
	char	   *text = tide_json_string_value(value);

	if (value != NULL && (text == NULL || strcmp(text, expected) != 0))
		bad_key(psprintf("Member \"%s\" of the JWK is not \"%s\".", name, expected));
}

static void
require_member(Jsonb *jwk, const char *name, const char *expected)
{
	if (tide_json_member(jwk, name) == NULL)
		bad_key(psprintf("The JWK has no member \"%s\".", name));
	check_member(jwk, name, expected);
}

/* bytes of a member; len > 0: so many */
static TideJwsBytes
member_bytes(Jsonb *jwk, const char *name, Size len)
{
	char	   *text = tide_json_string_value(tide_json_member(jwk, name));
	uint8	   *bytes = palloc(MAX_KEY_BYTES);
	Size		n = 0;

	if (text == NULL ||
		!tide_base64url_decode(text, strlen(text), bytes, MAX_KEY_BYTES, &n) ||
		(len > 0 && n != len))
		bad_key(psprintf("Member \"%s\" of the JWK is not what it should be.", name));
	return tide_jws_bytes(bytes, n);
}

static TideJwsKey
key_of_point(Jsonb *jwk)
{
	uint8		point[65] = {0x04};

	memcpy(point + 1, member_bytes(jwk, "x", 32).data, 32);
	memcpy(point + 33, member_bytes(jwk, "y", 32).data, 32);
	return tide_jws_key_raw(TIDE_JWS_ES256, tide_jws_bytes(point, sizeof(point)));
}

static TideJwsKey
key_of_jwk(Jsonb *jwk, const char *kid, TideJwsAlgorithm algorithm)
{
	const JwkKind *kind = &jwk_kinds[algorithm];

	require_member(jwk, "kty", kind->kty);
	if (kind->crv != NULL)
		require_member(jwk, "crv", kind->crv);
	check_member(jwk, "alg", tide_jws_algorithm_name(algorithm));
	check_member(jwk, "use", "sig");
	if (kid != NULL)
		check_member(jwk, "kid", kid);
	if (tide_json_member(jwk, "d") != NULL)
		bad_key("The JWK is a private key. Give the public one, without member \"d\".");
	switch (algorithm)
	{
		case TIDE_JWS_HS256:
			return tide_jws_key_raw(algorithm, member_bytes(jwk, "k", 0));
		case TIDE_JWS_EDDSA:
			return tide_jws_key_raw(algorithm, member_bytes(jwk, "x", 32));
		case TIDE_JWS_ES256:
			return key_of_point(jwk);
		case TIDE_JWS_RS256:
			break;
	}
	return tide_jws_key_rsa(member_bytes(jwk, "n", 0), member_bytes(jwk, "e", 0));
}

/* as text, where it is text; else NULL */
static char *
as_text(TideJwsBytes given)
{
	if (memchr(given.data, 0, given.len) != NULL ||
		!pg_verify_mbstr(PG_UTF8, (const char *) given.data, given.len, true))
		return NULL;
	return pnstrdup((const char *) given.data, given.len);
}

/* whether text is in braces */
static bool
looks_like_jwk(const char *text)
{
	const char *first = text + strspn(text, " \t\r\n");
	int			len = strlen(first);

	while (len > 0 && strchr(" \t\r\n", first[len - 1]) != NULL)
		len--;
	return len > 1 && first[0] == '{' && first[len - 1] == '}';
}

static void
not_jwk(const char *cause)
{
	bad_key(psprintf("It looks like a JWK, but: %s", cause));
}

TideJwsKey
tide_jwt_key_read(const char *kid, TideJwsAlgorithm algorithm, TideJwsBytes given)
{
	TideJwsKey	key;
	char	   *text;

	if (given.len > MAX_KEY_BYTES)
		bad_key("It has more than 16384 bytes.");
	text = as_text(given);
	if (text != NULL && strstr(text, "-----BEGIN ") != NULL)
		key = tide_jws_key_pem(algorithm, text);
	else if (text != NULL && looks_like_jwk(text))
		key = key_of_jwk(tide_strict_json_object(given.data, given.len, MAX_JWK_DEPTH, not_jwk),
						 kid, algorithm);
	else
		key = tide_jws_key_raw(algorithm, given);
	if (key.data == NULL)
		ereport(ERROR,
				(errcode(TIDE_ERRCODE_BAD_REQUEST),
				 errmsg("cannot use the key for algorithm %s: %s",
						tide_jws_algorithm_name(algorithm), key.problem),
				 key.hint ? errhint("%s", key.hint) : 0,
				 errhidestmt(true)));
	return key;
}
