/*
 * missing.h
 *	  What compiled shapes speak of that has been dropped since: until the ingest has read of it,
 *	  and had the shapes compiled again, they are as they were.
 */
#ifndef TIDE_MISSING_H
#define TIDE_MISSING_H

#include "nodes/nodes.h"

#include "catalog/shape.h"

extern bool tide_type_exists(Oid type);

/* ERROR 55000 unless the type exists; for who answers requests */
extern void tide_type_require(Oid type);

/* what is missing of an expression or Query, for people; NULL: nothing */
extern const char *tide_missing_text(Node *node);

/* the same for all of a node but its lookups */
extern const char *tide_node_missing_text(const TideShapeNode *node);

#endif							/* TIDE_MISSING_H */
