// SPDX-License-Identifier: Apache-2.0
#include "base/array.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *shunt_array_add(void *array_ptr, size_t *n, size_t item_size)
{
	char *array;
	char *item;

	memcpy(&array, array_ptr, sizeof(array));
	if ((*n & (*n - 1)) == 0) { /* 0 or a power of two: full */
		size_t room = *n ? *n * 2 : 1;

		if (room > SIZE_MAX / item_size)
			return NULL;
		array = realloc(array, room * item_size);
		if (!array)
			return NULL;
		memcpy(array_ptr, &array, sizeof(array));
	}
	item = array + *n * item_size;
	memset(item, 0, item_size);
	(*n)++;
	return item;
}
