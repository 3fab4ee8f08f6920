/*
 * worker.h
 *	  The background worker that keeps one database's change log, and its launcher.
 */
#ifndef TIDE_WORKER_H
#define TIDE_WORKER_H

/* register the launcher; only while the server preloads libraries */
extern void tide_worker_init(void);

/*
 * Start a worker for a database: false if the server has no slot for one
 * (max_worker_processes). The worker waits for the caller's lock on
 * tide_internal.state and ends by itself if it then finds the ingest disabled, or
 * another worker at work.
 */
extern bool tide_worker_launch(Oid dboid, bool wait);

/*
 * The extension was dropped: slots of this database that tide.start() made would hold WAL
 * for nobody, and go. Slots that others use with our plugin have other names.
 */
extern void tide_worker_drop_orphan_slots(void);

extern PGDLLEXPORT void tide_launcher_main(Datum arg);
extern PGDLLEXPORT void tide_worker_main(Datum arg);

#endif							/* TIDE_WORKER_H */
