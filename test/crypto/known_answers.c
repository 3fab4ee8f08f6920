/*
 * known_answers.c
 *	  src/crypto and libsodium against the test vectors of the documents they implement. Prints TAP.
 *	  test/tap/known_answers.pl builds and runs it.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/device.h"
#include "crypto/envelope.h"
#include "crypto/passphrase.h"

/* what src/crypto/base64url.c needs of the server */
void	   *palloc(size_t size);

void *
palloc(size_t size)
{
	return malloc(size);
}

static int	count = 0;
static int	failed = 0;

static void
ok(int condition, const char *name)
{
	printf("%sok %d - %s\n", condition ? "" : "not ", ++count, name);
	failed += !condition;
}

typedef struct Bytes
{
	unsigned char *data;
	size_t		len;
} Bytes;

static Bytes
hex(const char *text)
{
	Bytes		bytes = {malloc(strlen(text) / 2 + 1)};

	if (sodium_hex2bin(bytes.data, strlen(text) / 2, text, strlen(text), NULL, &bytes.len, NULL) != 0 ||
		bytes.len * 2 != strlen(text))
		abort();
	return bytes;
}

static Bytes
join(const Bytes *parts, int n)
{
	Bytes		result = {malloc(4096)};

	for (int i = 0; i < n; i++)
	{
		memcpy(result.data + result.len, parts[i].data, parts[i].len);
		result.len += parts[i].len;
	}
	return result;
}

static int
same(Bytes a, const unsigned char *b, size_t len)
{
	return a.len == len && memcmp(a.data, b, len) == 0;
}

static const char *sunscreen =
"4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a20"
"4966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f722074686520"
"6675747572652c2073756e73637265656e20776f756c642062652069742e";
static const char *aead_key = "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f";
static const char *aead_aad = "50515253c0c1c2c3c4c5c6c7";

static void
test_chacha20_poly1305(void)
{
	Bytes		plaintext = hex(sunscreen);
	Bytes		aad = hex(aead_aad);
	Bytes		expected = hex("d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6"
							   "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36"
							   "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc"
							   "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691");
	unsigned char out[512];
	unsigned long long len;

	crypto_aead_chacha20poly1305_ietf_encrypt(out, &len, plaintext.data, plaintext.len, aad.data, aad.len,
											  NULL, hex("070000004041424344454647").data,
											  hex(aead_key).data);
	ok(same(expected, out, len), "RFC 8439, 2.8.2: ChaCha20-Poly1305");
}

static void
test_envelope(void)
{
	Bytes		plaintext = hex(sunscreen);
	Bytes		aad = hex(aead_aad);
	Bytes		key_id = hex("00112233445566778899aabbccddeeff");
	Bytes		parts[] = {
		hex("01"), key_id, hex("404142434445464748494a4b4c4d4e4f5051525354555657"),
		hex("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
			"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
			"2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
			"21f9664c97637da9768812f615c68b13b52e"),
		hex("c0875924c1c7987947deafd8780acf49")
	};
	Bytes		key_parts[] = {key_id, hex(aead_key)};
	Bytes		envelope = join(parts, 5);
	Bytes		key = join(key_parts, 2);
	unsigned char out[512];
	int			opened = 0;

	ok(tide_envelope_open(out, envelope.data, envelope.len, aad.data, aad.len, key.data) &&
	   same(plaintext, out, envelope.len - TIDE_ENVELOPE_OVERHEAD),
	   "draft-irtf-cfrg-xchacha-03, A.3.1: an envelope of it opens");
	for (size_t i = 0; i < envelope.len * 8; i++)
	{
		envelope.data[i / 8] ^= 1 << (i % 8);
		opened += tide_envelope_open(out, envelope.data, envelope.len, aad.data, aad.len, key.data);
		envelope.data[i / 8] ^= 1 << (i % 8);
	}
	ok(opened == 0, "not with any bit of it flipped");
	for (size_t len = 0; len < envelope.len; len++)
		opened += tide_envelope_open(out, envelope.data, len, aad.data, aad.len, key.data);
	ok(opened == 0, "nor shortened");
	ok(!tide_envelope_open(out, envelope.data, envelope.len, aad.data, aad.len - 1, key.data),
	   "nor with other associated data");
	tide_envelope_seal(out, plaintext.data, plaintext.len, aad.data, aad.len, key.data);
	ok(memcmp(out + 17, envelope.data + 17, 24) != 0, "each envelope has a nonce of its own");
}

