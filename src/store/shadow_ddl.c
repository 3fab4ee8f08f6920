/*
 * shadow_ddl.c
 *	  Definition of shadow tables and change logs.
 *
 * The columns have the source's types and collations and no constraints, so that no
 * user code runs when rows are written. Nobody but the extension's owner has any
 * right on them. They are members of the extension: pg_dump leaves them out, DROP
 * EXTENSION takes them along.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "catalog/table_key.h"
#include "store/shadow.h"
#include "util/spi.h"

static const char *const table_names[] = {"t%d", "log%d"};

/* "text COLLATE x" of a source column */
static void
append_column_type(StringInfo sql, TupleDesc desc, AttrNumber attnum)
{
	Form_pg_attribute att;

	if (TIDE_ATTNUM_IS_OWN(attnum))
	{
		appendStringInfoString(sql, format_type_extended(tide_own_column_type(attnum), -1,
														 FORMAT_TYPE_FORCE_QUALIFY));
		return;
	}
	att = TupleDescAttr(desc, attnum - 1);
	appendStringInfoString(sql, format_type_extended(att->atttypid, att->atttypmod,
													 FORMAT_TYPE_TYPEMOD_GIVEN |
													 FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(att->attcollation) && att->attcollation != DEFAULT_COLLATION_OID)
		appendStringInfo(sql, " COLLATE %s",
						 generate_collation_name(att->attcollation));
}

static void
run_ddl(const char *sql)
{
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql);
	tide_spi_end(&frame);
}

/*
 * The author of the source may drop a type he uses no more: a shadow that lags behind by a
 * moment must not be in his way. Its values are moved without knowing their type.
 */
static void
forget_types(Oid relid)
{
	(void) deleteDependencyRecordsForClass(RelationRelationId, relid, TypeRelationId,
										   DEPENDENCY_NORMAL);
	(void) deleteDependencyRecordsForClass(RelationRelationId, relid, CollationRelationId,
										   DEPENDENCY_NORMAL);
}

void
tide_shadow_create(const TideSource *source)
{
	StringInfoData sql;
	Relation	rel = table_open(source->relid, AccessShareLock);
	int			id = source->source_id;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE tide_shadow.t%d (_op pg_catalog.int8 NOT NULL, "
					 "_members pg_catalog.bytea", id);
	for (int i = 0; i < source->ncolumns; i++)
	{
		appendStringInfo(&sql, ", c%d ", source->columns[i]);
		append_column_type(&sql, RelationGetDescr(rel), source->columns[i]);
	}
	appendStringInfoString(&sql, ") WITH (fillfactor = 85)");
	run_ddl(sql.data);

	resetStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE tide_shadow.log%d (bucket_id pg_catalog.int8 NOT NULL, "
					 "op_id pg_catalog.int8 NOT NULL, kind pg_catalog.\"char\" NOT NULL, "
					 "hash pg_catalog.int8 NOT NULL, tid pg_catalog.tid NOT NULL", id);
	for (int i = 0; i < source->nkeys; i++)
	{
		appendStringInfo(&sql, ", k%d ", i + 1);
		append_column_type(&sql, RelationGetDescr(rel), source->keys[i]);
	}
	/* entries come and go: their space is to be used again soon */
	appendStringInfoString(&sql, ") WITH (autovacuum_vacuum_scale_factor = 0.05,"
						   " autovacuum_vacuum_threshold = 1000)");
	run_ddl(sql.data);
	for (int i = 0; i < lengthof(table_names); i++)
	{
		char	   *name = psprintf(table_names[i], id);

		run_ddl(psprintf("ALTER TABLE tide_shadow.%s REPLICA IDENTITY NOTHING", name));
		run_ddl(psprintf("ALTER EXTENSION pg_tide ADD TABLE tide_shadow.%s", name));
		forget_types(get_relname_relid(name, get_namespace_oid("tide_shadow", false)));
	}
	table_close(rel, NoLock);
	pfree(sql.data);
}

void
tide_shadow_create_indexes(const TideSource *source)
{
	StringInfoData sql;
	int			id = source->source_id;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE UNIQUE INDEX t%d_key ON tide_shadow.t%d (", id, id);
	for (int i = 0; i < source->nkeys; i++)
		appendStringInfo(&sql, "%sc%d", i > 0 ? ", " : "", source->keys[i]);
	appendStringInfoChar(&sql, ')');
	run_ddl(sql.data);
	run_ddl(psprintf("CREATE INDEX log%d_bucket ON tide_shadow.log%d (bucket_id, op_id)",
					 id, id));
	run_ddl(psprintf("CREATE INDEX log%d_left ON tide_shadow.log%d (op_id)"
					 " WHERE kind OPERATOR(pg_catalog.=) 'l'", id, id));
	resetStringInfo(&sql);
	appendStringInfo(&sql, "CREATE INDEX log%d_left_key ON tide_shadow.log%d (", id, id);
	for (int i = 0; i < source->nkeys; i++)
		appendStringInfo(&sql, "%sk%d", i > 0 ? ", " : "", i + 1);
	appendStringInfoString(&sql, ") WHERE kind OPERATOR(pg_catalog.=) 'l'");
	run_ddl(sql.data);
	pfree(sql.data);
}

void
tide_shadow_add_index(const TideSource *source, const char *name, const char *columns)
{
	if (!OidIsValid(get_relname_relid(name, get_namespace_oid("tide_shadow", false))))
		run_ddl(psprintf("CREATE INDEX %s ON tide_shadow.t%d (%s)", name, source->source_id,
						 columns));
}

/* undo ALTER EXTENSION ADD TABLE: from 17 (e5bc9454e) on the types of the table are members too */
static void
leave_extension(Oid relid)
{
	Oid			type = get_rel_type_id(relid);
	ObjectAddress members[3];

	ObjectAddressSet(members[0], RelationRelationId, relid);
	ObjectAddressSet(members[1], TypeRelationId, type);
	ObjectAddressSet(members[2], TypeRelationId, get_array_type(type));
	for (int i = 0; i < lengthof(members); i++)
		(void) deleteDependencyRecordsForClass(members[i].classId, members[i].objectId,
											   ExtensionRelationId, DEPENDENCY_EXTENSION);
	CommandCounterIncrement();
}

bool
tide_shadow_try_lock(int source_id)
{
	Oid			nspid = get_namespace_oid("tide_shadow", false);

	for (int i = 0; i < lengthof(table_names); i++)
	{
		Oid			relid = get_relname_relid(psprintf(table_names[i], source_id), nspid);

		if (OidIsValid(relid) && !ConditionalLockRelationOid(relid, AccessExclusiveLock))
			return false;
	}
	return true;
}

bool
tide_shadow_drop(int source_id)
{
	Oid			nspid = get_namespace_oid("tide_shadow", false);

	for (int i = 0; i < lengthof(table_names); i++)
	{
		char	   *name = psprintf(table_names[i], source_id);
		Oid			relid = get_relname_relid(name, nspid);
		ObjectAddress address;

		if (!OidIsValid(relid))
			continue;
		if (!ConditionalLockRelationOid(relid, AccessExclusiveLock))
			return false;
		leave_extension(relid);
		ObjectAddressSet(address, RelationRelationId, relid);
		performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	}
	return true;
}
