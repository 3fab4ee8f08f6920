/*
 * json_writer.c
 *	  Rows to JSON text. Values are json_value.c's, strings json_text.c's.
 */
#include "postgres.h"

#include "nodes/bitmapset.h"
#include "utils/memutils.h"

#include "util/json_value.h"
#include "util/json_writer.h"

typedef struct RowColumn
{
	AttrNumber	attnum;
	int			prefix_len;
	char	   *prefix;			/* ,"name": with the comma */
	TideValueWriter value;
} RowColumn;

struct TideRowWriter
{
	int			ncolumns;
	RowColumn	columns[FLEXIBLE_ARRAY_MEMBER];
};

TideRowWriter *
tide_row_writer_create(MemoryContext context, TupleDesc desc,
					   const AttrNumber *attnums, const char *const *names,
					   int ncolumns, const TideJsonOptions *options)
{
	TideRowWriter *writer;
	MemoryContext old = MemoryContextSwitchTo(context);

	writer = palloc0(offsetof(TideRowWriter, columns) + sizeof(RowColumn) * ncolumns);
	writer->ncolumns = ncolumns;
	for (int i = 0; i < ncolumns; i++)
	{
		RowColumn  *column = &writer->columns[i];
		Form_pg_attribute attribute = TupleDescAttr(desc, attnums[i] - 1);
		const char *name = NameStr(attribute->attname);
		StringInfoData prefix;

		if (names != NULL && names[i] != NULL)
			name = names[i];
		initStringInfo(&prefix);
		tide_json_char(&prefix, ',');
		tide_json_cstring(&prefix, name);
		tide_json_char(&prefix, ':');

		column->attnum = attnums[i];
		column->prefix_len = prefix.len;
		column->prefix = palloc(prefix.len);
		memcpy(column->prefix, prefix.data, prefix.len);
		pfree(prefix.data);
		tide_value_writer_init(&column->value, context, attribute->atttypid, options);
	}
	MemoryContextSwitchTo(old);
	return writer;
}

void
tide_row_writer_write(TideRowWriter *writer, StringInfo out,
					  const Datum *values, const bool *nulls, const Bitmapset *skip)
{
	int			comma = 1;		/* the first column goes without */

	tide_json_char(out, '{');
	for (int i = 0; i < writer->ncolumns; i++)
	{
		RowColumn  *column = &writer->columns[i];
		int			index = column->attnum - 1;

		if (unlikely(skip != NULL) && bms_is_member(column->attnum, skip))
			continue;
		tide_json_raw(out, column->prefix + comma, column->prefix_len - comma);
		comma = 0;
		if (nulls[index])
			tide_json_literal(out, "null");
		else
			tide_value_write(&column->value, out, values[index]);
	}
	tide_json_char(out, '}');
}

void
tide_row_writer_value(TideRowWriter *writer, StringInfo out, int i,
					  Datum value, bool isnull)
{
	Assert(i >= 0 && i < writer->ncolumns);
	if (isnull)
		tide_json_literal(out, "null");
	else
		tide_value_write(&writer->columns[i].value, out, value);
}
