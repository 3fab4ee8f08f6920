/*
 * crypto.c
 *	  Fuzzes the parsers of src/crypto: envelopes, their text, boxes, signatures, backups. Every input is of a
 *	  block of memory of just its size, for AddressSanitizer to notice what looks beyond.
 *	  usage: crypto seconds|0 inputs|0 seed
 *
 * What must hold for each input is said where it is checked; a failure aborts with the seed.
 * test/sanitize.sh builds and runs it.
 */
#include <sodium.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "postgres_ext.h"
#include "crypto/device.h"
#include "crypto/envelope.h"
#include "crypto/passphrase.h"

/* of crypto/base64url.h, which is for the server's own types */
extern bool tide_base64url_decode(const char *text, size_t len, uint8_t *out, size_t size,
								  size_t *outlen);
extern char *tide_base64url_encode(const uint8_t *bytes, size_t len);
void	   *palloc(size_t size);

void *
palloc(size_t size)
{
	return malloc(size);
}

static uint64_t state;
static unsigned long seed;
static unsigned long long ninputs = 0;
static unsigned long long naccepted = 0;

/* splitmix64 */
static uint64_t
next(void)
{
	uint64_t	z = (state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static size_t
below(size_t n)
{
	return n ? next() % n : 0;
}

static void
must(int condition, const char *what)
{
	if (condition)
		return;
	printf("FAILED: %s, input %llu of seed %lu\n", what, ninputs, seed);
	fflush(stdout);
	abort();
}

/* a copy of bytes with up to three changes, in a block of its size */
static unsigned char *
mutant(const unsigned char *bytes, size_t len, size_t *out_len, const char *alphabet)
{
	size_t		max = len + 64;
	unsigned char *work = malloc(max);
	unsigned char *result;
	int			changes = below(4);

	memcpy(work, bytes, len);
	*out_len = len;
	for (int i = 0; i < changes; i++)
	{
		size_t		at = below(*out_len + 1);
		size_t		n = below(20);

		switch (below(6))
		{
			case 0:
				*out_len = at;
				break;
			case 1:
				if (at < *out_len)
					work[at] ^= 1 << below(8);
				break;
			case 2:
				if (at < *out_len)
					work[at] = alphabet ? alphabet[below(strlen(alphabet))] : next();
				break;
			case 3:
				n = n < *out_len - at ? n : *out_len - at;
				memmove(work + at, work + at + n, *out_len - at - n);
				*out_len -= n;
				break;
			case 4:
				n = n < max - *out_len ? n : max - *out_len;
				memmove(work + at + n, work + at, *out_len - at);
				for (size_t j = 0; j < n; j++)
					work[at + j] = alphabet ? alphabet[below(strlen(alphabet))] : next();
				*out_len += n;
				break;
			case 5:
				if (*out_len > 0)
					work[0] = next();
				break;
		}
	}
	result = malloc(*out_len);
	if (*out_len > 0)
		memcpy(result, work, *out_len);
	free(work);
	ninputs++;
	return result;
}

typedef struct Samples
{
	unsigned char data_key[TIDE_DATA_KEY_LEN];
	unsigned char secret[TIDE_DEVICE_SECRET_LEN];
	unsigned char sign_key[TIDE_PUBLIC_KEY_LEN];
	unsigned char plaintext[80];
	size_t		plaintext_len;
	unsigned char envelope[80 + TIDE_ENVELOPE_OVERHEAD];
	size_t		envelope_len;
	char	   *text;
	unsigned char box[80 + TIDE_SEAL_OVERHEAD];
	unsigned char signature[TIDE_SIGNATURE_LEN];
	unsigned char backup[TIDE_BACKUP_LEN];
} Samples;

static void
fill(Samples *s)
{
	unsigned char box_key[TIDE_PUBLIC_KEY_LEN];

	tide_data_key_generate(s->data_key);
	tide_device_secret_generate(s->secret);
	tide_device_public_keys(box_key, s->sign_key, s->secret);
	s->plaintext_len = below(sizeof(s->plaintext) + 1);
	randombytes_buf(s->plaintext, s->plaintext_len);
	tide_envelope_seal(s->envelope, s->plaintext, s->plaintext_len, (unsigned char *) "a|b|{}", 6, s->data_key);
	s->envelope_len = s->plaintext_len + TIDE_ENVELOPE_OVERHEAD;
	free(s->text);
	s->text = tide_base64url_encode(s->envelope, s->envelope_len);
	must(tide_device_seal(s->box, s->plaintext, s->plaintext_len, box_key), "a box is made");
	tide_device_sign(s->signature, s->plaintext, s->plaintext_len, s->secret);
	must(tide_backup_make(s->backup, s->secret, "p", 1, 1, 8192) == TIDE_BACKUP_OK, "a backup is made");
}

/* an envelope opens if and only if it is the one that was sealed */
static void
fuzz_envelope(const Samples *s)
{
	size_t		len;
	unsigned char *input = mutant(s->envelope, s->envelope_len, &len, NULL);
	unsigned char *out = malloc(len > TIDE_ENVELOPE_OVERHEAD ? len - TIDE_ENVELOPE_OVERHEAD : 0);
	bool		is_same = len == s->envelope_len && memcmp(input, s->envelope, len) == 0;
	bool		opens = tide_envelope_open(out, input, len, (unsigned char *) "a|b|{}", 6, s->data_key);

	must(opens == is_same, "only the envelope itself opens");
	must(!opens || (tide_envelope_is_valid(input, len) && memcmp(out, s->plaintext, s->plaintext_len) == 0),
		 "to what was sealed");
	naccepted += opens;
	free(out);
	free(input);
}

/* text is valid if and only if it decodes to a valid envelope, and each value has one text */
static void
fuzz_text(const Samples *s)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_-_-_+/= \n\"\\\x80\xff";
	size_t		len;
	char	   *input = (char *) mutant((unsigned char *) s->text, strlen(s->text), &len, alphabet);
	uint8_t    *bytes = malloc(len + 1);
	size_t		bytes_len = 0;
	bool		decodes = tide_base64url_decode(input, len, bytes, len + 1, &bytes_len);

	must(tide_envelope_text_is_valid(input, len) ==
		 (decodes && tide_envelope_is_valid(bytes, bytes_len)), "valid text is text of an envelope");
	if (decodes)
	{
		char	   *again = tide_base64url_encode(bytes, bytes_len);

		must(strlen(again) == len && memcmp(again, input, len) == 0, "a value has one text");
		naccepted++;
		free(again);
	}
	free(bytes);
	free(input);
}

/* long texts go through in steps: the same verdict as at once */
static void
fuzz_long_text(void)
{
	size_t		n = 700 + below(1700);
	uint8_t    *bytes = malloc(n);
	char	   *text;
	char	   *input;
	size_t		len;
	size_t		out_len;
	uint8_t    *out;

	randombytes_buf(bytes, n);
	bytes[0] = TIDE_ENVELOPE_VERSION;
	text = tide_base64url_encode(bytes, n);
	input = (char *) mutant((unsigned char *) text, strlen(text), &len, "A-_=B \n");
	out = malloc(len + 1);
	must(tide_envelope_text_is_valid(input, len) ==
		 (tide_base64url_decode(input, len, out, len + 1, &out_len) && tide_envelope_is_valid(out, out_len)),
		 "a long text is judged as a short one");
	free(out);
	free(input);
	free(text);
	free(bytes);
}

static void
fuzz_box(const Samples *s)
{
	size_t		box_len = s->plaintext_len + TIDE_SEAL_OVERHEAD;
	size_t		len;
	unsigned char *input = mutant(s->box, box_len, &len, NULL);
	unsigned char *out = malloc(len > TIDE_SEAL_OVERHEAD ? len - TIDE_SEAL_OVERHEAD : 0);
	bool		opens = tide_device_unseal(out, input, len, s->secret);

	/* the last bit of an X25519 key means nothing */
	if (len == box_len && len > 31)
		must(opens == (memcmp(input, s->box, len) == 0) || (opens && (input[31] ^ s->box[31]) == 0x80),
			 "only the box itself opens");
	else
		must(!opens, "a box of another length does not open");
	free(out);
	free(input);
}

static void
fuzz_signature(const Samples *s)
{
	size_t		len;
	unsigned char *input = mutant(s->signature, sizeof(s->signature), &len, NULL);

	if (len >= TIDE_SIGNATURE_LEN)
		must(tide_signature_is_valid(input, s->plaintext, s->plaintext_len, s->sign_key) ==
			 (memcmp(input, s->signature, TIDE_SIGNATURE_LEN) == 0), "only the signature itself is valid");
	free(input);
}

static void
fuzz_backup(const Samples *s)
{
	unsigned char secret[TIDE_DEVICE_SECRET_LEN];
	size_t		len;
	unsigned char *input = mutant(s->backup, sizeof(s->backup), &len, NULL);
	bool		is_same = len == sizeof(s->backup) && memcmp(input, s->backup, len) == 0;

	/* opening takes as long as the limits say: of those made, and of none too large */
	if (!tide_backup_is_valid(input, len))
		must(tide_backup_open(secret, input, len, "p", 1) == TIDE_BACKUP_BAD, "limits are checked first");
	else if (memcmp(input, s->backup, 13) == 0 && below(20) == 0)
		must((tide_backup_open(secret, input, len, "p", 1) == TIDE_BACKUP_OK) == is_same,
			 "only the backup itself opens");
	free(input);
}

int
main(int argc, char **argv)
{
	Samples		samples = {.text = NULL};
	double		seconds = argc > 1 ? atof(argv[1]) : 0;
	unsigned long long inputs = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	time_t		until = time(NULL) + seconds;

	seed = argc > 3 ? strtoul(argv[3], NULL, 10) : (unsigned long) time(NULL);
	state = seed;
	if (sodium_init() < 0)
		return 2;
	printf("crypto.c: seed %lu\n", seed);
	for (unsigned long long round = 0; seconds > 0 ? time(NULL) < until : ninputs < inputs; round++)
	{
		if (round % 500 == 0)
			fill(&samples);
		for (int i = 0; i < 20; i++)
		{
			fuzz_envelope(&samples);
			fuzz_text(&samples);
		}
		fuzz_long_text();
		if (round % 10 == 0)
		{
			fuzz_box(&samples);
			fuzz_signature(&samples);
			fuzz_backup(&samples);
		}
	}
	free(samples.text);
	printf("%llu inputs, %llu of them accepted\n", ninputs, naccepted);
	/* a driver that only ever meets the first check proves nothing */
	if (naccepted < ninputs / 20 || naccepted > ninputs / 20 * 19)
	{
		printf("too few inputs are taken, or refused\n");
		return 1;
	}
	return 0;
}
