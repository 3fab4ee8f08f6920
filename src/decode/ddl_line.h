/*
 * ddl_line.h
 *	  The messages by which pg_tide's event triggers tell of DDL.
 */
#ifndef TIDE_DECODE_DDL_LINE_H
#define TIDE_DECODE_DDL_LINE_H

#include "lib/stringinfo.h"

/* the prefix of those messages; their content is one JSON object */
#define TIDE_DDL_PREFIX			"tide.ddl"

/*
 * Append the members of the object in content to out, without its braces, on one line,
 * with a comma before if there are any. False, and nothing appended, if content is not what the event
 * triggers write: anybody may send a message. Needs no transaction.
 */
extern bool tide_ddl_members(StringInfo out, const char *content, Size size);

#endif							/* TIDE_DECODE_DDL_LINE_H */
