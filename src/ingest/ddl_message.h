/*
 * ddl_message.h
 *	  DDL told in the WAL: one logical message for each object a command touched.
 */
#ifndef TIDE_DDL_MESSAGE_H
#define TIDE_DDL_MESSAGE_H

/* prefix of the transactional messages; the content is a JSON object in UTF-8 */
#define TIDE_DDL_PREFIX		"tide.ddl"

/*
 * From an event trigger on ddl_command_end: what the command made or changed; on sql_drop:
 * what it dropped, command being its tag. Whatever goes wrong is a WARNING.
 */
extern void tide_ddl_note_changed(void);
extern void tide_ddl_note_dropped(const char *command);

#endif							/* TIDE_DDL_MESSAGE_H */
