/*
 * canonical.h
 *	  One text for each JSON value, the same on every machine: what is signed and bound to ciphertext.
 */
#ifndef TIDE_CRYPTO_CANONICAL_H
#define TIDE_CRYPTO_CANONICAL_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/*
 * Append the canonical text of a value, in UTF-8. As RFC 8785, with numbers as exact decimals: members
 * sorted by the bytes of their names, no blanks, strings escaped no more than they must be, numbers without
 * exponent, leading or trailing zeros. Members of the outermost object of the name leave_out (may be
 * NULL) are left out.
 */
extern void tide_canonical_json(StringInfo out, Jsonb *value, const char *leave_out);

/*
 * Append what a signature is made of: "tide.<kind>.v1", a newline, and content in its canonical form.
 */
extern void tide_signed_message(StringInfo out, const char *kind, Jsonb *content);

/*
 * Append the associated data of an envelope: table|column|key, both names in UTF-8 with "\" and "|" written
 * "\\" and "\|", key in its canonical form. ERROR 22023 unless key is an object of at least one member.
 */
extern void tide_envelope_aad(StringInfo out, const char *table, const char *column, Jsonb *key);

#endif							/* TIDE_CRYPTO_CANONICAL_H */
