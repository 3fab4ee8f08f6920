/*
 * type_labels.c
 *	  Names within types: labels of enums, attributes of composite types.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "ingest/type_labels.h"

static List *
enum_labels(List *labels, Oid type)
{
	CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

		labels = lappend(labels, psprintf("%u=%s", label->oid, NameStr(label->enumlabel)));
	}
	ReleaseSysCacheList(list);
	return labels;
}

static List *
attribute_labels(List *labels, Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	AttrNumber	natts = 0;

	if (HeapTupleIsValid(tuple))
	{
		natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
		ReleaseSysCache(tuple);
	}
	for (AttrNumber attnum = 1; attnum <= natts; attnum++)
	{
		Oid			type;

		tuple = SearchSysCacheAttNum(relid, attnum);
		if (!HeapTupleIsValid(tuple))
			continue;			/* dropped */
		type = ((Form_pg_attribute) GETSTRUCT(tuple))->atttypid;
		labels = lappend(labels, psprintf("%u.%d=%s", relid, attnum,
										  NameStr(((Form_pg_attribute) GETSTRUCT(tuple))->attname)));
		ReleaseSysCache(tuple);
		labels = tide_type_labels(labels, type);
	}
	return labels;
}

List *
tide_type_labels(List *labels, Oid type)
{
	HeapTuple	tuple;
	FormData_pg_type form;

	check_stack_depth();
	if (type < FirstNormalObjectId)
		return labels;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		return labels;			/* gone */
	form = *(Form_pg_type) GETSTRUCT(tuple);
	ReleaseSysCache(tuple);
	switch (form.typtype)
	{
		case TYPTYPE_ENUM:
			return enum_labels(labels, type);
		case TYPTYPE_COMPOSITE:
			return attribute_labels(labels, form.typrelid);
		case TYPTYPE_DOMAIN:
			return tide_type_labels(labels, form.typbasetype);
		case TYPTYPE_RANGE:
			return tide_type_labels(labels, get_range_subtype(type));
		case TYPTYPE_MULTIRANGE:
			return tide_type_labels(labels, get_multirange_range(type));
		default:
			return tide_type_labels(labels, form.typelem);
	}
}

/* the label that names the same thing, or NULL */
static const char *
find_label(List *labels, const char *label)
{
	int			length = strchr(label, '=') - label + 1;
	ListCell   *lc;

	foreach(lc, labels)
	{
		if (strncmp(lfirst(lc), label, length) == 0)
			return lfirst(lc);
	}
	return NULL;
}

TideLabelsDiffer
tide_labels_compare(List *was, List *is)
{
	TideLabelsDiffer result = list_length(was) == list_length(is) ? TIDE_LABELS_SAME :
	TIDE_LABELS_ADDED;
	ListCell   *lc;

	foreach(lc, is)
	{
		const char *label = find_label(was, lfirst(lc));

		if (label == NULL)
			result = TIDE_LABELS_ADDED;
		else if (strcmp(label, lfirst(lc)) != 0)
			return TIDE_LABELS_RENAMED;
	}
	return result;
}
