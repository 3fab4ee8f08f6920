/*
 * prune.h
 *	  What is past its retention of the mutation log and of the clients.
 */
#ifndef TIDE_PRUNE_H
#define TIDE_PRUNE_H

/*
 * Remove a bounded number of log entries and expire a bounded number of clients, in the
 * worker's transaction; waits for nobody. Returns whether there may be more.
 */
extern bool tide_prune_step(void);

#endif							/* TIDE_PRUNE_H */
