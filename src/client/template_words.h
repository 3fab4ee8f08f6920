/*
 * template_words.h
 *	  The words of templates (see template.h), and what they are about.
 */
#ifndef TIDE_CLIENT_TEMPLATE_WORDS_H
#define TIDE_CLIENT_TEMPLATE_WORDS_H

#include "client/dialect.h"

/* what the text at hand is about; inner blocks see what outer ones set */
typedef struct Scope
{
	const TideDialect *dialect;
	List	   *shape_names;
	List	   *tables;
	const TideClientTable *table;
	const TideClientSet *set;
	const TideClientColumn *column;
	const TideClientHolder *holder; /* in {{each holders}} */
} Scope;

/* {{name}} */
extern char *tide_template_value(const char *name, const Scope *scope);

/* {{name}}inner{{end}}, inner already expanded; name is one of a wrapper */
extern bool tide_template_is_wrapper(const char *name);
extern char *tide_template_wrap(const char *name, const Scope *scope, const char *inner);

/* {{each name}} over columns of the table at hand; false if there is no such list */
extern bool tide_template_columns(const char *name, const Scope *scope, List **columns);

/*
 * {{if name}}: "<list>" holds if the list of columns is not empty, "no<list>" if it
 * is; "is<what>" asks the column at hand.
 */
extern bool tide_template_condition(const char *name, const Scope *scope);

#endif							/* TIDE_CLIENT_TEMPLATE_WORDS_H */
