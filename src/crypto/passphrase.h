/*
 * passphrase.h
 *	  A device's secret under a passphrase, as doc/encryption.md has it:
 *	  0x03 | opslimit (4) | memlimit (8) | salt (16) | nonce (24) | ciphertext and tag (48);
 *	  Argon2id makes the key, all before the ciphertext is authenticated. Integers are big-endian.
 */
#ifndef TIDE_CRYPTO_PASSPHRASE_H
#define TIDE_CRYPTO_PASSPHRASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TIDE_BACKUP_VERSION		0x03
#define TIDE_BACKUP_LEN			101

/* bounds of what is made, and of what is opened: a backup comes from a server */
#define TIDE_BACKUP_MIN_OPSLIMIT	1
#define TIDE_BACKUP_MAX_OPSLIMIT	16
#define TIDE_BACKUP_MIN_MEMLIMIT	UINT64_C(8192)
#define TIDE_BACKUP_MAX_MEMLIMIT	UINT64_C(1073741824)

/* crypto_pwhash_*_MODERATE of libsodium */
#define TIDE_BACKUP_OPSLIMIT		3
#define TIDE_BACKUP_MEMLIMIT		UINT64_C(268435456)

typedef enum TideBackupResult
{
	TIDE_BACKUP_OK,
	TIDE_BACKUP_BAD,			/* no backup, or limits out of bounds */
	TIDE_BACKUP_NO_MEMORY,
	TIDE_BACKUP_WRONG			/* wrong passphrase, or damaged */
} TideBackupResult;

/* writes TIDE_BACKUP_LEN bytes */
extern TideBackupResult tide_backup_make(unsigned char *out, const unsigned char *secret,
										 const char *passphrase, size_t len,
										 uint32_t opslimit, uint64_t memlimit);

/* writes TIDE_DEVICE_SECRET_LEN bytes */
extern TideBackupResult tide_backup_open(unsigned char *secret, const unsigned char *backup,
										 size_t backup_len, const char *passphrase, size_t len);

/* whether it has the form of a backup, with limits in bounds */
extern bool tide_backup_is_valid(const unsigned char *backup, size_t len);

#endif							/* TIDE_CRYPTO_PASSPHRASE_H */
