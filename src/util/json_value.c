/*
 * json_value.c
 *	  One value to JSON, with everything about its type looked up before.
 *
 * Kinds follow to_jsonb(): domains are looked through; arrays and row types nest;
 * types with a cast to json go through it, if the cast is a C function. Casts in other languages
 * are passed over: pg_tide would run them with rights their authors do not have
 * (anybody may create an enum and a cast of it), and a decoder could not run them at all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "util/compat.h"
#include "util/json_value.h"

static void init_array(TideValueWriter *writer, Oid element_type);
static bool find_json_cast(Oid type, Oid *function);
static void init_output(TideValueWriter *writer, Oid type);
static void write_datetime(StringInfo out, Datum value, Oid type);
static void write_numeric(TideValueWriter *writer, StringInfo out, Datum value);
static void write_json(StringInfo out, struct varlena *json);
static void write_jsonb(StringInfo out, Jsonb *jsonb);
static void write_array(TideValueWriter *writer, StringInfo out, Datum value);
static void write_composite(TideValueWriter *writer, StringInfo out, Datum value);

/* the types with a kind of their own */
static const struct
{
	Oid			type;
	TideJsonKind kind;
}			builtin_kinds[] =

{
	{BOOLOID, TIDE_JSON_BOOL},
	{INT2OID, TIDE_JSON_INT2},
	{INT4OID, TIDE_JSON_INT4},
	{INT8OID, TIDE_JSON_INT8},
	{FLOAT4OID, TIDE_JSON_FLOAT4},
	{FLOAT8OID, TIDE_JSON_FLOAT8},
	{NUMERICOID, TIDE_JSON_NUMERIC},
	{TEXTOID, TIDE_JSON_TEXT},
	{VARCHAROID, TIDE_JSON_TEXT},
	{BPCHAROID, TIDE_JSON_TEXT},
	{UUIDOID, TIDE_JSON_UUID},
	{DATEOID, TIDE_JSON_DATE},
	{TIMESTAMPOID, TIDE_JSON_TIMESTAMP},
	{TIMESTAMPTZOID, TIDE_JSON_TIMESTAMPTZ},
	{JSONOID, TIDE_JSON_JSON},
	{JSONBOID, TIDE_JSON_JSONB},
};

/*
 * Set up a writer of values of the type; what it needs is allocated in
 * context, now or later.
 */
void
tide_value_writer_init(TideValueWriter *writer, MemoryContext context, Oid type,
					   const TideJsonOptions *options)
{
	Oid			base = getBaseType(type);
	Oid			element;

	check_stack_depth();
	memset(writer, 0, sizeof(*writer));
	writer->context = context;
	if (options)
		writer->options = *options;

	for (int i = 0; i < lengthof(builtin_kinds); i++)
	{
		if (builtin_kinds[i].type == base)
		{
			writer->kind = builtin_kinds[i].kind;
			return;
		}
	}

	element = get_element_type(base);
	if (base == RECORDARRAYOID)
		element = RECORDOID;
	if (OidIsValid(element))
		init_array(writer, element);
	else if (type_is_rowtype(base))
		writer->kind = TIDE_JSON_COMPOSITE;
	else
		init_output(writer, base);
}

static void
init_array(TideValueWriter *writer, Oid element_type)
{
	writer->kind = TIDE_JSON_ARRAY;
	get_typlenbyvalalign(element_type, &writer->element_len,
						 &writer->element_byval, &writer->element_align);
	writer->element = MemoryContextAlloc(writer->context, sizeof(TideValueWriter));
	tide_value_writer_init(writer->element, writer->context, element_type,
						   &writer->options);
}

/* the C function that casts an extension's type to json, if there is one */
static bool
find_json_cast(Oid type, Oid *function)
{
	HeapTuple	tuple;
	Oid			language;

	if (type < FirstNormalObjectId ||
		find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT,
							  function) != COERCION_PATH_FUNC ||
		!OidIsValid(*function))
		return false;

	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(*function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", *function);
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	ReleaseSysCache(tuple);
	return language == ClanguageId || language == INTERNALlanguageId;
}

static void
init_output(TideValueWriter *writer, Oid type)
{
	Oid			function;
	bool		is_varlena;

	if (find_json_cast(type, &function))
	{
		writer->kind = TIDE_JSON_CAST;
		fmgr_info_cxt(function, &writer->function, writer->context);
		return;
	}
	getTypeOutputInfo(type, &function, &is_varlena);
	fmgr_info_cxt(function, &writer->function, writer->context);

	/* citext and its like: the value is the text */
	if (is_varlena && writer->function.fn_addr == textout)
		writer->kind = TIDE_JSON_TEXT;
	else
		writer->kind = TIDE_JSON_OUTPUT;
}

