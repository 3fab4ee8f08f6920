/*
 * spi.h
 *	  The one way pg_tide runs SQL: a frame that sets user, security context and
 *	  settings, and puts them back. After an ERROR transaction abort restores all
 *	  of it, so callers need no PG_TRY.
 */
#ifndef TIDE_SPI_H
#define TIDE_SPI_H

#include "executor/spi.h"

typedef enum TideSpiUser
{
	TIDE_AS_CALLER,				/* current user and search_path stay */
	TIDE_AS_OWNER				/* owner of the extension, restricted
								 * operation, search_path = pg_catalog,
								 * pg_temp */
} TideSpiUser;

typedef struct TideSpiFrame
{
	Oid			save_user;
	int			save_sec_context;
	int			guc_nest_level;
	bool		as_owner;
	bool		connected;
} TideSpiFrame;

/*
 * Fixed settings for text that leaves pg_tide: TimeZone, DateStyle,
 * IntervalStyle, extra_float_digits, bytea_output. Returns the GUC nest level
 * for tide_settings_pop(). Cheap when the session already has them.
 */
extern int	tide_settings_push(void);
extern void tide_settings_pop(int nest_level);

/* the same for the rest of the session; only outside of a transaction */
extern void tide_settings_set(void);

/*
 * User + security context + search_path of user_id (a shape's owner, say), no SPI. What his code
 * sets goes at the end, also what it meant for the session or the transaction: it must not show in
 * what others' code does, nor in what we write.
 */
extern void tide_user_push(TideSpiFrame *frame, Oid user_id);
extern void tide_user_pop(TideSpiFrame *frame);

/* the same within the frame, between his code and ours */
extern void tide_user_reset(TideSpiFrame *frame);

/*
 * Owner of extension pg_tide in this database. ERROR 55000 if the extension's objects here are of
 * another version than this library.
 */
extern Oid	tide_extension_owner(void);

/* the version of the objects here if it is another, palloc'd; NULL if it is this library's, or there are none */
extern char *tide_extension_other_version(void);

/* ERROR 55000 unless tide_extension_other_version() is NULL */
extern void tide_extension_check_version(void);

extern void tide_spi_begin(TideSpiFrame *frame, TideSpiUser as);
extern void tide_spi_begin_user(TideSpiFrame *frame, Oid user_id);	/* as tide_user_push() */
extern void tide_spi_end(TideSpiFrame *frame);

/*
 * Prepare *plan once for the life of the process, then run it. Returns the SPI
 * code; raises an ERROR on any failure code. Arguments may be NULL by nulls[i] = 'n'.
 */
extern int	tide_spi_run(SPIPlanPtr *plan, const char *sql, int nargs,
						 const Oid *types, const Datum *values, const char *nulls,
						 bool read_only, long limit);

/* run a statement about one integer as the extension's owner; rows concerned. No plan is kept. */
extern uint64 tide_spi_run_for(const char *sql, int id);

#endif							/* TIDE_SPI_H */