static void
test_ed25519(void)
{
	static const char *const vectors[][4] = {
		{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
		{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"}
	};

	for (int i = 0; i < 3; i++)
	{
		Bytes		message = hex(vectors[i][2]);
		Bytes		signature = hex(vectors[i][3]);
		unsigned char public[32];
		unsigned char private[64];
		unsigned char out[64];
		char		name[64];

		crypto_sign_seed_keypair(public, private, hex(vectors[i][0]).data);
		crypto_sign_detached(out, NULL, message.data, message.len, private);
		snprintf(name, sizeof(name), "RFC 8032, 7.1, test %d: Ed25519", i + 1);
		ok(same(hex(vectors[i][1]), public, 32) && same(signature, out, 64) &&
		   tide_signature_is_valid(signature.data, message.data, message.len, public), name);
	}
}

static void
test_x25519(void)
{
	unsigned char out[32];

	ok(crypto_scalarmult(out, hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4").data,
						 hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c").data) == 0 &&
	   same(hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"), out, 32),
	   "RFC 7748, 5.2: X25519");
}

/* RFC 9106's own have a secret and associated data, which libsodium does not take: those of libsodium's tests */
static void
test_argon2id(void)
{
	Bytes		password = hex("a347ae92bce9f80f6f595a4480fc9c2fe7e7d7148d371e9487d75f5c23008ffae0"
							   "65577a928febd9b1973a5a95073acdbeb6a030cfc0d79caa2dc5cd011cef02c08d"
							   "a232d76d52dfbca38ca8dcbd665b17d1665f7cf5fe59772ec909733b24de97d6f5"
							   "8d220b20c60d7c07ec1fd93c52c31020300c6c1facd77937a597c7a6");
	Bytes		salt = hex("5541fbc995d5c197ba290346d2c559de");
	Bytes		expected = hex("18acec5d6507739f203d1f5d9f1d862f7c2cdac4f19d2bdff64487e60d969e3ced61"
							   "5337b9eec6ac4461c6ca07f0939741e57c24d0005c7ea171a0ee1e7348249d135b38"
							   "f222e4dad7b9a033ed83f5ca27277393e316582033c74affe2566a2bea47f91f0fd9"
							   "fe49ece7e1f79f3ad6e9b23e0277c8ecc4b313225748dd2a80f5679534a0700e246a"
							   "79a49b3f74eb89ec6205fe1eeb941c73b1fcf1");
	unsigned char out[155];

	ok(crypto_pwhash_argon2id(out, sizeof(out), (char *) password.data, password.len, salt.data, 5, 7256678,
							  crypto_pwhash_argon2id_ALG_ARGON2ID13) == 0 &&
	   same(expected, out, sizeof(out)), "Argon2id as in libsodium's tests (RFC 9106's take a secret)");
}

/* computed by other implementations: Python's hashlib (BLAKE2b, SHA-512) and OpenSSL (the curves) */
static void
test_device(void)
{
	Bytes		secret = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
	unsigned char box_key[TIDE_PUBLIC_KEY_LEN];
	unsigned char sign_key[TIDE_PUBLIC_KEY_LEN];
	unsigned char box[5 + TIDE_SEAL_OVERHEAD];
	unsigned char message[5];

	tide_device_public_keys(box_key, sign_key, secret.data);
	ok(same(hex("4d3b5095c938f2fe1df09ed4d93ceeda7fc4a929eff33119fd8a303b7221763c"), box_key, 32) &&
	   same(hex("38437dda59a65bbabbf0f062a2ab000b1802f1fc37496a443aee22b911633c5b"), sign_key, 32),
	   "public keys of a device secret");
	ok(tide_device_seal(box, (unsigned char *) "hello", 5, box_key) &&
	   tide_device_unseal(message, box, sizeof(box), secret.data) && memcmp(message, "hello", 5) == 0,
	   "a box opens");
	box[20] ^= 1;
	ok(!tide_device_unseal(message, box, sizeof(box), secret.data), "not when damaged");
	secret.data[0] ^= 1;
	ok(!tide_device_unseal(message, box, sizeof(box), secret.data), "nor by another device");
}

static void
test_backup(void)
{
	unsigned char secret[TIDE_DEVICE_SECRET_LEN] = {1, 2, 3};
	unsigned char out[TIDE_DEVICE_SECRET_LEN];
	unsigned char backup[TIDE_BACKUP_LEN];

	ok(tide_backup_make(backup, secret, "pass", 4, 1, 8192) == TIDE_BACKUP_OK &&
	   tide_backup_open(out, backup, sizeof(backup), "pass", 4) == TIDE_BACKUP_OK &&
	   memcmp(out, secret, sizeof(out)) == 0, "a backup opens with its passphrase");
	ok(tide_backup_open(out, backup, sizeof(backup), "pasS", 4) == TIDE_BACKUP_WRONG, "not with another");
	backup[4] = 2;
	ok(tide_backup_open(out, backup, sizeof(backup), "pass", 4) == TIDE_BACKUP_WRONG, "nor with other limits");
	backup[5] = 1;
	ok(tide_backup_open(out, backup, sizeof(backup), "pass", 4) == TIDE_BACKUP_BAD, "limits have bounds");
	ok(tide_backup_make(backup, secret, "pass", 4, 0, 8192) == TIDE_BACKUP_BAD, "on both sides");
}

int
main(void)
{
	if (sodium_init() < 0)
		return 2;
	test_chacha20_poly1305();
	test_envelope();
	test_ed25519();
	test_x25519();
	test_argon2id();
	test_device();
	test_backup();
	printf("1..%d\n", count);
	return failed != 0;
}
