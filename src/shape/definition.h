/*
 * definition.h
 *	  A shape's definition as its author wrote it: JSON fields, nothing looked up.
 */
#ifndef TIDE_SHAPE_DEFINITION_H
#define TIDE_SHAPE_DEFINITION_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct TideShapeDefinition
{
	char	   *table;
	char	   *where;			/* NULL if absent */
	bool		has_columns;
	List	   *columns;		/* of char *, as written */
} TideShapeDefinition;

/* ERROR 22023 naming the field, 0A000 for fields of later versions */
extern TideShapeDefinition *tide_shape_definition_read(Jsonb *json);

#endif							/* TIDE_SHAPE_DEFINITION_H */
