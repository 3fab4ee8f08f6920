/*
 * json_read.h
 *	  Scalars out of JSON that somebody else wrote.
 */
#ifndef TIDE_JSON_READ_H
#define TIDE_JSON_READ_H

#include "utils/jsonb.h"

/*
 * Whole number of a JSON value; false if it is none that fits, or written with a point. Nothing is
 * allocated that stays, and little at all: 1e131071 has 8 bytes and would be a text of 131072.
 */
extern bool tide_jsonb_int64(const JsonbValue *value, int64 *result);

#endif							/* TIDE_JSON_READ_H */
