/*
 * shape_writer.c
 *	  Writer of tide_internal.shapes, shape_nodes, shape_sources and sources.
 *
 * Runs SQL as the extension's owner; the caller has checked who asks for it.
 * Statements see what others have committed meanwhile (SPI takes a snapshot per
 * statement), which is what makes taking turns safe.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "catalog/node_form.h"
#include "catalog/shape_catalog.h"
#include "catalog/table_key.h"
#include "util/compat.h"
#include "util/meta_table.h"
#include "util/spi.h"

/* plans, prepared at first use */
static SPIPlanPtr insert_source_plan = NULL;
static SPIPlanPtr lock_source_plan = NULL;
static SPIPlanPtr insert_shape_plan = NULL;
static SPIPlanPtr insert_node_plan = NULL;
static SPIPlanPtr insert_shape_source_plan = NULL;
static SPIPlanPtr set_source_plan = NULL;
static SPIPlanPtr break_source_plan = NULL;
static SPIPlanPtr hold_shapes_plan = NULL;
static SPIPlanPtr set_state_plan = NULL;
static SPIPlanPtr find_name_plan = NULL;
static SPIPlanPtr redefine_shape_plan = NULL;
static SPIPlanPtr drop_shape_plan = NULL;
static SPIPlanPtr delete_nodes_plan = NULL;
static SPIPlanPtr delete_shape_sources_plan = NULL;
static SPIPlanPtr delete_shape_plan = NULL;
static SPIPlanPtr insert_encrypted_plan = NULL;
static SPIPlanPtr delete_encrypted_plan = NULL;

/* the int in row 0, column 0 of the last result; call with SPI_processed > 0 */
static int
result_int(void)
{
	bool		isnull;

	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0],
									   SPI_tuptable->tupdesc, 1, &isnull));
}

static Datum
oids_datum(const Oid *oids, int count)
{
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = ObjectIdGetDatum(oids[i]);
	return PointerGetDatum(construct_array(elements, count, OIDOID, sizeof(Oid), true,
										   TYPALIGN_INT));
}

/* list of char * as text[] */
static Datum
texts_datum(List *texts)
{
	Datum	   *elements = palloc(Max(list_length(texts), 1) * sizeof(Datum));
	ListCell   *lc;

	foreach(lc, texts)
		elements[foreach_current_index(lc)] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elements, list_length(texts), TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* key columns of a table as smallint[] */
static Datum
table_key_datum(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	AttrNumber	attnums[INDEX_MAX_KEYS];
	int			n = tide_table_key(rel, attnums);

	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" has no key", RelationGetRelationName(rel))));
	table_close(rel, NoLock);
	return tide_attnums_datum(attnums, n);
}

/*
 * Sessions that add or drop shapes take turns until their transactions end; the lock comes
 * before any lock on a row, so that none waits for the other. Tables the decoder reads
 * (user_catalog_table) do not take ON CONFLICT. Readers are not in the way: the lock is no
 * table lock.
 */
static void
lock_catalog(void)
{
	LockDatabaseObject(RelationRelationId, tide_meta_relid("shapes"), 0,
					   ShareUpdateExclusiveLock);
}

bool
tide_catalog_try_lock(void)
{
	return ConditionalLockDatabaseObject(RelationRelationId, tide_meta_relid("shapes"), 0,
										 ShareUpdateExclusiveLock);
}

/*
 * The source of a table, inserted if there is none. The row is locked FOR KEY
 * SHARE until the transaction ends: the ingest can go on updating it but not delete
 * it.
 */
