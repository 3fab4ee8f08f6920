/*
 * jws_key.c
 *	  Keys to check signatures with: what they may come as, and which are too weak.
 *
 * libcrypto reads DER and PEM, and whatever it has read goes through canonical(), which
 * checks kind, curve and size. A private key is refused, as the server has no use for one and
 * its loss would be the worst of all.
 */
#include "postgres.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>

#include "crypto/base64url.h"
#include "crypto/jws.h"

#define HS256_MIN_BYTES		32	/* RFC 7518, 3.2 */
#define HS256_MAX_BYTES		1024
#define RSA_MIN_BITS		2048	/* RFC 7518, 3.3 */
#define RSA_MAX_BITS		8192	/* a check takes longer, the longer the
									 * key */
#define RSA_MAX_EXPONENT	64	/* bits, for the same reason */
#define PUBLIC_HINT			"Give the public key: a SubjectPublicKeyInfo in DER or PEM, or a JWK."

/* SubjectPublicKeyInfo of a point on P-256, but for the point */
static const uint8 p256_prefix[] = {
	0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
	0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00
};

#define P256_POINT_BYTES	65

static TideJwsKey
refused(const char *problem, const char *hint)
{
	TideJwsKey	key = {.problem = problem,.hint = hint};

	ERR_clear_error();
	return key;
}

static TideJwsKey
copied(const void *data, Size len)
{
	TideJwsKey	key = {.data = palloc(len),.len = len};

	memcpy(key.data, data, len);
	return key;
}

/* on the curve, in its main subgroup, and not one of the points every signature fits */
static TideJwsKey
ed25519_key(const uint8 *point)
{
	if (!crypto_core_ed25519_is_valid_point(point))
		return refused("the key is not a point of the main group of Ed25519", PUBLIC_HINT);
	return copied(point, crypto_sign_PUBLICKEYBYTES);
}

/* NULL, or what is wrong with it */
static const char *
rsa_problem(EVP_PKEY * pkey)
{
	BIGNUM	   *e = NULL;
	bool		exponent;

	if (EVP_PKEY_get_bits(pkey) < RSA_MIN_BITS)
		return "the RSA key has less than 2048 bits";
	if (EVP_PKEY_get_bits(pkey) > RSA_MAX_BITS)
		return "the RSA key has more than 8192 bits";
	exponent = EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1 &&
		BN_is_odd(e) && !BN_is_one(e) && BN_num_bits(e) <= RSA_MAX_EXPONENT;
	BN_free(e);
	return exponent ? NULL : "the RSA key has no usable exponent";
}

static bool
is_p256(EVP_PKEY * pkey)
{
	char		group[32];
	EVP_PKEY_CTX *ctx;
	bool		good;

	if (EVP_PKEY_get_group_name(pkey, group, sizeof(group), NULL) != 1 ||
		strcmp(group, "prime256v1") != 0)
		return false;
	ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	good = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;
	EVP_PKEY_CTX_free(ctx);
	return good;
}

/* not one that brings parameters of its own, be they those of P-256 */
static bool
is_named_point(const uint8 *der, int len)
{
	return len == sizeof(p256_prefix) + P256_POINT_BYTES &&
		memcmp(der, p256_prefix, sizeof(p256_prefix)) == 0;
}

static TideJwsKey
canonical_eddsa(EVP_PKEY * pkey)
{
	uint8		point[crypto_sign_PUBLICKEYBYTES];
	Size		len = sizeof(point);

	if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_ED25519 ||
		EVP_PKEY_get_raw_public_key(pkey, point, &len) != 1 || len != sizeof(point))
		return refused("the key is not of Ed25519", PUBLIC_HINT);
	return ed25519_key(point);
}

