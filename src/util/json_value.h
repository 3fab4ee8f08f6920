/*
 * json_value.h
 *	  One value to JSON, with everything about its type looked up before.
 *	  Behind json_writer.h; nothing else uses it.
 */
#ifndef TIDE_JSON_VALUE_H
#define TIDE_JSON_VALUE_H

#include "access/tupdesc.h"
#include "fmgr.h"

#include "util/json_writer.h"

typedef enum TideJsonKind
{
	TIDE_JSON_BOOL,
	TIDE_JSON_INT2,
	TIDE_JSON_INT4,
	TIDE_JSON_INT8,
	TIDE_JSON_FLOAT4,
	TIDE_JSON_FLOAT8,
	TIDE_JSON_NUMERIC,
	TIDE_JSON_TEXT,				/* output function is textout or an equal one */
	TIDE_JSON_UUID,
	TIDE_JSON_DATE,
	TIDE_JSON_TIMESTAMP,
	TIDE_JSON_TIMESTAMPTZ,
	TIDE_JSON_JSON,
	TIDE_JSON_JSONB,
	TIDE_JSON_ARRAY,
	TIDE_JSON_COMPOSITE,
	TIDE_JSON_CAST,				/* function is the cast to json */
	TIDE_JSON_OUTPUT			/* function is the output function */
} TideJsonKind;

typedef struct TideValueWriter
{
	TideJsonKind kind;
	TideJsonOptions options;
	FmgrInfo	function;		/* of kinds CAST and OUTPUT */
	MemoryContext context;		/* what hangs below lives here */

	/* arrays */
	struct TideValueWriter *element;
	int16		element_len;
	bool		element_byval;
	char		element_align;

	/* composites: fields are those of the row type seen last */
	MemoryContext fields_context;	/* reset when the row type changes */
	uint64		row_type_id;	/* of assign_record_type_identifier(); 0: none
								 * yet */
	TupleDesc	row_desc;
	TideRowWriter *fields;
	Datum	   *field_values;
	bool	   *field_nulls;
} TideValueWriter;

extern void tide_value_writer_init(TideValueWriter *writer, MemoryContext context,
								   Oid type, const TideJsonOptions *options);
extern void tide_value_write(TideValueWriter *writer, StringInfo out, Datum value);

#endif							/* TIDE_JSON_VALUE_H */
