/*
 * table_pattern.h
 *	  Lists of schema.table with "*" for any characters.
 */
#ifndef TIDE_DECODE_TABLE_PATTERN_H
#define TIDE_DECODE_TABLE_PATTERN_H

#include "nodes/pg_list.h"

typedef struct TideTablePattern
{
	char	   *schema;
	char	   *table;
} TideTablePattern;

/*
 * Parse "schema.table, other.*, "Quoted"."Name"" as SQL identifiers: what is not
 * quoted is folded to lower case. List of TideTablePattern in the current context;
 * ERROR 22023 naming the option if malformed.
 */
extern List *tide_table_patterns_parse(const char *option, const char *value);

extern bool tide_table_patterns_match(const List *patterns, const char *schema,
									  const char *table);

#endif							/* TIDE_DECODE_TABLE_PATTERN_H */