static int
obtain_source(Oid relid)
{
	Oid			types[] = {OIDOID, INT2ARRAYOID, TEXTOID};
	char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												  get_rel_name(relid));
	Datum		values[] = {ObjectIdGetDatum(relid), table_key_datum(relid),
	CStringGetTextDatum(name)};

	for (;;)
	{
		tide_spi_run(&lock_source_plan,
					 "SELECT source_id, key_attnums = $2"
					 " FROM tide_internal.sources WHERE relid = $1 FOR KEY SHARE",
					 2, types, values, NULL, false, 1);
		if (SPI_processed > 0)
			break;
		tide_spi_run(&insert_source_plan,
					 "INSERT INTO tide_internal.sources (relid, key_attnums, table_name)"
					 " VALUES ($1, $2, $3)",
					 3, types, values, NULL, false, 0);
	}

	if (strcmp(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2),
			   "t") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("key of table \"%s\" has changed since it was first used by a shape",
						get_rel_name(relid)),
				 errhint("Drop the shapes that use the table and create them again.")));
	return result_int();
}

static void
insert_node(int shape_id, TideShapeNode *node)
{
	Oid			types[Natts_nodes] = {INT4OID, INT2OID, INT4OID, INT2OID, TEXTOID, INT2ARRAYOID,
	TEXTOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, JSONBOID};
	Datum		values[Natts_nodes];
	char		nulls[Natts_nodes];

	tide_node_form(shape_id, node, values, nulls);
	tide_spi_run(&insert_node_plan,
				 "INSERT INTO tide_internal.shape_nodes (shape_id, node_id, source_id, parent_id,"
				 " path, attnums, filter, keys, key_args, join_on, subfilter, lookups, order_by,"
				 " row_limit, windows, details) VALUES"
				 " ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
				 Natts_nodes, types, values, nulls, false, 0);
}

static void
delete_shape_sources(int shape_id)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id)};

	tide_spi_run(&delete_shape_sources_plan,
				 "DELETE FROM tide_internal.shape_sources WHERE shape_id = $1",
				 1, types, values, NULL, false, 0);
}

static void
insert_shape_source(int shape_id, int source_id)
{
	Oid			types[] = {INT4OID, INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id), Int32GetDatum(source_id)};

	tide_spi_run(&insert_shape_source_plan,
				 "INSERT INTO tide_internal.shape_sources (shape_id, source_id) VALUES ($1, $2)",
				 2, types, values, NULL, false, 0);
}

static void
delete_encrypted(int shape_id)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id)};

	tide_spi_run(&delete_encrypted_plan,
				 "DELETE FROM tide_internal.encrypted_columns WHERE shape_id = $1",
				 1, types, values, NULL, false, 0);
}

static void
insert_encrypted(int shape_id, const TideShapeNode *node)
{
	Oid			types[] = {INT4OID, OIDOID, INT2OID};
	ListCell   *lc;

	foreach(lc, node->encrypted)
	{
		Datum		values[] = {Int32GetDatum(shape_id), ObjectIdGetDatum(node->relid),
		Int16GetDatum(lfirst_int(lc))};

		tide_spi_run(&insert_encrypted_plan,
					 "INSERT INTO tide_internal.encrypted_columns (shape_id, relid, attnum)"
					 " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
					 lengthof(types), types, values, NULL, false, 0);
	}
}

int
tide_catalog_insert_shape(TideShape *shape, Jsonb *definition,
						  const char *search_path)
{
	Oid			types[] = {TEXTOID, OIDOID, JSONBOID, TEXTOID};
	Datum		values[] = {
		CStringGetTextDatum(shape->name),
		ObjectIdGetDatum(shape->owner),
		JsonbPGetDatum(definition),
		CStringGetTextDatum(search_path)
	};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	lock_catalog();
	tide_spi_run(&insert_shape_plan,
				 "INSERT INTO tide_internal.shapes (name, owner, definition, search_path)"
				 " SELECT $1, $2, $3, $4 WHERE NOT EXISTS ("
				 "SELECT FROM tide_internal.shapes WHERE name = $1 AND state <> 'dropped')"
				 " RETURNING shape_id",
				 lengthof(types), types, values, NULL, false, 0);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("shape \"%s\" already exists", shape->name),
				 errhint("Use tide.replace_shape to change it.")));
	shape->shape_id = result_int();
	shape->state = TIDE_SHAPE_BUILDING;
	tide_spi_end(&frame);
	tide_catalog_insert_nodes(shape->shape_id, shape->nodes);
	return shape->shape_id;
}

