/*
 * bucket_key.h
 *	  Bucket keys: one canonical text per key part, so that equal values give equal text.
 */
#ifndef TIDE_BUCKET_KEY_H
#define TIDE_BUCKET_KEY_H

#include "catalog/shape.h"
#include "shape/request_value.h"

/* whether values of the type have a canonical text (equal values, equal text) */
extern bool tide_bucket_key_type_ok(Oid type, Oid collation);

/* how to turn one type's values to canonical text; lookups done once */
typedef struct TideKeyCodec TideKeyCodec;
extern TideKeyCodec *tide_key_codec_create(MemoryContext context, Oid type);
extern char *tide_key_codec_text(TideKeyCodec *codec, Datum value);

/*
 * The values a request gives for a key part with args: list of char *, sorted,
 * without doubles. A missing or null claim gives none; ERROR 22023 for values the type does not
 * accept. Under tide_settings_push().
 */
extern List *tide_key_part_values(const TideShapeRequest *request, const TideKeyPart *part);

/*
 * The keys of the first root's buckets a request is entitled to and asks for, where the request
 * alone decides that: list of text[] Datums (one element per key part), in key
 * order, without doubles. params and claims may be NULL (= {}). A missing parameter is
 * ERROR 22023 naming it, as are unknown parameters and values the type does not accept;
 * ERROR 0A000 if the node has lookups. pull/node_keys.h is for all nodes and lookups.
 */
extern List *tide_bucket_keys_resolve(const TideShape *shape, Jsonb *params, Jsonb *claims);

#endif							/* TIDE_BUCKET_KEY_H */
