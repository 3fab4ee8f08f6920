/*
 * request_value.h
 *	  What a request gives for params.<name> and claims.<name>, as typed values.
 */
#ifndef TIDE_REQUEST_VALUE_H
#define TIDE_REQUEST_VALUE_H

#include "fmgr.h"

#include "catalog/shape.h"

/* a request for a shape; params and claims may be NULL (= {}) */
typedef struct TideShapeRequest
{
	const TideShape *shape;
	Jsonb	   *params;
	Jsonb	   *claims;
} TideShapeRequest;

/* a name in params or claims */
typedef struct TideValueName
{
	bool		is_claim;
	const char *name;
} TideValueName;

/* reads JSON values of one type; in the current context */
typedef struct TideValueReader
{
	const TideShapeRequest *request;
	Oid			type;
	Oid			io_param;
	FmgrInfo	input;
} TideValueReader;

extern void tide_value_reader_init(TideValueReader *reader,
								   const TideShapeRequest *request, Oid type);

/*
 * The request's value of a name; false if it is absent or null. ERROR 22023 if it is an
 * absent parameter.
 */
extern bool tide_request_value_find(const TideShapeRequest *request, TideValueName name,
									JsonbValue *json);

/* a string, number or boolean as the reader's type; ERROR 22023 naming it if it is none */
extern Datum tide_request_value_scalar(TideValueReader *reader, TideValueName name,
									   JsonbValue *json);

/* ERROR 22023 unless the value is an array */
extern JsonbContainer *tide_request_value_array(const TideShapeRequest *request,
												TideValueName name, JsonbValue *json);

/*
 * The value of a name as type, for a query: of an array type from a JSON array, of type jsonb
 * as it is. Absent and null are NULL.
 */
extern Datum tide_request_value_read(const TideShapeRequest *request, TideValueName name,
									 Oid type, bool *isnull);

/*
 * ERROR 22023 naming it for a parameter that the shape does not have, or that
 * the shape needs and the request lacks.
 */
extern void tide_request_check_params(const TideShapeRequest *request);

#endif							/* TIDE_REQUEST_VALUE_H */
