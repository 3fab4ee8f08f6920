/*
 * token.c
 *	  JSON Web Tokens: from the text a client sends to claims somebody vouches for.
 *
 * The order is that of trust: sizes and letters, the header (small, and read by the strictest of
 * rules, since anybody may have made it), the key that the header names, the signature over the bytes
 * as sent, and only then what was signed. The header chooses among our keys and says nothing about how
 * they are used: the algorithm is the key's. Keys and URLs in the header are not looked at.
 */
#include "postgres.h"

#include "auth/claims.h"
#include "auth/jwt_key.h"
#include "auth/registered.h"
#include "auth/strict_json.h"
#include "auth/token.h"
#include "crypto/base64url.h"

#define MAX_HEADER			2048	/* bytes in base64url */
#define MAX_HEADER_DEPTH	4
#define MAX_CLAIMS_DEPTH	32
#define MAX_SIGNATURE		1024	/* of an RSA key of 8192 bits */

/* the parts of a token, as sent */
typedef struct TokenParts
{
	TideJwsBytes header;
	TideJwsBytes claims;
	TideJwsBytes signature;
	TideJwsBytes signed_text;	/* header and claims with the dot between */
} TokenParts;

/* "typ"s of tokens that prove who somebody is; absent will do as well */
static const char *const types[] = {"JWT", "at+jwt", "application/jwt", "application/at+jwt"};

static void split(const char *token, Size len, TokenParts *parts);
static Jsonb *read_header(TideJwsBytes part);
static void check_type(Jsonb *header);
static void find_key(Jsonb *header, TimestampTz now, TideJwtKey *key);
static void check_signature(const TokenParts *parts, TideJwtKey *key);
static Jsonb *read_claims(TideJwsBytes part);

Jsonb *
tide_token_claims(const char *token, Size len, TimestampTz now)
{
	TokenParts	parts;
	TideJwtKey	key;
	Jsonb	   *claims;

	if (len > TIDE_MAX_TOKEN)
		tide_auth_refuse("The token is longer than 16384 bytes.");
	split(token, len, &parts);
	find_key(read_header(parts.header), now, &key);
	check_signature(&parts, &key);
	claims = read_claims(parts.claims);
	tide_registered_check(claims, now);
	return claims;
}

/* three parts with two dots between them; a part may be empty here */
static void
split(const char *token, Size len, TokenParts *parts)
{
	const uint8 *text = (const uint8 *) token;
	const uint8 *end = text + len;
	const uint8 *dot1 = memchr(text, '.', len);
	const uint8 *dot2 = dot1 ? memchr(dot1 + 1, '.', end - dot1 - 1) : NULL;

	if (dot2 == NULL || memchr(dot2 + 1, '.', end - dot2 - 1) != NULL)
		tide_auth_refuse("The token does not have three parts.");
	parts->header = tide_jws_bytes(text, dot1 - text);
	parts->claims = tide_jws_bytes(dot1 + 1, dot2 - dot1 - 1);
	parts->signature = tide_jws_bytes(dot2 + 1, end - dot2 - 1);
	parts->signed_text = tide_jws_bytes(text, dot2 - text);
}

static Jsonb *
read_header(TideJwsBytes part)
{
	uint8		bytes[MAX_HEADER];
	Size		len;
	Jsonb	   *header;

	if (part.len > MAX_HEADER)
		tide_auth_refuse("The token's header is longer than 2048 bytes.");
	if (!tide_base64url_decode((const char *) part.data, part.len, bytes, sizeof(bytes), &len))
		tide_auth_refuse("The token's header is not base64url.");
	/* nothing in a header needs escapes; they would only make two of one */
	if (memchr(bytes, '\\', len) != NULL)
		tide_auth_refuse("The token's header has escapes.");
	header = tide_strict_json_object(bytes, len, MAX_HEADER_DEPTH, tide_auth_refuse);
	if (getKeyJsonValueFromContainer(&header->root, "crit", 4, NULL) != NULL)
		tide_auth_refuse("The token's header has \"crit\".");
	check_type(header);
	return header;
}

/* tokens made for other purposes by the same issuer say so (RFC 8725, 3.11) */
static void
check_type(Jsonb *header)
{
	JsonbValue *value = tide_json_member(header, "typ");
	char	   *type = tide_json_string_value(value);

	if (value == NULL)
		return;
	for (int i = 0; type != NULL && i < lengthof(types); i++)
	{
		if (pg_strcasecmp(type, types[i]) == 0)
			return;
	}
	tide_auth_refuse("The token's \"typ\" is none of a token for access.");
}

static void
find_key(Jsonb *header, TimestampTz now, TideJwtKey *key)
{
	char	   *name = tide_json_string_value(tide_json_member(header, "alg"));
	JsonbValue *kid = getKeyJsonValueFromContainer(&header->root, "kid", 3, NULL);
	TideJwsAlgorithm algorithm;
	const char *cause;

	if (name == NULL || !tide_jws_algorithm(name, &algorithm))
		tide_auth_refuse("The token's \"alg\" is none of HS256, EdDSA, RS256 and ES256.");
	if (kid != NULL && (kid->type != jbvString || kid->val.string.len > TIDE_MAX_KID))
		tide_auth_refuse("The token's \"kid\" is not a string, or too long.");
	if (!tide_jwt_key_find(tide_json_string_value(kid), algorithm, now, key, &cause))
		tide_auth_refuse(cause);
}

static void
check_signature(const TokenParts *parts, TideJwtKey *key)
{
	uint8		signature[MAX_SIGNATURE];
	Size		len;
	bool		good;

	good = tide_base64url_decode((const char *) parts->signature.data, parts->signature.len,
								 signature, sizeof(signature), &len) &&
		tide_jws_verify(key->algorithm, tide_jws_bytes(key->data, key->len),
						parts->signed_text, tide_jws_bytes(signature, len));
	tide_jwt_key_wipe(key);
	if (!good)
		tide_auth_refuse("The token's signature is wrong.");
}

static Jsonb *
read_claims(TideJwsBytes part)
{
	uint8	   *bytes = palloc(part.len + 1);
	Size		len;

	if (!tide_base64url_decode((const char *) part.data, part.len, bytes, part.len, &len))
		tide_auth_refuse("The token's claims are not base64url.");
	return tide_strict_json_object(bytes, len, MAX_CLAIMS_DEPTH, tide_auth_refuse);
}
