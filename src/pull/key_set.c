/*
 * key_set.c
 *	  Sets of tuples of texts, as sorted arrays.
 */
#include "postgres.h"

#include "pull/key_set.h"

TideKeySet *
tide_key_set_create(int width)
{
	TideKeySet *set = palloc0(sizeof(TideKeySet));

	set->width = width;
	return set;
}

void
tide_key_set_add(TideKeySet *set, char **tuple)
{
	if (set->n == set->max)
	{
		set->max = Max(8, set->max * 2);
		set->tuples = set->tuples == NULL ? palloc(sizeof(char **) * set->max) :
			repalloc(set->tuples, sizeof(char **) * set->max);
	}
	set->tuples[set->n++] = tuple;
}

static int
compare_tuples(char *const *a, char *const *b, int width)
{
	for (int i = 0; i < width; i++)
	{
		int			order = strcmp(a[i], b[i]);

		if (order != 0)
			return order;
	}
	return 0;
}

static int
compare_elements(const void *a, const void *b, void *width)
{
	return compare_tuples(*(char *const *const *) a, *(char *const *const *) b,
						  *(int *) width);
}

void
tide_key_set_finish(TideKeySet *set)
{
	int			kept = 0;

	if (set->n < 2)
		return;
	qsort_arg(set->tuples, set->n, sizeof(char **), compare_elements, &set->width);
	for (int i = 1; i < set->n; i++)
		if (compare_tuples(set->tuples[kept], set->tuples[i], set->width) != 0)
			set->tuples[++kept] = set->tuples[i];
	set->n = kept + 1;
}

bool
tide_key_set_has(const TideKeySet *set, char *const *tuple)
{
	int			low = 0;
	int			high = set->n;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			order = compare_tuples(tuple, set->tuples[middle], set->width);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}
