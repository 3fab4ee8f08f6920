/*
 * json_writer.h
 *	  Rows to JSON text without catalog lookups or intermediate jsonb per row.
 *	  Serves the output plugin and tide.pull alike.
 *
 * The JSON of a row equals to_jsonb() of the same columns under the settings
 * of util/spi.h, as jsonb compares: numbers as numbers (NaN, infinities as strings),
 * booleans, json and jsonb embedded, arrays as arrays, composites as objects,
 * timestamps in ISO 8601, everything else as string of its output function;
 * types with a cast to json go through it if it is a C function (others would run
 * with rights their author lacks). Never contains a raw newline.
 */
#ifndef TIDE_JSON_WRITER_H
#define TIDE_JSON_WRITER_H

#include "access/tupdesc.h"
#include "nodes/bitmapset.h"

#include "util/json_text.h"

typedef struct TideJsonOptions
{
	bool		numbers_as_strings; /* int8 and numeric as JSON strings too */
} TideJsonOptions;

typedef struct TideRowWriter TideRowWriter;

/*
 * A writer for the given columns of desc, in the given order, allocated in
 * context. names[i] is the JSON member name, or NULL for the column's own
 * name. Does all catalog lookups now. attnums are 1-based.
 */
extern TideRowWriter *tide_row_writer_create(MemoryContext context, TupleDesc desc,
											 const AttrNumber *attnums, const char *const *names,
											 int ncolumns, const TideJsonOptions *options);

/*
 * Append {"name":value,...}. values and nulls are indexed by attnum - 1 of
 * desc, as heap_deform_tuple() gives them. Columns of skip (attnums, may be NULL) are
 * left out. Values may be toasted. Scratch memory comes from the current context.
 */
extern void tide_row_writer_write(TideRowWriter *writer, StringInfo out,
								  const Datum *values, const bool *nulls,
								  const Bitmapset *skip);

/* append one value of the writer's i-th column (0-based) */
extern void tide_row_writer_value(TideRowWriter *writer, StringInfo out, int i,
								  Datum value, bool isnull);

#endif							/* TIDE_JSON_WRITER_H */
