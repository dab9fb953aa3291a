/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TESTS_BENCH_TARGET_H
#define SHUNT_TESTS_BENCH_TARGET_H

/* The program that a program of the bench calls by tail call: user space puts it at index 0. */
#define TARGET(name_)                                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY);                                             \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, __u32);                                                              \
	} name_ SEC(".maps")

#endif
