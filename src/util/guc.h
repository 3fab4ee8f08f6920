/*
 * guc.h
 *	  pg_tide's settings, all of prefix "tide.".
 */
#ifndef TIDE_GUC_H
#define TIDE_GUC_H

extern int	tide_max_page_size;		/* kB: a pull's page is cut there */

/* define the settings; called once, by _PG_init */
extern void tide_guc_init(void);

#endif							/* TIDE_GUC_H */
