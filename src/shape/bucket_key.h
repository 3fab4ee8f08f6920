/*
 * bucket_key.h
 *	  Bucket keys: one canonical text per key part, so that equal values give equal text.
 */
#ifndef TIDE_BUCKET_KEY_H
#define TIDE_BUCKET_KEY_H

#include "catalog/shape.h"

/* whether values of the type have a canonical text (equal values, equal text) */
extern bool tide_bucket_key_type_ok(Oid type, Oid collation);

/* how to turn one type's values to canonical text; lookups done once */
typedef struct TideKeyCodec TideKeyCodec;
extern TideKeyCodec *tide_key_codec_create(MemoryContext context, Oid type);
extern char *tide_key_codec_text(TideKeyCodec *codec, Datum value);

/*
 * The keys a request is entitled to and asks for: list of text[] Datums (one
 * element per key part), in key order, without doubles. params and claims may be
 * NULL (= {}). A missing or null claim gives no key at all; a missing parameter is ERROR
 * 22023 naming it, as are unknown parameters and values the type does not accept.
 */
extern List *tide_bucket_keys_resolve(const TideShape *shape, Jsonb *params, Jsonb *claims);

#endif							/* TIDE_BUCKET_KEY_H */
