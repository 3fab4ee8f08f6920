/*
 * shadow.h
 *	  Shadow tables and change logs: their definition, and direct access for
 *	  their sole writer. src/README.md describes the format.
 */
#ifndef TIDE_SHADOW_H
#define TIDE_SHADOW_H

#include "access/tableam.h"
#include "nodes/execnodes.h"
#include "storage/itemptr.h"

#include "catalog/shape_catalog.h"

/* attributes of a shadow table before the source's columns */
enum
{
	TIDE_SHADOW_OP = 1,
	TIDE_SHADOW_MEMBERS,
	TIDE_SHADOW_FIXED = 2		/* how many there are */
};

/* attributes of a change log before the key columns */
enum
{
	TIDE_LOG_BUCKET = 1,
	TIDE_LOG_OP,
	TIDE_LOG_KIND,
	TIDE_LOG_HASH,
	TIDE_LOG_TID,
	TIDE_LOG_FIXED = 5
};

#define TIDE_LOG_ENTER	'e'
#define TIDE_LOG_CHANGE 'c'
#define TIDE_LOG_LEAVE	'l'

/* how many rows go into the heap at once */
#define TIDE_MULTI_INSERT	256

/*
 * A source's shadow table and change log. Made once per source by
 * tide_shadow_load(), opened for each batch. Column positions are 0-based and
 * count the source's columns only.
 */
typedef struct TideShadow
{
	TideSource *source;
	Oid			heap_oid;
	Oid			log_oid;
	TupleDesc	desc;			/* of the shadow table */
	TupleDesc	log_desc;
	TupleDesc	key_desc;		/* the key columns alone */
	int			ncolumns;
	int			nkeys;
	int		   *key_pos;		/* positions of the key columns */
	int			nown;			/* of them at the end: not the table's own,
								 * see table_key.h */
	bool		is_keyless;		/* the key is TIDE_ATTNUM_ROW and _COPY, the
								 * last columns */
	int			nhashed;		/* first columns that make up the former */
	int			leaf_pos;		/* of TIDE_ATTNUM_LEAF or -1 */
	int			natts_source;	/* highest attnum + 1, for attnum_pos */
	int		   *attnum_pos;		/* by source attnum: position or -1 */
	struct ScanKeyData *key_scan;	/* equality on each key column, argument
									 * open */

	/* open between tide_shadow_open() and tide_shadow_close() */
	MemoryContext open_context;
	Relation	heap;
	Relation	key_index;
	Relation	log;
	Relation	log_index;
	struct IndexInfo *key_info;
	struct IndexInfo *log_info;
	int			nextra;			/* further indexes of the shadow table, for
								 * joins */
	Relation   *extra;
	struct IndexInfo **extra_infos;
	struct EState *estate;		/* for their expressions */
	Relation	left_index;		/* of leave entries: by op_id */
	Relation	left_key_index; /* by key */
	struct IndexInfo *left_info;
	struct IndexInfo *left_key_info;
	bool		has_left;		/* false: no leave entry at all */
	TupleTableSlot *fetched;
	struct IndexScanDescData *scan; /* kept from fetch to fetch */
	TupleTableSlot *log_fetched;
	BlockNumber log_blocks;		/* of the log, at opening at least */
	struct IndexScanDescData *log_scan; /* kept from removal to removal */
	struct IndexScanDescData *left_key_scan;
	struct BulkInsertStateData *heap_bulk;
	struct BulkInsertStateData *log_bulk;
	int			nslots;			/* made so far of each kind */
	int			nlog_slots;
	TupleTableSlot *slots[TIDE_MULTI_INSERT];
	TupleTableSlot *log_slots[TIDE_MULTI_INSERT];
} TideShadow;

/* one change log entry to append; tid as after the shadow row was written */
typedef struct TideLogEntry
{
	int64		bucket_id;
	int64		op_id;
	char		kind;
	uint32		hash;
	ItemPointerData tid;
	Datum	   *columns;		/* by position: the key is taken from them */
	int64		old_op_id;		/* of the put it supersedes; 0 if not known,
								 * or none */
	ItemPointerData log_tid;	/* of the entry itself; set by
								 * tide_log_append() */
} TideLogEntry;

/* DDL, as the extension's owner; the indexes are made after the copy */
extern void tide_shadow_create(const TideSource *source);
extern void tide_shadow_create_indexes(const TideSource *source);

/* a further index on the shadow table, unless there is one of that name; a column list as text */
extern void tide_shadow_add_index(const TideSource *source, const char *name,
								  const char *columns);

/* false if a reader is at work on it: try again later */
extern bool tide_shadow_drop(int source_id);

/* lock it as drop() does, which then cannot fail */
extern bool tide_shadow_try_lock(int source_id);

/* Oid of tide_shadow.<format % source_id>; ERROR 40001 if there is none */
extern Oid	tide_shadow_relid(const char *format, int source_id);

/* open it for reading, with the same ERROR if it is dropped while we wait for the lock */
extern Relation tide_shadow_open_table(const char *format, int source_id);

/* the tables must exist; result in the given context */
extern TideShadow *tide_shadow_load(MemoryContext context, TideSource *source);
extern void tide_shadow_open(TideShadow *shadow, bool with_indexes);
extern void tide_shadow_close(TideShadow *shadow);

/*
 * Row by key as of now, own uncommitted writes included; found in shadow->fetched until the
 * next fetch. End before writing.
 */
extern bool tide_shadow_fetch(TideShadow *shadow, const Datum *key);
extern void tide_shadow_end_fetch(TideShadow *shadow);

/* of a keyless source: how many copies of a row there are, as of now */
extern int	tide_shadow_count_copies(TideShadow *shadow, Datum row);

/* slot to fill for the i-th row of a multi-insert, cleared */
extern TupleTableSlot *tide_shadow_slot(TideShadow *shadow, int i);

/* write the first n slots; sets their tts_tid */
extern void tide_shadow_insert(TideShadow *shadow, int n, int options);
extern void tide_shadow_update(TideShadow *shadow, ItemPointer tid, TupleTableSlot *slot);
extern void tide_shadow_delete(TideShadow *shadow, ItemPointer tid);

extern void tide_log_append(TideShadow *shadow, TideLogEntry *entries, int n,
							int options);

#endif							/* TIDE_SHADOW_H */
