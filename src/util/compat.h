/*
 * compat.h
 *	  All differences between PostgreSQL majors. Wrappers end in _compat. Those of replication slots
 *	  are in compat_slot.h.
 */
#ifndef TIDE_COMPAT_H
#define TIDE_COMPAT_H

#include "util/compat_slot.h"

#if PG_VERSION_NUM < 150000
#error "pg_tide needs PostgreSQL 15 or later"
#endif

/* 16 (bcc5b14ef "Convert a few datatype input functions to use "soft" errors"): DecodeDateTime() */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#define TIDE_DATETIME_EXTRA		, &(DateTimeErrorExtra) {0}
#else
#define TIDE_DATETIME_EXTRA
/* before 16 core does not declare these */
extern PGDLLEXPORT void _PG_init(void);
struct OutputPluginCallbacks;
extern PGDLLEXPORT void _PG_output_plugin_init(struct OutputPluginCallbacks *cb);
#endif

/* 17 (08e6344fd "Remove ReorderBufferTupleBuf structure"): decoded tuples were wrapped */
#if PG_VERSION_NUM >= 170000
#define TIDE_CHANGE_TUPLE(t)	(t)
#else
#define TIDE_CHANGE_TUPLE(t)	((t) ? &(t)->tuple : NULL)
#endif

/* 16: object_aclcheck() and kin (c727f511bd); a SET option of memberships (3d14e171e) */
#if PG_VERSION_NUM >= 160000
#define tide_proc_aclcheck_compat(proc, role) \
	object_aclcheck(ProcedureRelationId, proc, role, ACL_EXECUTE)
#define tide_database_ownercheck_compat(database, role) \
	object_ownercheck(DatabaseRelationId, database, role)
#define tide_can_set_role_compat(member, role) member_can_set_role(member, role)
#else
#define tide_proc_aclcheck_compat(proc, role) \
	pg_proc_aclcheck(proc, role, ACL_EXECUTE)
#define tide_database_ownercheck_compat(database, role) \
	pg_database_ownercheck(database, role)
#define tide_can_set_role_compat(member, role) is_member_of_role(member, role)
#endif

/* 18 (83ea6c5402) has generated columns that are not stored, so not in the WAL */
#if PG_VERSION_NUM >= 180000
#define TIDE_ATT_IS_STORED(att)	((att)->attgenerated != ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define TIDE_ATT_IS_STORED(att)	true
#endif

/* 18 (4d143509c "Create accessor functions for TupleHashEntry", 60e612b60) */
#if PG_VERSION_NUM >= 180000
#define BuildTupleHashTable_compat(desc, n, attnos, functions, hashes, collations, nbuckets, meta, table, temp) \
	BuildTupleHashTable(NULL, desc, &TTSOpsVirtual, n, attnos, functions, hashes, collations, \
						nbuckets, sizeof(void *), meta, table, temp, false)
#define TupleHashEntryData_compat(table, entry, type) \
	((type *) TupleHashEntryGetAdditional(table, entry))
#else
#define BuildTupleHashTable_compat(desc, n, attnos, functions, hashes, collations, nbuckets, meta, table, temp) \
	BuildTupleHashTableExt(NULL, desc, n, attnos, functions, hashes, collations, \
						   nbuckets, 0, meta, table, temp, false)
#define TupleHashEntryData_compat(table, entry, type) \
	((type *) &(entry)->additional)
#endif

/* 17 (c9af05465 "Support custom wait events for wait event type Extension") */
#if PG_VERSION_NUM >= 170000
#define tide_wait_event_compat(name)	WaitEventExtensionNew(name)
#else
#define tide_wait_event_compat(name)	PG_WAIT_EXTENSION
#endif

/* 17 (173b56f1e "Add flush option to pg_logical_emit_message()") */
#if PG_VERSION_NUM >= 170000
#define LogLogicalMessage_compat(prefix, message, size, transactional) \
	LogLogicalMessage(prefix, message, size, transactional, false)
#else
#define LogLogicalMessage_compat(prefix, message, size, transactional) \
	LogLogicalMessage(prefix, message, size, transactional)
#endif

