/*
 * template.h
 *	  Expands the template of a client schema.
 *
 * A template is text with tags:
 *	  {{name}}					a value: of the script, the table or the column at hand
 *	  {{each what}}...{{end}}	once for each; {{each what|, }} puts ", " between
 *	  {{if what}}...{{end}}		only if so
 *	  {{enc}}...{{end}}			and the other wrappers: the inner text, wrapped
 * A block tag alone on its line leaves no line behind. template_words.c has the lists of
 * names; an unknown one is a bug of the template.
 */
#ifndef TIDE_CLIENT_TEMPLATE_H
#define TIDE_CLIENT_TEMPLATE_H

#include "lib/stringinfo.h"

#include "client/dialect.h"

extern void tide_template_expand(StringInfo out, const TideDialect *dialect,
								 List *shape_names, List *tables);

#endif							/* TIDE_CLIENT_TEMPLATE_H */