void
tide_catalog_insert_nodes(int shape_id, List *nodes)
{
	TideShape	shape = {.nodes = nodes};
	TideSpiFrame frame;
	ListCell   *lc;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	lock_catalog();
	delete_encrypted(shape_id);
	foreach(lc, nodes)
	{
		TideShapeNode *node = lfirst(lc);

		node->source_id = obtain_source(node->relid);
		insert_node(shape_id, node);
		insert_encrypted(shape_id, node);
	}
	/* there are some if the shape was compiled before */
	delete_shape_sources(shape_id);
	foreach(lc, tide_shape_relids(&shape))
		insert_shape_source(shape_id, obtain_source(lfirst_oid(lc)));
	tide_spi_end(&frame);
}

void
tide_catalog_set_source_live(const TideSource *source)
{
	Oid			types[] = {INT4OID, INT2ARRAYOID, NAMEARRAYOID, OIDARRAYOID, TEXTOID, PG_LSNOID, OIDARRAYOID,
	TEXTOID, TEXTARRAYOID};
	char		nulls[lengthof(types) + 1] = "         ";
	Datum	   *names = palloc(sizeof(Datum) * source->ncolumns);
	Datum		values[lengthof(types)];
	TideSpiFrame frame;

	for (int i = 0; i < source->ncolumns; i++)
	{
		Name		name = palloc(NAMEDATALEN);

		namestrcpy(name, source->column_names[i]);
		names[i] = NameGetDatum(name);
	}
	values[0] = Int32GetDatum(source->source_id);
	values[1] = tide_attnums_datum(source->columns, source->ncolumns);
	values[2] = PointerGetDatum(construct_array(names, source->ncolumns, NAMEOID,
												NAMEDATALEN, false, TYPALIGN_CHAR));
	values[3] = oids_datum(source->column_types, source->ncolumns);
	values[6] = source->leaves ? oids_datum(source->leaves, source->nleaves) : (Datum) 0;
	if (source->leaves == NULL)
		nulls[6] = 'n';
	values[4] = CStringGetTextDatum(source->snapshot);
	values[5] = LSNGetDatum(source->snapshot_lsn);
	values[7] = CStringGetTextDatum(source->table_name);
	values[8] = texts_datum(source->labels);
	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&set_source_plan,
				 "UPDATE tide_internal.sources SET state = 'live', attnums = $2,"
				 " column_names = $3, column_types = $4, snapshot = $5, snapshot_lsn = $6,"
				 " leaves = $7, table_name = $8, labels = $9 WHERE source_id = $1",
				 lengthof(types), types, values, nulls, false, 0);
	tide_spi_end(&frame);
}

void
tide_catalog_set_source_broken(int source_id)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(source_id)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&break_source_plan,
				 "UPDATE tide_internal.sources SET state = 'broken'"
				 " WHERE source_id = $1 AND state = 'live'",
				 1, types, values, NULL, false, 0);
	tide_spi_run(&hold_shapes_plan,
				 "UPDATE tide_internal.shapes s SET state = 'building'"
				 " FROM tide_internal.shape_sources n WHERE n.source_id = $1"
				 " AND s.shape_id = n.shape_id AND s.state = 'live'",
				 1, types, values, NULL, false, 0);
	tide_spi_end(&frame);
}

