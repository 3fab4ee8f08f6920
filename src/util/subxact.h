/*
 * subxact.h
 *	  The one place that catches errors: work in a subtransaction whose failure
 *	  is an outcome and not the end.
 */
#ifndef TIDE_SUBXACT_H
#define TIDE_SUBXACT_H

typedef void (*TideSubxactBody) (void *arg);

/*
 * Run body in a subtransaction. Returns NULL if it was committed. If body raised
 * an error, the subtransaction is rolled back (with settings, user, SPI
 * connections and locks taken in it) and the error is returned, allocated in
 * the current context. Errors that say nothing about the work itself (cancel,
 * shutdown, out of resources, I/O, lost connections, a server that is read-only,
 * internal errors) are rethrown. Memory context and resource owner are as before
 * in every case.
 */
extern ErrorData *tide_subxact_run(TideSubxactBody body, void *arg);

/* the same, but all errors are returned */
extern ErrorData *tide_subxact_try(TideSubxactBody body, void *arg);

/* run body and roll it back always; its errors are thrown on */
extern void tide_subxact_rehearse(TideSubxactBody body, void *arg);

#endif							/* TIDE_SUBXACT_H */
