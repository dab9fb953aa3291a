/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_CLEANUP_H
#define SHUNT_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * Scope-bound ownership. A variable that owns something is declared with CLEANUP(fn) and
 * starts as NULL or -EBADF; fn gets the variable's address when the scope ends. TAKE()
 * hands the value over and leaves the empty one behind.
 */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define TAKE_PTR(ptr)                                                                              \
	({                                                                                         \
		__typeof__(ptr) taken_ = (ptr);                                                    \
		(ptr) = NULL;                                                                      \
		taken_;                                                                            \
	})

#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int taken_ = (fd);                                                                 \
		(fd) = -9; /* -EBADF */                                                            \
		taken_;                                                                            \
	})

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

static inline void freep(void *ptr)
{
	free(*(void **)ptr);
}

static inline void fd_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void file_closep(FILE **file)
{
	if (*file)
		fclose(*file);
}

#endif
