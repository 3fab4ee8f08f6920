/*
 * owner_rights.h
 *	  Whether a shape's owner may still read what his shape shows.
 */
#ifndef TIDE_OWNER_RIGHTS_H
#define TIDE_OWNER_RIGHTS_H

#include "catalog/shape.h"

/*
 * What tide_shape_check_rights() asks when a shape is created, asked again: SELECT on every column shown
 * or used, and no row-level security that applies to the owner. Looks at system caches only, so
 * it is cheap enough for each pull. Tables must not be locked.
 */
extern bool tide_shape_owner_may_read(const TideShape *shape);

#endif							/* TIDE_OWNER_RIGHTS_H */
