/*
 * encrypted.h
 *	  Columns that a definition declares to hold ciphertext only, field "encrypted".
 */
#ifndef TIDE_SHAPE_ENCRYPTED_H
#define TIDE_SHAPE_ENCRYPTED_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"

typedef struct TideEncryptedColumn
{
	Oid			relid;
	AttrNumber	attnum;
} TideEncryptedColumn;

/* a list of TideEncryptedColumn with those of names (char *) added. ERROR 42703 */
extern List *tide_encrypted_add(List *columns, Relation rel, List *names);

/*
 * Attnums of names, columns that can hold an envelope and are among shown (offset attnums); ERROR
 * if one is not, or belongs to the key.
 */
extern List *tide_encrypted_columns(Relation rel, List *names, const Bitmapset *shown);

/*
 * ERROR if an expression of field uses one of columns (of TideEncryptedColumn), in subqueries of the
 * plain form as well. relids: tables by varno, as of tide_columns_walk().
 */
extern void tide_encrypted_check_expr(List *columns, Node *expr, List *relids, const char *field);

#endif							/* TIDE_SHAPE_ENCRYPTED_H */
