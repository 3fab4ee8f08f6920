/*
 * arena.h
 *	  Very many small things in one memory context, without a header or rounding up
 *	  for each: they go together, when the context is reset.
 */
#ifndef TIDE_ARENA_H
#define TIDE_ARENA_H

#include "utils/palloc.h"

#define TIDE_ARENA_BLOCK	(64 * 1024)

typedef struct TideArena
{
	char	   *next;
	Size		left;			/* set to 0 when the context has been reset */
} TideArena;

static inline void *
tide_arena_alloc(TideArena *arena, MemoryContext context, Size size)
{
	void	   *result;

	size = MAXALIGN(size);
	if (size > TIDE_ARENA_BLOCK / 8)
		return MemoryContextAlloc(context, size);
	if (size > arena->left)
	{
		arena->next = MemoryContextAlloc(context, TIDE_ARENA_BLOCK);
		arena->left = TIDE_ARENA_BLOCK;
	}
	result = arena->next;
	arena->next += size;
	arena->left -= size;
	return result;
}

#endif							/* TIDE_ARENA_H */
