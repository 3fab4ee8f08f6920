/*
 * definition.h
 *	  A shape's definition as its author wrote it: JSON fields, nothing looked up.
 */
#ifndef TIDE_SHAPE_DEFINITION_H
#define TIDE_SHAPE_DEFINITION_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* a table of the tree, with what hangs from it */
typedef struct TideShapeDefinition
{
	char	   *name;			/* of the include; NULL for the root */
	char	   *path;			/* include names joined by '.', "" for the
								 * root */
	char	   *table;
	char	   *where;			/* NULL if absent, as are on and order_by */
	char	   *on;
	char	   *order_by;
	int64		row_limit;		/* 0 if absent */
	bool		has_columns;
	List	   *columns;		/* of char *, as written */
	List	   *encrypted;		/* of char *, as written */
	List	   *includes;		/* of TideShapeDefinition */
} TideShapeDefinition;

/*
 * ERROR 22023 naming the field (include.steps.on), 54000 if it is too large.
 */
extern TideShapeDefinition *tide_shape_definition_read(Jsonb *json);

/* the full name of a field of a definition: include.steps.on */
extern char *tide_shape_field_name(const TideShapeDefinition *definition, const char *field);

#endif							/* TIDE_SHAPE_DEFINITION_H */