/* 18 (0fbceae84 "Show index search count") added instrumentation */
#if PG_VERSION_NUM >= 180000
#define index_beginscan_compat(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, norderbys)
#else
#define index_beginscan_compat(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#endif

/* 16 (19d8e2308 "Ignore BRIN indexes when checking for HOT updates") tells which indexes */
#if PG_VERSION_NUM >= 160000
#define TideUpdateIndexes	TU_UpdateIndexes
#else
#define TideUpdateIndexes	bool
#endif

/* 18 asks whether a deferrable key will do */
#if PG_VERSION_NUM >= 180000
#define tide_primary_key_index_compat(rel) RelationGetPrimaryKeyIndex(rel, false)
#else
#define tide_primary_key_index_compat(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/* 18 (28f04984f "pg_noreturn to replace pg_attribute_noreturn()"); before the return type */
#if PG_VERSION_NUM >= 180000
#define TIDE_NORETURN	pg_noreturn
#else
#define TIDE_NORETURN	pg_attribute_noreturn()
#endif

/* 16 (c60c9bada, d9f7f5d32 on soft errors): actions have a result, input functions a context */
#if PG_VERSION_NUM >= 160000
#define TIDE_JSON_ACTION_RESULT	JsonParseErrorType
#define TIDE_JSON_ACTION_RETURN	return JSON_SUCCESS
#define tide_input_error_compat(fcinfo, ...) ereturn((fcinfo)->context, (Datum) 0, __VA_ARGS__)
#else
#define TIDE_JSON_ACTION_RESULT	void
#define TIDE_JSON_ACTION_RETURN	return
#define tide_input_error_compat(fcinfo, ...) ereport(ERROR, __VA_ARGS__)
#endif

/* 17 (1c99cde2f "Improve JsonLexContext's freeability"); names and strings are wanted */
#if PG_VERSION_NUM >= 170000
#define tide_json_lexer_compat(json, len) \
	makeJsonLexContextCstringLen(NULL, json, len, GetDatabaseEncoding(), true)
#else
#define tide_json_lexer_compat(json, len) \
	makeJsonLexContextCstringLen(json, len, GetDatabaseEncoding(), true)
#endif

/* 18 has isRegularBackend (508a97ee4), false for a walsender too; but the type is known (61171a632) */
#if PG_VERSION_NUM >= 180000
#include "utils/backend_status.h"
#define tide_is_background_worker_compat(proc) \
	(pgstat_get_backend_type_by_proc_number(GetNumberFromPGProc(proc)) == B_BG_WORKER)
#else
#define tide_is_background_worker_compat(proc) ((proc)->isBackgroundWorker)
#endif

/* 18 (80feb727c "Add OLD/NEW support to RETURNING") */
#if PG_VERSION_NUM >= 180000
#define expandRTE_compat(rte, rtindex, names, vars) \
	expandRTE(rte, rtindex, 0, VAR_RETURNING_DEFAULT, -1, false, names, vars)
#else
#define expandRTE_compat(rte, rtindex, names, vars) \
	expandRTE(rte, rtindex, 0, -1, false, names, vars)
#endif

/*
 * 16 (a61b1f748 "Rework query relation permission checking"; on 15 infos is not evaluated;
 * 2489d76c4 "Make Vars be outer-join-aware" added the planner's root)
 */
#if PG_VERSION_NUM >= 160000
#define clear_rteperminfos_compat(query) ((query)->rteperminfos = NIL)
#define tide_selected_columns_compat(infos, rte) (getRTEPermissionInfo(infos, rte)->selectedCols)
#define flatten_join_alias_vars_compat(query, node) flatten_join_alias_vars(NULL, query, node)
#else
#define clear_rteperminfos_compat(query) ((void) (query))
#define tide_selected_columns_compat(infos, rte) ((rte)->selectedCols)
#define flatten_join_alias_vars_compat(query, node) flatten_join_alias_vars(query, node)
#endif

/* 17 (6185c9737 "Add SQL/JSON query functions"): may make a value by a type's input function */
#if PG_VERSION_NUM >= 170000
#define TIDE_IS_JSON_EXPR(node) IsA(node, JsonExpr)
#else
#define TIDE_IS_JSON_EXPR(node) false
#endif

#endif							/* TIDE_COMPAT_H */
