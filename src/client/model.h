/*
 * model.h
 *	  What a generated client schema is about: the tables, columns and keys of some shapes.
 */
#ifndef TIDE_CLIENT_MODEL_H
#define TIDE_CLIENT_MODEL_H

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

/* how to_jsonb() writes a type, which decides how a client stores it */
typedef enum TideClientClass
{
	TIDE_CLIENT_BOOL,
	TIDE_CLIENT_INTEGER,
	TIDE_CLIENT_FLOAT,
	TIDE_CLIENT_NUMERIC,
	TIDE_CLIENT_TEXT,
	TIDE_CLIENT_UUID,
	TIDE_CLIENT_JSON			/* json, jsonb, arrays, composites, casts to
								 * json */
} TideClientClass;

#define TIDE_CLIENT_NCLASSES	(TIDE_CLIENT_JSON + 1)

typedef struct TideClientColumn
{
	AttrNumber	attnum;
	char	   *name;
	Oid			type;			/* domains are looked through */
	int32		typmod;
	TideClientClass type_class;
	bool		is_key;
	bool		is_generated;	/* the server refuses values for it */
	bool		is_partial;		/* some node of the table does not show it */
	bool		is_difference;	/* its conflict policy goes by the difference
								 * of the value sent and its base */
} TideClientColumn;

/* a node of a shape's tree, as answers name it */
typedef struct TideClientHolder
{
	char	   *shape;
	char	   *path;			/* "" for the root */
} TideClientHolder;

/* columns that go together because one or more nodes show exactly them */
typedef struct TideClientSet
{
	Bitmapset  *attnums;
	List	   *holders;		/* of TideClientHolder, in the order asked */
} TideClientSet;

typedef struct TideClientTable
{
	int			id;				/* 1, 2, ... in the order of schema and name */
	Oid			relid;
	char	   *schema;
	char	   *name;
	List	   *columns;		/* of TideClientColumn, by attnum */
	List	   *keys;			/* the key columns among them, in key order */
	List	   *sets;			/* of TideClientSet */
} TideClientTable;

/*
 * The tables of the named shapes, which are char *. ERROR 42704 for an unknown
 * shape. Result in the current context.
 */
extern List *tide_client_model_create(List *shape_names);

#endif							/* TIDE_CLIENT_MODEL_H */
