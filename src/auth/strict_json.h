/*
 * strict_json.h
 *	  JSON that somebody may have made to be read in two ways: one way or not at all.
 */
#ifndef TIDE_STRICT_JSON_H
#define TIDE_STRICT_JSON_H

#include "utils/jsonb.h"

/* must throw; cause is a sentence */
typedef void (*TideJsonRefuse) (const char *cause);

/*
 * The object that bytes, UTF-8, are. Refused: what is not JSON or no object, an object with two members
 * of one name at any depth, nesting deeper than max_depth, numbers of absurd exponents, what
 * the server encoding cannot hold. Result in the current context.
 */
extern Jsonb *tide_strict_json_object(const uint8 *bytes, int len, int max_depth,
									  TideJsonRefuse refuse);

/* member of an object; NULL if absent or null */
extern JsonbValue *tide_json_member(Jsonb *object, const char *name);

/* a string's text, palloc'd; NULL if value is NULL or not a string */
extern char *tide_json_string_value(const JsonbValue *value);

#endif							/* TIDE_STRICT_JSON_H */
