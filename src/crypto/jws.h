/*
 * jws.h
 *	  Signatures of JSON Web Signature (RFC 7515, 7518, 8037) over raw bytes, and keys to
 *	  check them with. Nothing of JSON here, and nothing that signs.
 *
 * A key is kept in one form, whatever it came as: of HS256 the secret, of EdDSA the 32
 * bytes of the point, of RS256 and ES256 a SubjectPublicKeyInfo in DER. Only what has
 * come out of one of the functions tide_jws_key_* may be given to tide_jws_verify().
 */
#ifndef TIDE_JWS_H
#define TIDE_JWS_H

typedef enum TideJwsAlgorithm
{
	TIDE_JWS_HS256,
	TIDE_JWS_EDDSA,
	TIDE_JWS_RS256,
	TIDE_JWS_ES256
} TideJwsAlgorithm;

#define TIDE_JWS_NALGORITHMS	4

/* bytes, not owned */
typedef struct TideJwsBytes
{
	const uint8 *data;
	Size		len;
} TideJwsBytes;

static inline TideJwsBytes
tide_jws_bytes(const void *data, Size len)
{
	TideJwsBytes bytes = {data, len};

	return bytes;
}

/* palloc'd; data = NULL: refused, problem says why ("the key ..."), hint what to do or NULL */
typedef struct TideJwsKey
{
	uint8	   *data;
	Size		len;
	const char *problem;
	const char *hint;
} TideJwsKey;

/* name as in a token's "alg", which is case-sensitive; false if there is none of that name */
extern bool tide_jws_algorithm(const char *name, TideJwsAlgorithm *algorithm);
extern const char *tide_jws_algorithm_name(TideJwsAlgorithm algorithm);

/* never an ERROR; anything but a good signature is false */
extern bool tide_jws_verify(TideJwsAlgorithm algorithm, TideJwsBytes key,
							TideJwsBytes message, TideJwsBytes signature);

/*
 * HS256: the secret. EdDSA: 32 bytes. ES256: the point, 0x04 and its two coordinates. All but
 * HS256: a SubjectPublicKeyInfo in DER.
 */
extern TideJwsKey tide_jws_key_raw(TideJwsAlgorithm algorithm, TideJwsBytes raw);

/* "-----BEGIN PUBLIC KEY-----", as text */
extern TideJwsKey tide_jws_key_pem(TideJwsAlgorithm algorithm, const char *pem);

/* modulus and exponent, big-endian */
extern TideJwsKey tide_jws_key_rsa(TideJwsBytes n, TideJwsBytes e);

/*
 * The key as the JSON object whose hash is its thumbprint (RFC 7638), palloc'd; NULL for
 * HS256, whose key is a secret. thumbprint: that hash in base64url.
 */
extern char *tide_jws_key_jwk(TideJwsAlgorithm algorithm, TideJwsBytes key, char **thumbprint);

#endif							/* TIDE_JWS_H */