/* a shape that was dropped meanwhile stays dropped */
void
tide_catalog_set_shape_state(int shape_id, TideShapeState state,
							 int64 built_op_id, const char *error)
{
	Oid			types[] = {INT4OID, TEXTOID, INT8OID, TEXTOID};
	Datum		values[] = {
		Int32GetDatum(shape_id),
		CStringGetTextDatum(tide_shape_state_name(state)),
		Int64GetDatum(built_op_id),
		error ? CStringGetTextDatum(error) : (Datum) 0
	};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&set_state_plan,
				 "UPDATE tide_internal.shapes"
				 " SET state = $2, built_op_id = nullif($3, 0), error = $4,"
				 " redefined = redefined AND $2 <> 'live', reshown = reshown AND $2 <> 'live'"
				 " WHERE shape_id = $1 AND state <> 'dropped'",
				 lengthof(types), types, values, error ? "    " : "   n",
				 false, 0);
	tide_spi_end(&frame);
}

/*
 * The not dropped shape of a name as of now, 0 if there is none. ERROR unless role has the rights
 * of its owner or of the database's.
 */
static int
find_own_shape(const char *name, Oid role)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(name)};
	bool		isnull;
	Oid			owner;

	tide_spi_run(&find_name_plan,
				 "SELECT shape_id, owner FROM tide_internal.shapes"
				 " WHERE name = $1 AND state <> 'dropped'",
				 1, types, values, NULL, false, 1);
	if (SPI_processed == 0)
		return 0;
	owner = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0],
										   SPI_tuptable->tupdesc, 2, &isnull));
	if (!has_privs_of_role(role, owner) &&
		!tide_database_ownercheck_compat(MyDatabaseId, role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of shape \"%s\"", name)));
	return result_int();
}

void
tide_catalog_check_own_shape(const char *name, Oid role)
{
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	if (find_own_shape(name, role) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("shape \"%s\" does not exist", name)));
	tide_spi_end(&frame);
}

/* whether a node has the table, place and key types of another: with the same parent, their buckets have the same keys */
static bool
has_same_buckets(const TideShapeNode *a, const TideShapeNode *b)
{
	ListCell   *lc;
	ListCell   *lc2;

	if (a->relid != b->relid || strcmp(a->path, b->path) != 0 ||
		list_length(a->key_parts) != list_length(b->key_parts))
		return false;
	forboth(lc, a->key_parts, lc2, b->key_parts)
	{
		if (((TideKeyPart *) lfirst(lc))->type != ((TideKeyPart *) lfirst(lc2))->type)
			return false;
	}
	return true;
}

bool
tide_shape_map_nodes(const TideShape *was, const TideShape *is, int16 *map)
{
	Bitmapset  *taken = NULL;
	bool		is_same = list_length(was->nodes) == list_length(is->nodes);
	ListCell   *lc;

	foreach(lc, is->nodes)
	{
		const TideShapeNode *node = lfirst(lc);
		int			parent = node->parent_id < 0 ? -1 : map[node->parent_id];
		ListCell   *lc2;

		map[node->node_id] = -1;
		foreach(lc2, node->parent_id >= 0 && parent < 0 ? NIL : was->nodes)
		{
			const TideShapeNode *other = lfirst(lc2);

			if (other->parent_id == parent && !bms_is_member(other->node_id, taken) &&
				has_same_buckets(other, node))
			{
				map[node->node_id] = other->node_id;
				taken = bms_add_member(taken, other->node_id);
				break;
			}
		}
		is_same &= map[node->node_id] == node->node_id;
	}
	return is_same;
}

/* the map as smallint[]; null if no node has another number, and *any whether some node goes on */
static Datum
node_map_datum(const TideShape *was, const TideShape *is, bool *any, char *null)
{
	int			n = list_length(is->nodes);
	int16	   *map = palloc(sizeof(int16) * n);

	*null = tide_shape_map_nodes(was, is, map) ? 'n' : ' ';
	*any = false;
	for (int i = 0; i < n; i++)
		*any |= map[i] >= 0;
	return tide_attnums_datum(map, n);
}

