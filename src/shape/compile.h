/*
 * compile.h
 *	  From a shape's definition to its checked, typed form.
 */
#ifndef TIDE_SHAPE_COMPILE_H
#define TIDE_SHAPE_COMPILE_H

#include "catalog/shape.h"

/*
 * Parse, type and check a definition as the current user, without touching
 * any table. SQLSTATEs: 22023 malformed definition (the field is named), 42xxx from
 * PostgreSQL's parser, 42704/42P01 unknown objects, 42501 no SELECT right, 0A000
 * not supported, 42P17 not allowed (volatile, parameter in a wrong place).
 * name is for messages. source_id of the nodes is 0. Result in the current context.
 */
extern TideShape *tide_shape_compile(const char *name, Jsonb *definition);

/* a shape's name as an argument of SQL functions; ERROR 22023 if it is NULL, empty or too long */
extern char *tide_shape_name(const text * name);

#endif							/* TIDE_SHAPE_COMPILE_H */
