/*
 * follow_text.h
 *	  Names in the texts of a definition that follow a renamed table and its columns.
 */
#ifndef TIDE_FOLLOW_TEXT_H
#define TIDE_FOLLOW_TEXT_H

#include "catalog/shape_catalog.h"
#include "nodes/primnodes.h"

/* what a source was called when it was copied, and what it is called now */
typedef struct TideRenames
{
	const TideSource *source;
	int			n;				/* renamed columns */
	const char **was;
	const char **is;
	const char *schema_was;
	const char *table_was;
	const char *table_is;
	const char *qualified_is;
} TideRenames;

/* a table by a name that a text may call it */
typedef struct TideNamedTable
{
	const char *name;
	Oid			relid;
	bool		by_table;		/* it is the table's own name, and no alias */
} TideNamedTable;

extern void tide_renames_find(const TideSource *source, TideRenames *renames);

/*
 * The table that a name means, looked up as the current user; the source if it means nothing any more and
 * was the source's. *is_lost: the latter. InvalidOid if there is none.
 */
extern Oid	tide_renames_resolve(const TideRenames *renames, const RangeVar *name, bool *is_lost);

/*
 * A text with new names in place of old ones; NULL if it has none, or it cannot be told where. tables: of TideNamedTable that
 * its own level knows, the first of a name counts; prefix: what the text is parsed after.
 */
extern char *tide_follow_text(const char *text, const char *prefix, List *tables,
							  const TideRenames *renames);

#endif							/* TIDE_FOLLOW_TEXT_H */