/* in two steps, as a number may be taken by another node still */
void
tide_catalog_renumber_buckets(int shape_id)
{
	(void) tide_spi_run_for("DELETE FROM tide_internal.buckets b USING tide_internal.shapes s"
							" WHERE s.shape_id = $1 AND b.shape_id = $1"
							" AND b.node_id <> ALL (s.node_map)", shape_id);
	(void) tide_spi_run_for("UPDATE tide_internal.buckets b"
							" SET node_id = -pg_catalog.array_position(s.node_map, b.node_id)"
							" FROM tide_internal.shapes s"
							" WHERE s.shape_id = $1 AND b.shape_id = $1 AND s.node_map IS NOT NULL",
							shape_id);
	(void) tide_spi_run_for("UPDATE tide_internal.buckets SET node_id = -node_id - 1"
							" WHERE shape_id = $1 AND node_id < 0", shape_id);
	(void) tide_spi_run_for("UPDATE tide_internal.shapes SET node_map = NULL"
							" WHERE shape_id = $1 AND node_map IS NOT NULL", shape_id);
}

bool
tide_catalog_redefine_shape(TideShape *shape, Jsonb *definition, const char *search_path)
{
	Oid			types[] = {INT4OID, JSONBOID, TEXTOID, INT2ARRAYOID};
	Datum		values[] = {0, JsonbPGetDatum(definition), CStringGetTextDatum(search_path), 0};
	char		nulls[lengthof(types) + 1] = "    ";
	TideSpiFrame frame;
	TideShape  *was;
	bool		done = false;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	lock_catalog();
	PushActiveSnapshot(GetLatestSnapshot());
	was = tide_catalog_shape_by_name(shape->name);
	PopActiveSnapshot();
	if (was != NULL && was->state == TIDE_SHAPE_LIVE && was->owner == shape->owner)
		values[3] = node_map_datum(was, shape, &done, &nulls[3]);
	if (done)
	{
		values[0] = Int32GetDatum(was->shape_id);
		tide_spi_run(&redefine_shape_plan,
					 "UPDATE tide_internal.shapes SET definition = $2, search_path = $3,"
					 " state = 'building', built_op_id = NULL, error = NULL, redefined = true,"
					 " reshown = true, node_map = $4"
					 " WHERE shape_id = $1 AND state = 'live'",
					 lengthof(types), types, values, nulls, false, 0);
		done = SPI_processed > 0;
	}
	if (done)
		tide_spi_run(&delete_nodes_plan,
					 "DELETE FROM tide_internal.shape_nodes WHERE shape_id = $1",
					 1, types, values, NULL, false, 0);
	tide_spi_end(&frame);
	if (done)
		tide_catalog_insert_nodes(was->shape_id, shape->nodes);
	return done;
}

void
tide_catalog_drop_shape(const char *name, Oid role)
{
	Oid			types[] = {INT4OID};
	TideSpiFrame frame;
	bool		dropped;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	lock_catalog();
	do
	{
		Datum		values[] = {Int32GetDatum(find_own_shape(name, role))};

		if (DatumGetInt32(values[0]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("shape \"%s\" does not exist", name)));
		/* no row if another session replaced it first: look again */
		tide_spi_run(&drop_shape_plan,
					 "UPDATE tide_internal.shapes SET state = 'dropped'"
					 " WHERE shape_id = $1 AND state <> 'dropped'",
					 1, types, values, NULL, false, 0);
		dropped = SPI_processed > 0;
	} while (!dropped);
	tide_spi_end(&frame);
}

void
tide_catalog_delete_shape(int shape_id)
{
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(shape_id)};
	TideSpiFrame frame;

	tide_spi_begin(&frame, TIDE_AS_OWNER);
	tide_spi_run(&delete_nodes_plan,
				 "DELETE FROM tide_internal.shape_nodes WHERE shape_id = $1",
				 1, types, values, NULL, false, 0);
	delete_shape_sources(shape_id);
	delete_encrypted(shape_id);
	tide_spi_run(&delete_shape_plan,
				 "DELETE FROM tide_internal.shapes WHERE shape_id = $1",
				 1, types, values, NULL, false, 0);
	tide_spi_end(&frame);
}
