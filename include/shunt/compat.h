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
#define SHUNT_OUTLINE  __attribute__((noinline))
#define shunt_htonl(x) bpf_htonl(x)
#define shunt_ntohl(x) bpf_ntohl(x)
#else
#include <arpa/inet.h>

#define SHUNT_INLINE   inline __attribute__((always_inline, unused))
#define SHUNT_OUTLINE  static inline __attribute__((unused))
#define shunt_htonl(x) htonl(x)
#define shunt_ntohl(x) ntohl(x)
#endif

/* One access, not split, not repeated, not moved by the compiler over another of its kind. */
#define SHUNT_READ_ONCE(x)     (*(const volatile __typeof__(x) *)&(x))
#define SHUNT_WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))

/* Both clang for BPF (-mcpu=v3) and user space make one locked instruction of these. */
#define shunt_cmpxchg(ptr, old, new_) __sync_val_compare_and_swap(ptr, old, new_)
#define shunt_fetch_add(ptr, value)   __sync_fetch_and_add(ptr, value)

#endif
