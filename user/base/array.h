/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_ARRAY_H
#define SHUNT_BASE_ARRAY_H

#include <stddef.h>

/**
 * shunt_array_add - one more zeroed element at the end of a growing array
 * @array_ptr: address of the array's pointer (T **); may move
 * @n:         number of elements, raised by one
 * @item_size: sizeof(T)
 *
 * The array's room is the power of two at or above @n, so it must have grown by this
 * function alone. Freed with free().
 *
 * Return: the element, or NULL when memory is out (nothing changed then).
 */
void *shunt_array_add(void *array_ptr, size_t *n, size_t item_size);

#endif
