/*
 * node_form.h
 *	  Compiled nodes as rows of tide_internal.shape_nodes, both ways.
 */
#ifndef TIDE_NODE_FORM_H
#define TIDE_NODE_FORM_H

#include "catalog/shape.h"

/* columns as sql/install/10_tables.sql creates them */
enum
{
	Anum_nodes_shape_id = 1,
	Anum_nodes_node_id,
	Anum_nodes_source_id,
	Anum_nodes_parent_id,
	Anum_nodes_path,
	Anum_nodes_attnums,
	Anum_nodes_filter,
	Anum_nodes_keys,
	Anum_nodes_key_args,
	Anum_nodes_join_on,
	Anum_nodes_subfilter,
	Anum_nodes_lookups,
	Anum_nodes_order_by,
	Anum_nodes_row_limit,
	Anum_nodes_windows,
	Anum_nodes_details,
	Natts_nodes = Anum_nodes_details
};

/* as smallint[] */
extern Datum tide_attnums_datum(const AttrNumber *attnums, int count);

/* nulls as SPI takes them: 'n' or ' ' */
extern void tide_node_form(int shape_id, const TideShapeNode *node, Datum *values, char *nulls);

/* all but relid; trees are handed to stringToNode(), so the row must be trusted */
extern TideShapeNode *tide_node_deform(const Datum *values, const bool *nulls);

#endif							/* TIDE_NODE_FORM_H */
