/*
 * passphrase.c
 *	  A device's secret under a passphrase.
 */
#include "postgres.h"

#include <sodium.h>

#include "port/pg_bswap.h"

#include "crypto/device.h"
#include "crypto/passphrase.h"

#define OPSLIMIT_AT		1
#define MEMLIMIT_AT		5
#define SALT_AT			13
#define NONCE_AT		(SALT_AT + crypto_pwhash_argon2id_SALTBYTES)
#define CIPHERTEXT_AT	(NONCE_AT + crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)
#define KEY_LEN			crypto_aead_xchacha20poly1305_ietf_KEYBYTES

StaticAssertDecl(TIDE_BACKUP_LEN == CIPHERTEXT_AT + TIDE_DEVICE_SECRET_LEN +
				 crypto_aead_xchacha20poly1305_ietf_ABYTES, "backup");
StaticAssertDecl(TIDE_BACKUP_MIN_OPSLIMIT >= crypto_pwhash_argon2id_OPSLIMIT_MIN, "opslimit");
StaticAssertDecl(TIDE_BACKUP_MIN_MEMLIMIT >= crypto_pwhash_argon2id_MEMLIMIT_MIN, "memlimit");
StaticAssertDecl(TIDE_BACKUP_OPSLIMIT == crypto_pwhash_argon2id_OPSLIMIT_MODERATE, "opslimit");
StaticAssertDecl(TIDE_BACKUP_MEMLIMIT == crypto_pwhash_argon2id_MEMLIMIT_MODERATE, "memlimit");

static bool
limits_are_valid(uint32_t opslimit, uint64_t memlimit)
{
	return opslimit >= TIDE_BACKUP_MIN_OPSLIMIT && opslimit <= TIDE_BACKUP_MAX_OPSLIMIT &&
		memlimit >= TIDE_BACKUP_MIN_MEMLIMIT && memlimit <= TIDE_BACKUP_MAX_MEMLIMIT;
}

static uint32_t
opslimit_of(const unsigned char *backup)
{
	uint32		n;

	memcpy(&n, backup + OPSLIMIT_AT, sizeof(n));
	return pg_ntoh32(n);
}

static uint64_t
memlimit_of(const unsigned char *backup)
{
	uint64		n;

	memcpy(&n, backup + MEMLIMIT_AT, sizeof(n));
	return pg_ntoh64(n);
}

/* the key of a backup whose limits and salt are set; fails for lack of memory only */
static bool
derive_key(unsigned char *key, const unsigned char *backup, const char *passphrase, size_t len)
{
	return crypto_pwhash_argon2id(key, KEY_LEN, passphrase, len, backup + SALT_AT,
								  opslimit_of(backup), memlimit_of(backup),
								  crypto_pwhash_argon2id_ALG_ARGON2ID13) == 0;
}

bool
tide_backup_is_valid(const unsigned char *backup, size_t len)
{
	return len == TIDE_BACKUP_LEN && backup[0] == TIDE_BACKUP_VERSION &&
		limits_are_valid(opslimit_of(backup), memlimit_of(backup));
}

TideBackupResult
tide_backup_make(unsigned char *out, const unsigned char *secret, const char *passphrase,
				 size_t len, uint32_t opslimit, uint64_t memlimit)
{
	unsigned char key[KEY_LEN];
	uint32		ops = pg_hton32(opslimit);
	uint64		mem = pg_hton64(memlimit);

	if (!limits_are_valid(opslimit, memlimit))
		return TIDE_BACKUP_BAD;
	out[0] = TIDE_BACKUP_VERSION;
	memcpy(out + OPSLIMIT_AT, &ops, sizeof(ops));
	memcpy(out + MEMLIMIT_AT, &mem, sizeof(mem));
	randombytes_buf(out + SALT_AT, CIPHERTEXT_AT - SALT_AT);
	if (!derive_key(key, out, passphrase, len))
		return TIDE_BACKUP_NO_MEMORY;
	(void) crypto_aead_xchacha20poly1305_ietf_encrypt(out + CIPHERTEXT_AT, NULL,
													  secret, TIDE_DEVICE_SECRET_LEN,
													  out, CIPHERTEXT_AT, NULL,
													  out + NONCE_AT, key);
	sodium_memzero(key, sizeof(key));
	return TIDE_BACKUP_OK;
}

TideBackupResult
tide_backup_open(unsigned char *secret, const unsigned char *backup, size_t backup_len,
				 const char *passphrase, size_t len)
{
	unsigned char key[KEY_LEN];
	bool		is_open;

	if (!tide_backup_is_valid(backup, backup_len))
		return TIDE_BACKUP_BAD;
	if (!derive_key(key, backup, passphrase, len))
		return TIDE_BACKUP_NO_MEMORY;
	is_open = crypto_aead_xchacha20poly1305_ietf_decrypt(secret, NULL, NULL,
														 backup + CIPHERTEXT_AT,
														 TIDE_BACKUP_LEN - CIPHERTEXT_AT,
														 backup, CIPHERTEXT_AT,
														 backup + NONCE_AT, key) == 0;
	sodium_memzero(key, sizeof(key));
	return is_open ? TIDE_BACKUP_OK : TIDE_BACKUP_WRONG;
}
