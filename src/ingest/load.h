/*
 * load.h
 *	  Which table and which shape take most of the ingest's time.
 */
#ifndef TIDE_LOAD_H
#define TIDE_LOAD_H

#include "portability/instr_time.h"

#include "ingest/ingest.h"

typedef enum TideLoadKind
{
	TIDE_LOAD_SOURCE,			/* membership, rows and entries of a source */
	TIDE_LOAD_SHAPE				/* evaluation of a shape */
} TideLoadKind;

/* the time since begin was the source's or shape's; begin is set to now */
extern void tide_load_add(TideIngest *in, TideLoadKind kind, int id, instr_time *begin);

/* tell shared memory now and then; cheap */
extern void tide_load_publish(TideIngest *in);

#endif							/* TIDE_LOAD_H */