/* Append the JSON of a value that is not null. */
void
tide_value_write(TideValueWriter *writer, StringInfo out, Datum value)
{
	struct varlena *text;
	bool		quoted;

	switch (writer->kind)
	{
		case TIDE_JSON_BOOL:
			if (DatumGetBool(value))
				tide_json_literal(out, "true");
			else
				tide_json_literal(out, "false");
			break;
		case TIDE_JSON_INT2:
			tide_json_reserve(out, 8);
			out->len += pg_itoa(DatumGetInt16(value), out->data + out->len);
			break;
		case TIDE_JSON_INT4:
			tide_json_reserve(out, 12);
			out->len += pg_ltoa(DatumGetInt32(value), out->data + out->len);
			break;
		case TIDE_JSON_INT8:
			quoted = writer->options.numbers_as_strings;
			if (quoted)
				tide_json_char(out, '"');
			tide_json_int64(out, DatumGetInt64(value));
			if (quoted)
				tide_json_char(out, '"');
			break;
		case TIDE_JSON_FLOAT4:
			tide_json_float4(out, DatumGetFloat4(value));
			break;
		case TIDE_JSON_FLOAT8:
			tide_json_float8(out, DatumGetFloat8(value));
			break;
		case TIDE_JSON_NUMERIC:
			write_numeric(writer, out, value);
			break;
		case TIDE_JSON_TEXT:
			text = PG_DETOAST_DATUM_PACKED(value);
			tide_json_string(out, VARDATA_ANY(text), (int) VARSIZE_ANY_EXHDR(text));
			break;
		case TIDE_JSON_UUID:
			tide_json_uuid(out, DatumGetUUIDP(value)->data);
			break;
		case TIDE_JSON_DATE:
			write_datetime(out, value, DATEOID);
			break;
		case TIDE_JSON_TIMESTAMP:
			write_datetime(out, value, TIMESTAMPOID);
			break;
		case TIDE_JSON_TIMESTAMPTZ:
			tide_json_timestamptz(out, DatumGetTimestampTz(value));
			break;
		case TIDE_JSON_JSON:
			write_json(out, PG_DETOAST_DATUM_PACKED(value));
			break;
		case TIDE_JSON_JSONB:
			write_jsonb(out, DatumGetJsonbP(value));
			break;
		case TIDE_JSON_ARRAY:
			write_array(writer, out, value);
			break;
		case TIDE_JSON_COMPOSITE:
			write_composite(writer, out, value);
			break;
		case TIDE_JSON_CAST:
			value = FunctionCall1(&writer->function, value);
			write_json(out, PG_DETOAST_DATUM_PACKED(value));
			break;
		case TIDE_JSON_OUTPUT:
			tide_json_cstring(out, OutputFunctionCall(&writer->function, value));
			break;
	}
}

static void
write_datetime(StringInfo out, Datum value, Oid type)
{
	char		buf[MAXDATELEN + 1];

	JsonEncodeDateTime(buf, value, type, NULL);
	tide_json_char(out, '"');
	tide_json_raw(out, buf, (int) strlen(buf));
	tide_json_char(out, '"');
}

static void
write_numeric(TideValueWriter *writer, StringInfo out, Datum value)
{
	char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	int			len = (int) strlen(digits);

	/* a number ends in a digit; NaN and Infinity do not */
	if (writer->options.numbers_as_strings ||
		digits[len - 1] < '0' || digits[len - 1] > '9')
		tide_json_string(out, digits, len);
	else
		tide_json_raw(out, digits, len);
}

/* line ends can stand between tokens only, where a blank means the same */
static void
write_json(StringInfo out, struct varlena *json)
{
	int			start = out->len;
	char	   *end;

	tide_json_raw(out, VARDATA_ANY(json), (int) VARSIZE_ANY_EXHDR(json));
	end = out->data + out->len;
	for (char *p = out->data + start; (p = memchr(p, '\n', end - p)) != NULL;)
		*p = ' ';
	for (char *p = out->data + start; (p = memchr(p, '\r', end - p)) != NULL;)
		*p = ' ';
}

static void
write_jsonb_scalar(StringInfo out, const JsonbValue *scalar)
{
	switch (scalar->type)
	{
		case jbvNull:
			tide_json_literal(out, "null");
			break;
		case jbvBool:
			if (scalar->val.boolean)
				tide_json_literal(out, "true");
			else
				tide_json_literal(out, "false");
			break;
		case jbvNumeric:
			{
				Datum		number = NumericGetDatum(scalar->val.numeric);
				char	   *digits = DatumGetCString(DirectFunctionCall1(numeric_out, number));

				tide_json_raw(out, digits, (int) strlen(digits));
				pfree(digits);
				break;
			}
		case jbvString:
			tide_json_string(out, scalar->val.string.val, scalar->val.string.len);
			break;
		default:
			elog(ERROR, "unexpected jsonb scalar of type %d", (int) scalar->type);
	}
}

