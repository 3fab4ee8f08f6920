/*
 * type_labels.h
 *	  Names within types: labels of enums, attributes of composite types.
 *
 * They are part of a row's JSON, and can be renamed without any trace in the table.
 */
#ifndef TIDE_TYPE_LABELS_H
#define TIDE_TYPE_LABELS_H

#include "nodes/pg_list.h"

typedef enum TideLabelsDiffer
{
	TIDE_LABELS_SAME,
	TIDE_LABELS_ADDED,			/* or gone */
	TIDE_LABELS_RENAMED
} TideLabelsDiffer;

/* list with the labels of a type and of the types within it appended: "what=name" */
extern List *tide_type_labels(List *labels, Oid type);

extern TideLabelsDiffer tide_labels_compare(List *was, List *is);

#endif							/* TIDE_TYPE_LABELS_H */
