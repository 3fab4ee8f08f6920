/*
 * key_split.h
 *	  Takes a typed "where" apart into row filter and bucket key.
 */
#ifndef TIDE_SHAPE_KEY_SPLIT_H
#define TIDE_SHAPE_KEY_SPLIT_H

#include "shape/expr.h"

/*
 * Split the conjuncts of expr: those without Param make *filter (NULL if none), each
 * of the others one TideKeyPart of *key_parts. ERROR 42P17 with its
 * place for a parameter no bucket key can be made of. Both are planned.
 */
extern void tide_key_split(TideExpr *expr, Node **filter, List **key_parts);

#endif							/* TIDE_SHAPE_KEY_SPLIT_H */
