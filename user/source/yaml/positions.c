// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/positions.h"

#include <errno.h>
#include <stdlib.h>

struct entry {
	const void *what; /* NULL: free */
	struct shunt_position at;
};

/* Open addressing, at most half full. */
struct shunt_positions {
	unsigned n_refs;
	size_t n;
	size_t room; /* a power of two, or 0 */
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

static struct entry *find_slot(struct entry *entries, size_t room, const void *what)
{
	size_t i = ((uintptr_t)what >> 4) * 0x9e3779b97f4a7c15ull >> 20 & (room - 1);

	while (entries[i].what && entries[i].what != what)
		i = (i + 1) & (room - 1);
	return &entries[i];
}

static int grow(struct shunt_positions *positions)
{
	size_t room = positions->room ? positions->room * 2 : 64;
	struct entry *entries = calloc(room, sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	for (size_t i = 0; i < positions->room; i++)
		if (positions->entries[i].what)
			*find_slot(entries, room, positions->entries[i].what) =
				positions->entries[i];
	free(positions->entries);
	positions->entries = entries;
	positions->room = room;
	return 0;
}

int shunt_positions_add(struct shunt_positions *positions, const void *what,
			struct shunt_position at)
{
	struct entry *slot;

	if (positions->n * 2 >= positions->room && grow(positions) < 0)
		return -ENOMEM;
	slot = find_slot(positions->entries, positions->room, what);
	if (slot->what)
		return 0;
	slot->what = what;
	slot->at = at;
	positions->n++;
	return 0;
}

bool shunt_positions_find(const struct shunt_positions *positions, const void *what,
			  struct shunt_position *ret_at)
{
	const struct entry *slot;

	if (!positions->room)
		return false;
	slot = find_slot(positions->entries, positions->room, what);
	if (!slot->what)
		return false;
	*ret_at = slot->at;
	return true;
}
