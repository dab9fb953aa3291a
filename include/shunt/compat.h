/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_COMPAT_H
#define SHUNT_COMPAT_H

/*
 * What the headers that are compiled for BPF and for user space need of either side. The
 * only place of include/ that asks which side it is.
 */
#ifdef __bpf__
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SHUNT_INLINE inline __attribute__((always_inline, unused))
/* A function that the verifier checks once, by itself, whoever calls it. */
#define SHUNT_OUTLINE __attribute__((noinline))
/*
 * Hides from clang how a pointer was made: of several pieces of code that differ in an offset
 * it would make one with a variable offset, which the verifier refuses without CAP_PERFMON.
 * @number: a constant, different for each piece.
 */
#define SHUNT_OPAQUE_CASE(ptr, number) asm volatile("" : "+r"(ptr) : "i"(number))

#define shunt_htonl(x) bpf_htonl(x)
#define shunt_ntohl(x) bpf_ntohl(x)
#else
#include <arpa/inet.h>

#define SHUNT_INLINE  inline __attribute__((always_inline, unused))
#define SHUNT_OUTLINE static inline __attribute__((unused))
#define SHUNT_OPAQUE_CASE(ptr, number)

#define shunt_htonl(x) htonl(x)
#define shunt_ntohl(x) ntohl(x)
#endif

/* X(0) ... X(n - 1): literal numbers, for SHUNT_OPAQUE_CASE(). */
#define SHUNT_REPEAT_8(X)  X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define SHUNT_REPEAT_16(X) SHUNT_REPEAT_8(X) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

/* One access, not split, not repeated, not moved by the compiler over another of its kind. */
#define SHUNT_READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define SHUNT_WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/*
 * One of two fields: both are read before one is chosen. clang would turn a choice among
 * addresses into a variable offset, which the verifier refuses without CAP_PERFMON.
 */
#define SHUNT_PICK(is_second, first, second)                                                       \
	({                                                                                         \
		__typeof__(first) first_ = SHUNT_READ_ONCE(first);                                 \
		__typeof__(second) second_ = SHUNT_READ_ONCE(second);                              \
		(is_second) ? second_ : first_;                                                    \
	})

/* Both clang for BPF (-mcpu=v3) and user space make one locked instruction of these. */
#define shunt_cmpxchg(ptr, old, new_) __sync_val_compare_and_swap(ptr, old, new_)
#define shunt_fetch_add(ptr, value)   __sync_fetch_and_add(ptr, value)

#endif