/* JsonbToCString() without its blanks and without its calls per character */
static void
write_jsonb(StringInfo out, Jsonb *jsonb)
{
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	bool		comma = false;	/* something stands before on this level */
	bool		is_scalar = JB_ROOT_IS_SCALAR(jsonb);

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		bool		closes = token == WJB_END_ARRAY || token == WJB_END_OBJECT;

		/* a scalar is held in an array that is not shown */
		if (is_scalar && token != WJB_ELEM)
			continue;
		if (comma && !closes)
			tide_json_char(out, ',');
		comma = true;
		if (token == WJB_ELEM || token == WJB_VALUE)
			write_jsonb_scalar(out, &value);
		else if (token == WJB_KEY)
		{
			write_jsonb_scalar(out, &value);
			tide_json_char(out, ':');
			comma = false;
		}
		else if (closes)
			tide_json_char(out, token == WJB_END_ARRAY ? ']' : '}');
		else
		{
			tide_json_char(out, token == WJB_BEGIN_ARRAY ? '[' : '{');
			comma = false;
		}
	}
}

/* one dimension; *next is the index of the first element not yet written */
static void
write_dimension(TideValueWriter *writer, StringInfo out, int ndims, const int *dims,
				const Datum *elements, const bool *nulls, int *next)
{
	tide_json_char(out, '[');
	for (int i = 0; i < dims[0]; i++)
	{
		if (i > 0)
			tide_json_char(out, ',');
		if (ndims > 1)
			write_dimension(writer, out, ndims - 1, dims + 1, elements, nulls, next);
		else
		{
			if (nulls[*next])
				tide_json_literal(out, "null");
			else
				tide_value_write(writer->element, out, elements[*next]);
			(*next)++;
		}
	}
	tide_json_char(out, ']');
}

static void
write_array(TideValueWriter *writer, StringInfo out, Datum value)
{
	ArrayType  *array = DatumGetArrayTypeP(value);
	Datum	   *elements;
	bool	   *nulls;
	int			count;
	int			next = 0;

	check_stack_depth();
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) == 0)
	{
		tide_json_literal(out, "[]");
		return;
	}
	deconstruct_array(array, ARR_ELEMTYPE(array), writer->element_len,
					  writer->element_byval, writer->element_align,
					  &elements, &nulls, &count);
	write_dimension(writer, out, ARR_NDIM(array), ARR_DIMS(array), elements, nulls, &next);
}

/* prepare for another row type, or the same after ALTER TYPE */
static void
set_row_type(TideValueWriter *writer, Oid type, int32 typmod)
{
	MemoryContext old;
	AttrNumber *attnums;
	int			count = 0;

	if (writer->fields_context == NULL)
		writer->fields_context = AllocSetContextCreate(writer->context,
													   "tide json row type",
													   ALLOCSET_SMALL_SIZES);
	writer->row_type_id = 0;
	MemoryContextReset(writer->fields_context);

	old = MemoryContextSwitchTo(writer->fields_context);
	writer->row_desc = lookup_rowtype_tupdesc_copy(type, typmod);
	writer->field_values = palloc(sizeof(Datum) * (writer->row_desc->natts + 1));
	writer->field_nulls = palloc(sizeof(bool) * (writer->row_desc->natts + 1));
	attnums = palloc(sizeof(AttrNumber) * (writer->row_desc->natts + 1));
	for (int i = 0; i < writer->row_desc->natts; i++)
	{
		if (!TupleDescAttr(writer->row_desc, i)->attisdropped)
			attnums[count++] = i + 1;
	}
	writer->fields = tide_row_writer_create(writer->fields_context, writer->row_desc,
											attnums, NULL, count, &writer->options);
	MemoryContextSwitchTo(old);
	writer->row_type_id = assign_record_type_identifier(type, typmod);
}

static void
write_composite(TideValueWriter *writer, StringInfo out, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	Oid			type = HeapTupleHeaderGetTypeId(header);
	int32		typmod = HeapTupleHeaderGetTypMod(header);
	HeapTupleData tuple;

	check_stack_depth();
	if (writer->row_type_id == 0 ||
		writer->row_type_id != assign_record_type_identifier(type, typmod))
		set_row_type(writer, type, typmod);

	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, writer->row_desc, writer->field_values,
					  writer->field_nulls);
	tide_row_writer_write(writer->fields, out, writer->field_values,
						  writer->field_nulls, NULL);
}