/* the one form of what libcrypto has read */
static TideJwsKey
canonical(TideJwsAlgorithm algorithm, EVP_PKEY * pkey)
{
	const char *problem = NULL;
	unsigned char *der = NULL;
	int			len;
	TideJwsKey	key;

	switch (algorithm)
	{
		case TIDE_JWS_HS256:
			return refused("the key of HS256 must be a secret, not a public key",
						   "A token's algorithm is that of its key: give RS256, ES256 or EdDSA.");
		case TIDE_JWS_EDDSA:
			return canonical_eddsa(pkey);
		case TIDE_JWS_RS256:
			problem = EVP_PKEY_get_base_id(pkey) != EVP_PKEY_RSA ?
				"the key is not of RSA" : rsa_problem(pkey);
			break;
		case TIDE_JWS_ES256:
			if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_EC || !is_p256(pkey))
				problem = "the key is not a point of curve P-256";
			break;
	}
	if (problem != NULL)
		return refused(problem, PUBLIC_HINT);
	len = i2d_PUBKEY(pkey, &der);
	if (len <= 0)
		return refused("the key cannot be written as DER", PUBLIC_HINT);
	if (algorithm == TIDE_JWS_ES256 && !is_named_point(der, len))
		key = refused("the key is not an uncompressed point of the named curve P-256", PUBLIC_HINT);
	else
		key = copied(der, len);
	OPENSSL_free(der);
	return key;
}

static TideJwsKey
key_der(TideJwsAlgorithm algorithm, TideJwsBytes der)
{
	const unsigned char *p = der.data;
	EVP_PKEY   *pkey = der.len > INT_MAX ? NULL : d2i_PUBKEY(NULL, &p, der.len);
	TideJwsKey	key;

	if (pkey != NULL && p == der.data + der.len)
		key = canonical(algorithm, pkey);
	else
		key = refused("the key is not in a form known", PUBLIC_HINT);
	EVP_PKEY_free(pkey);
	return key;
}

static TideJwsKey
key_point(TideJwsBytes point)
{
	uint8		der[sizeof(p256_prefix) + P256_POINT_BYTES];

	memcpy(der, p256_prefix, sizeof(p256_prefix));
	memcpy(der + sizeof(p256_prefix), point.data, P256_POINT_BYTES);
	return key_der(TIDE_JWS_ES256, tide_jws_bytes(der, sizeof(der)));
}

static TideJwsKey
key_secret(TideJwsBytes secret)
{
	if (secret.len < HS256_MIN_BYTES)
		return refused("the secret has less than 32 bytes", "Make one of 32 random bytes.");
	if (secret.len > HS256_MAX_BYTES)
		return refused("the secret has more than 1024 bytes", "Make one of 32 random bytes.");
	return copied(secret.data, secret.len);
}

TideJwsKey
tide_jws_key_raw(TideJwsAlgorithm algorithm, TideJwsBytes raw)
{
	switch (algorithm)
	{
		case TIDE_JWS_HS256:
			return key_secret(raw);
		case TIDE_JWS_EDDSA:
			if (raw.len == crypto_sign_PUBLICKEYBYTES)
				return ed25519_key(raw.data);
			break;
		case TIDE_JWS_ES256:
			if (raw.len == P256_POINT_BYTES && raw.data[0] == 0x04)
				return key_point(raw);
			break;
		case TIDE_JWS_RS256:
			break;
	}
	return key_der(algorithm, raw);
}

/* nobody is there to be asked for a passphrase */
static int
no_passphrase(char *buf, int size, int rwflag, void *arg)
{
	return 0;
}

TideJwsKey
tide_jws_key_pem(TideJwsAlgorithm algorithm, const char *pem)
{
	const char *first = strstr(pem, "-----BEGIN ");
	BIO		   *bio;
	EVP_PKEY   *pkey;
	TideJwsKey	key;

	if (strstr(pem, "PRIVATE KEY-----") != NULL)
		return refused("the key is a private one", PUBLIC_HINT);
	if (first == NULL || strstr(first + 1, "-----BEGIN ") != NULL)
		return refused("the PEM text must hold one public key", PUBLIC_HINT);
	bio = BIO_new_mem_buf(pem, strlen(pem));
	pkey = bio == NULL ? NULL : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
	if (pkey != NULL)
		key = canonical(algorithm, pkey);
	else
		key = refused("the PEM text does not hold a public key", PUBLIC_HINT);
	EVP_PKEY_free(pkey);
	BIO_free(bio);
	return key;
}

