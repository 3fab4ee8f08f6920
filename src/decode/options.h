/*
 * options.h
 *	  The output plugin's options.
 */
#ifndef TIDE_DECODE_OPTIONS_H
#define TIDE_DECODE_OPTIONS_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* what a line says happened; also bits of TideDecodeOptions.actions */
typedef enum TideLineType
{
	TIDE_LINE_INSERT,
	TIDE_LINE_UPDATE,
	TIDE_LINE_DELETE,
	TIDE_LINE_TRUNCATE,
	TIDE_LINE_NONE				/* nothing to say */
} TideLineType;

#define TIDE_LINE_TYPES			TIDE_LINE_NONE
#define TIDE_ACTION(type)		(1 << (type))
#define TIDE_ALL_ACTIONS		(TIDE_ACTION(TIDE_LINE_TYPES) - 1)

/* the names of the line types, as options and as "type" */
extern const char *const tide_line_type_names[TIDE_LINE_TYPES];

typedef struct TideDecodeOptions
{
	List	   *shapes;			/* of char *, names as given */
	Jsonb	   *params;			/* NULL: not given */
	Jsonb	   *claims;			/* NULL: not given */
	List	   *tables;			/* of TideTablePattern; NIL: not given */
	int			actions;		/* bits TIDE_ACTION(type) */
	bool		include_lsn;
	bool		include_xid;
	bool		include_timestamp;
	bool		include_types;
	bool		include_key;
	bool		include_old;
	bool		messages;
	List	   *message_prefixes;	/* of char *; NIL: all */
	bool		local_origin_only;
	bool		numbers_as_strings;
	bool		whole_transactions; /* format = transaction */
	bool		ddl;			/* lines for what pg_tide's event triggers
								 * tell */
	bool		partitions_as_root; /* partitions = root */
	bool		streaming;		/* transactions in progress, in blocks */
	bool		two_phase;		/* prepared transactions, at PREPARE
								 * TRANSACTION */
} TideDecodeOptions;

/*
 * Set *options from the list of DefElem a client gave. Everything is allocated in
 * the current context. ERROR 22023 for an option that is unknown (all valid ones are
 * listed), given twice, malformed, or in conflict with another.
 */
extern void tide_decode_options_parse(TideDecodeOptions *options, List *given);

#endif							/* TIDE_DECODE_OPTIONS_H */
