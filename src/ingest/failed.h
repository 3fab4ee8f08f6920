/*
 * failed.h
 *	  Failed shapes, and the DDL that has them tried again.
 */
#ifndef TIDE_FAILED_H
#define TIDE_FAILED_H

#include "replication/reorderbuffer.h"

#include "ingest/ingest.h"

/*
 * A decoded transaction has DDL: failed shapes that did not compile may do so now; and those whose expressions raised
 * an error are to be compiled again if it is about their tables, a type they use, or any function.
 */
extern void tide_failed_note_ddl(TideIngest *in, ReorderBufferTXN *txn);

/* in the batch's transaction: the latter get the form of the former, so that no crash makes us forget them */
extern void tide_failed_forget(TideIngest *in);

/* the same for all that failed so: changes were missed, DDL may have been among them */
extern void tide_failed_forget_all(void);

/* after DDL: compile failed shapes without nodes; they are built from nothing */
extern bool tide_failed_retry(TideIngest *in, bool *later);

#endif							/* TIDE_FAILED_H */
