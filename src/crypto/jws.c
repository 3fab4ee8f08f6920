/*
 * jws.c
 *	  Signatures of JSON Web Signature over raw bytes.
 *
 * libsodium does what it can do: HS256 and EdDSA. RS256 and ES256 are libcrypto's, which the
 * server has loaded anyway. Comparisons of secrets are the libraries', in constant time.
 */
#include "postgres.h"

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sodium.h>

#include "utils/memutils.h"

#include "crypto/jws.h"

#define ES256_COORDINATE	32
#define MAX_CACHED_KEYS		8

/* a public key as libcrypto has it, which takes longer to make than to use */
typedef struct CachedKey
{
	uint8	   *der;			/* in TopMemoryContext; NULL: no entry */
	Size		len;
	EVP_PKEY   *pkey;
} CachedKey;

/* process cache of the keys used last, found by what they are; nobody's trust depends on it */
static CachedKey cached_keys[MAX_CACHED_KEYS];
static int	next_cached_key = 0;

static const char *const algorithm_names[] = {
	[TIDE_JWS_HS256] = "HS256",
	[TIDE_JWS_EDDSA] = "EdDSA",
	[TIDE_JWS_RS256] = "RS256",
	[TIDE_JWS_ES256] = "ES256"
};

StaticAssertDecl(lengthof(algorithm_names) == TIDE_JWS_NALGORITHMS, "one name each");

static bool verify_hs256(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature);
static bool verify_eddsa(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature);
static bool verify_rs256(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature);
static bool verify_es256(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature);
static EVP_PKEY * find_key(TideJwsBytes der);
static bool verify_digest(EVP_PKEY * pkey, TideJwsBytes message, TideJwsBytes signature);

bool
tide_jws_algorithm(const char *name, TideJwsAlgorithm *algorithm)
{
	for (int i = 0; i < TIDE_JWS_NALGORITHMS; i++)
	{
		if (strcmp(name, algorithm_names[i]) == 0)
		{
			*algorithm = (TideJwsAlgorithm) i;
			return true;
		}
	}
	return false;
}

const char *
tide_jws_algorithm_name(TideJwsAlgorithm algorithm)
{
	return algorithm_names[algorithm];
}

bool
tide_jws_verify(TideJwsAlgorithm algorithm, TideJwsBytes key, TideJwsBytes message,
				TideJwsBytes signature)
{
	bool		good = false;

	switch (algorithm)
	{
		case TIDE_JWS_HS256:
			return verify_hs256(key, message, signature);
		case TIDE_JWS_EDDSA:
			return verify_eddsa(key, message, signature);
		case TIDE_JWS_RS256:
			good = verify_rs256(key, message, signature);
			break;
		case TIDE_JWS_ES256:
			good = verify_es256(key, message, signature);
			break;
	}

	/*
	 * a bad signature leaves errors in the queue, which the server's TLS
	 * looks at
	 */
	ERR_clear_error();
	return good;
}

static bool
verify_hs256(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature)
{
	crypto_auth_hmacsha256_state state;
	uint8		expected[crypto_auth_hmacsha256_BYTES];
	bool		good;

	if (signature.len != sizeof(expected))
		return false;
	crypto_auth_hmacsha256_init(&state, key.data, key.len);
	crypto_auth_hmacsha256_update(&state, message.data, message.len);
	crypto_auth_hmacsha256_final(&state, expected);
	good = sodium_memcmp(expected, signature.data, sizeof(expected)) == 0;
	sodium_memzero(&state, sizeof(state));
	sodium_memzero(expected, sizeof(expected));
	return good;
}

static bool
verify_eddsa(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature)
{
	return key.len == crypto_sign_PUBLICKEYBYTES &&
		signature.len == crypto_sign_BYTES &&
		crypto_sign_verify_detached(signature.data, message.data, message.len,
									key.data) == 0;
}

static bool
verify_rs256(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature)
{
	EVP_PKEY   *pkey = find_key(key);

	/* PKCS #1 v1.5 is what EVP does with a key of plain RSA */
	return pkey != NULL && EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA &&
		signature.len == (Size) EVP_PKEY_get_size(pkey) &&
		verify_digest(pkey, message, signature);
}

/* JWS has r and s of 32 bytes each one after the other, libcrypto wants them in DER */
static bool
verify_es256(TideJwsBytes key, TideJwsBytes message, TideJwsBytes signature)
{
	EVP_PKEY   *pkey;
	ECDSA_SIG  *sig;
	BIGNUM	   *r;
	BIGNUM	   *s;
	unsigned char *der = NULL;
	int			derlen = -1;
	bool		good = false;

	if (signature.len != 2 * ES256_COORDINATE)
		return false;
	pkey = find_key(key);
	sig = ECDSA_SIG_new();
	r = BN_bin2bn(signature.data, ES256_COORDINATE, NULL);
	s = BN_bin2bn(signature.data + ES256_COORDINATE, ES256_COORDINATE, NULL);
	if (sig != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(sig, r, s) == 1)
		derlen = i2d_ECDSA_SIG(sig, &der);
	else
	{
		BN_free(r);
		BN_free(s);
	}
	if (pkey != NULL && derlen > 0)
		good = EVP_PKEY_get_base_id(pkey) == EVP_PKEY_EC &&
			verify_digest(pkey, message, tide_jws_bytes(der, derlen));
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	return good;
}

/* the key of a SubjectPublicKeyInfo, until the next call; NULL if it is none */
static EVP_PKEY *
find_key(TideJwsBytes der)
{
	CachedKey  *entry = &cached_keys[next_cached_key];
	const unsigned char *p = der.data;

	for (int i = 0; i < MAX_CACHED_KEYS; i++)
	{
		if (cached_keys[i].der != NULL && cached_keys[i].len == der.len &&
			memcmp(cached_keys[i].der, der.data, der.len) == 0)
			return cached_keys[i].pkey;
	}
	if (entry->der != NULL)
	{
		EVP_PKEY_free(entry->pkey);
		pfree(entry->der);
		entry->der = NULL;
	}
	entry->der = MemoryContextAlloc(TopMemoryContext, der.len);
	entry->len = der.len;
	memcpy(entry->der, der.data, der.len);
	entry->pkey = d2i_PUBKEY(NULL, &p, der.len);
	next_cached_key = (next_cached_key + 1) % MAX_CACHED_KEYS;
	return entry->pkey;
}

static bool
verify_digest(EVP_PKEY * pkey, TideJwsBytes message, TideJwsBytes signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool		good;

	good = ctx != NULL &&
		EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
		EVP_DigestVerify(ctx, signature.data, signature.len,
						 message.data, message.len) == 1;
	EVP_MD_CTX_free(ctx);
	return good;
}
