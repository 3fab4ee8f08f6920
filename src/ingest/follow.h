/*
 * follow.h
 *	  Definitions that follow their tables and columns when those are renamed.
 */
#ifndef TIDE_FOLLOW_H
#define TIDE_FOLLOW_H

#include "catalog/shape_catalog.h"

/*
 * Write new names into the stored definition of a shape on the source, whose table
 * is locked if it exists. What cannot be followed is left for the compiler to
 * refuse. In a transaction of the ingest.
 */
extern void tide_definition_follow(const TideShape *shape, const TideSource *source);

/*
 * The same before the source's own turn, for a shape that another of its tables is rebuilt for; not where that would be
 * wrong to do again, as columns have swapped names.
 */
extern void tide_definition_follow_early(const TideShape *shape, const TideSource *source);

#endif							/* TIDE_FOLLOW_H */