static EVP_PKEY *
make_rsa(BIGNUM * n, BIGNUM * e)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
	OSSL_PARAM *params = NULL;
	EVP_PKEY   *pkey = NULL;

	if (build != NULL && ctx != NULL && n != NULL && e != NULL &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		params = OSSL_PARAM_BLD_to_param(build);
	if (params == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	EVP_PKEY_CTX_free(ctx);
	return pkey;
}

TideJwsKey
tide_jws_key_rsa(TideJwsBytes n, TideJwsBytes e)
{
	BIGNUM	   *modulus;
	BIGNUM	   *exponent;
	EVP_PKEY   *pkey;
	TideJwsKey	key;

	if (n.len > RSA_MAX_BITS / 8 + 1 || e.len > RSA_MAX_BITS / 8)
		return refused("the RSA key has more than 8192 bits", PUBLIC_HINT);
	modulus = BN_bin2bn(n.data, n.len, NULL);
	exponent = BN_bin2bn(e.data, e.len, NULL);
	pkey = make_rsa(modulus, exponent);
	if (pkey != NULL)
		key = canonical(TIDE_JWS_RS256, pkey);
	else
		key = refused("the modulus and the exponent make no RSA key", PUBLIC_HINT);
	EVP_PKEY_free(pkey);
	BN_free(modulus);
	BN_free(exponent);
	return key;
}

/* a number of the key, in base64url; of width bytes, or as few as it needs */
static char *
number(EVP_PKEY * pkey, const char *name, int width)
{
	BIGNUM	   *bn = NULL;
	uint8		bytes[RSA_MAX_BITS / 8];
	int			len;

	if (EVP_PKEY_get_bn_param(pkey, name, &bn) != 1)
		return NULL;
	len = width > 0 ? width : BN_num_bytes(bn);
	if (len > (int) sizeof(bytes) || BN_bn2binpad(bn, bytes, len) != len)
		len = -1;
	BN_free(bn);
	return len < 0 ? NULL : tide_base64url_encode(bytes, len);
}

/* members in the order of their names, no white space: RFC 7638, 3.2 */
static char *
jwk_text(TideJwsAlgorithm algorithm, TideJwsBytes key)
{
	const unsigned char *p = key.data;
	EVP_PKEY   *pkey;
	char	   *a = NULL;
	char	   *b = NULL;

	if (algorithm == TIDE_JWS_EDDSA)
		return psprintf("{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}",
						tide_base64url_encode(key.data, key.len));
	pkey = d2i_PUBKEY(NULL, &p, key.len);
	if (pkey != NULL && algorithm == TIDE_JWS_RS256)
	{
		a = number(pkey, OSSL_PKEY_PARAM_RSA_E, 0);
		b = number(pkey, OSSL_PKEY_PARAM_RSA_N, 0);
	}
	else if (pkey != NULL)
	{
		a = number(pkey, OSSL_PKEY_PARAM_EC_PUB_X, 32);
		b = number(pkey, OSSL_PKEY_PARAM_EC_PUB_Y, 32);
	}
	EVP_PKEY_free(pkey);
	if (a == NULL || b == NULL)
		elog(ERROR, "could not read a key of %s", tide_jws_algorithm_name(algorithm));
	return psprintf(algorithm == TIDE_JWS_RS256 ?
					"{\"e\":\"%s\",\"kty\":\"RSA\",\"n\":\"%s\"}" :
					"{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"%s\",\"y\":\"%s\"}", a, b);
}

char *
tide_jws_key_jwk(TideJwsAlgorithm algorithm, TideJwsBytes key, char **thumbprint)
{
	uint8		hash[crypto_hash_sha256_BYTES];
	char	   *jwk;

	if (algorithm == TIDE_JWS_HS256)
		return NULL;
	jwk = jwk_text(algorithm, key);
	crypto_hash_sha256(hash, (const unsigned char *) jwk, strlen(jwk));
	*thumbprint = tide_base64url_encode(hash, sizeof(hash));
	return jwk;
}
