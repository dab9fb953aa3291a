// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/positions.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"

struct entry {
	const void *what;
	struct shunt_position at;
};

/*
 * Noted in the order of the document, then sorted once: a cluster's worth of objects is kept
 * in memory with its positions, and a hash table took three times the room.
 */
struct shunt_positions {
	unsigned n_refs;
	size_t n;
	struct entry *entries;
};

struct shunt_positions *shunt_positions_new(void)
{
	struct shunt_positions *positions = calloc(1, sizeof(*positions));

	if (positions)
		positions->n_refs = 1;
	return positions;
}

struct shunt_positions *shunt_positions_ref(struct shunt_positions *positions)
{
	if (positions)
		positions->n_refs++;
	return positions;
}

void shunt_positions_unref(struct shunt_positions *positions)
{
	if (!positions || --positions->n_refs)
		return;
	free(positions->entries);
	free(positions);
}

int shunt_positions_add(struct shunt_positions *positions, const void *what,
			struct shunt_position at)
{
	struct entry *entry = shunt_array_add(&positions->entries, &positions->n, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	*entry = (struct entry){ what, at };
	return 0;
}

static int compare_what(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->what < y->what ? -1 : x->what > y->what;
}

/* What was noted twice: the place that comes first in the document. */
static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int r = compare_what(a, b);

	if (!r)
		r = (x->at.line > y->at.line) - (x->at.line < y->at.line);
	return r ? r : (x->at.column > y->at.column) - (x->at.column < y->at.column);
}

void shunt_positions_seal(struct shunt_positions *positions)
{
	struct entry *fitting;
	size_t n = 0;

	if (!positions->n)
		return;
	qsort(positions->entries, positions->n, sizeof(*positions->entries), compare);
	for (size_t i = 0; i < positions->n; i++)
		if (!n || positions->entries[n - 1].what != positions->entries[i].what)
			positions->entries[n++] = positions->entries[i];
	positions->n = n;
	fitting = realloc(positions->entries, n * sizeof(*fitting));
	if (fitting)
		positions->entries = fitting;
}

bool shunt_positions_find(const struct shunt_positions *positions, const void *what,
			  struct shunt_position *ret_at)
{
	const struct entry key = { .what = what }, *found;

	if (!positions->n)
		return false;
	found = bsearch(&key, positions->entries, positions->n, sizeof(key), compare_what);
	if (!found)
		return false;
	*ret_at = found->at;
	return true;
}
