/*
 * dialect.h
 *	  What differs between the databases a client schema can be for: its template
 *	  (sql/client/<name>.sql), how names and literals are written, and how types map.
 */
#ifndef TIDE_CLIENT_DIALECT_H
#define TIDE_CLIENT_DIALECT_H

#include "client/model.h"

/*
 * How values of a class become JSON text (enc, of %v) and come out of a JSON object
 * (dec, of object %v at path %p).
 */
typedef struct TideDialectClass
{
	const char *type;
	const char *collation;		/* NULL for the usual one */
	const char *enc;
	const char *dec;
} TideDialectClass;

typedef struct TideDialect
{
	const char *name;
	const char *template;		/* see template.h */
	bool		has_schemas;	/* else schema_table names tables outside
								 * public */
	bool		folds_case;		/* names that differ in case only are the same */
	const TideDialectClass *classes;	/* TIDE_CLIENT_NCLASSES of them, or
										 * NULL */

	char	   *(*quote_identifier) (const char *name);
	char	   *(*quote_literal) (const char *text);
	char	   *(*column_type) (const TideClientColumn *column);
	char	   *(*json_path) (const char *name);	/* literal of the path to
													 * a member */
} TideDialect;

/* ERROR 22023 listing the valid ones if there is none of that name */
extern const TideDialect *tide_dialect_find(const char *name);

/* the client's names, unquoted: of a table's view, and with a suffix of what is behind it */
extern char *tide_dialect_table_name(const TideDialect *dialect, const TideClientTable *table,
									 const char *suffix);

/* ERROR where two objects of the client would have the same name, or a name cannot be had */
extern void tide_dialect_check_names(const TideDialect *dialect, List *tables);

#endif							/* TIDE_CLIENT_DIALECT_H */
