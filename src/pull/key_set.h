/*
 * key_set.h
 *	  Sets of tuples of texts: what some parts of a bucket key may be together.
 */
#ifndef TIDE_KEY_SET_H
#define TIDE_KEY_SET_H

typedef struct TideKeySet
{
	int			width;			/* texts in a tuple */
	int			n;
	int			max;
	char	 ***tuples;
} TideKeySet;

/* all in the current context; tuples are kept, not copied */
extern TideKeySet *tide_key_set_create(int width);
extern void tide_key_set_add(TideKeySet *set, char **tuple);

/* into order and without doubles, once all are added; then it can be searched */
extern void tide_key_set_finish(TideKeySet *set);
extern bool tide_key_set_has(const TideKeySet *set, char *const *tuple);

#endif							/* TIDE_KEY_SET_H */
