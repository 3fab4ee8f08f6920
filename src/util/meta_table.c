/*
 * meta_table.c
 *	  Direct access to the tables of schema tide_internal.
 *
 * Name lookups go through the syscache each time (two hash probes), so a dropped and
 * re-created extension needs no invalidation here.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "utils/lsyscache.h"

#include "util/meta_table.h"

Oid
tide_meta_relid(const char *name)
{
	Oid			nspid = get_namespace_oid("tide_internal", true);
	Oid			relid = OidIsValid(nspid) ? get_relname_relid(name, nspid) : InvalidOid;

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("extension \"%s\" is not installed in this database", "pg_tide"),
				 errdetail("Relation \"tide_internal.%s\" does not exist.", name),
				 errhint("Use CREATE EXTENSION pg_tide.")));
	return relid;
}

Relation
tide_meta_open(const char *name, LOCKMODE lockmode)
{
	return table_open(tide_meta_relid(name), lockmode);
}
