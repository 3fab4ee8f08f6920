/*
 * postgres.h
 *	  What cppcheck must know of the server's macros, as it is not given the server's
 *	  headers: that loops are loops, and that errors do not return.
 */
#define ERROR 21
#define FATAL 22
#define PANIC 23
#define ereport(level, ...) do { if ((level) >= ERROR) abort(); } while (0)
#define elog(level, ...) do { if ((level) >= ERROR) abort(); } while (0)
#define tide_input_error_compat(fcinfo, ...) return 0
#define foreach(cell, list) for (ListCell *cell = list_head(list); cell != NULL; cell = lnext(list, cell))
#define forboth(cell1, list1, cell2, list2) \
	ListCell *cell2 = list_head(list2); \
	for (ListCell *cell1 = list_head(list1); cell1 != NULL && cell2 != NULL; \
		 cell1 = lnext(list1, cell1), cell2 = lnext(list2, cell2))
#define foreach_delete_current(list, cell) list_delete_cell(list, cell)
#define PG_TRY() do { if (try_begins()) {
#define PG_CATCH() } else {
#define PG_FINALLY() } {
#define PG_END_TRY() } } while (0)
#define PG_RE_THROW() abort()
#define Assert(condition) do { if (!(condition)) abort(); } while (0)
#define TIDE_NORETURN __attribute__((noreturn))
#define pg_unreachable() abort()
