/*
 * errors.h
 *	  SQLSTATEs clients branch on. Core's codes are used wherever one fits.
 */
#ifndef TIDE_ERRORS_H
#define TIDE_ERRORS_H

#include "utils/errcodes.h"

/* a wait ran out of time: tide.sync, tide.start */
#define TIDE_ERRCODE_TIMEOUT			ERRCODE_QUERY_CANCELED
/* malformed request, option or definition: names the field */
#define TIDE_ERRCODE_BAD_REQUEST		ERRCODE_INVALID_PARAMETER_VALUE
/* the ingest is not in the state the call needs */
#define TIDE_ERRCODE_NOT_RUNNING		ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
/* authentication: one code and one message for every cause */
#define TIDE_ERRCODE_AUTH				ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
/* policy reject: the server's values are not those the client wrote over */
#define TIDE_ERRCODE_CONFLICT			MAKE_SQLSTATE('T','D','0','0','1')

/* a hybrid logical clock is too far ahead of the server's time */
#define TIDE_ERRCODE_CLOCK_AHEAD		ERRCODE_DATETIME_VALUE_OUT_OF_RANGE

#endif							/* TIDE_ERRORS_H */
