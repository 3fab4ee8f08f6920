/*
 * deferrable.h
 *	  Whether the database has deferrable constraints.
 */
#ifndef TIDE_PUSH_DEFERRABLE_H
#define TIDE_PUSH_DEFERRABLE_H

typedef struct TideDeferrable
{
	bool		any;
	bool		all_deferred;	/* each of them is INITIALLY DEFERRED; false
								 * if there are none */
} TideDeferrable;

/* within an owner's SPI frame */
extern TideDeferrable tide_deferrable_read(void);

#endif							/* TIDE_PUSH_DEFERRABLE_H */
