/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_CSUM_H
#define SHUNT_BPF_CSUM_H

#include "shunt/compat.h"

/*
 * Internet checksum arithmetic (RFC 1071, RFC 1624). A diff is what must be added to a
 * one's-complement sum when words change: ~old + new, folded to 32 bits.
 */

static __always_inline __u64 csum_diff_word(__u64 diff, __be32 from, __be32 to)
{
	return diff + (__u32)~from + to;
}

static __always_inline __u32 csum_fold32(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static __always_inline __u16 csum_fold16(__u64 sum)
{
	sum = csum_fold32(sum);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* The header checksum @check after words changed by @diff. */
static __always_inline __u16 csum_update(__u16 check, __u64 diff)
{
	return ~csum_fold16((__u64)(__u16)~check + csum_fold32(diff));
}

#endif
