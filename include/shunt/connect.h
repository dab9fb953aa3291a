/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_CONNECT_H
#define SHUNT_CONNECT_H

#include <linux/types.h>

#include "compat.h"

/*
 * A connection's SYN, in one word of its flow's record (backend_isn, which nobody else needs before
 * the backend's answer): the low half of its sequence number, and when it came.
 *
 * The number is there to know what answers it: of forged answers by somebody who does not see the
 * connection, one in 65 536 passes. The time is the low 16 bits of the monotonic clock in units
 * of 1024 ns, so it begins anew every 67 ms; the jiffies of the record say how often it did.
 */
#define SHUNT_SYN_UNTIMED 1u /* instead of the time */

/* @now_ns: 0: it is not timed. */
static SHUNT_INLINE __u32 shunt_syn_mark(__u32 isn, __u64 now_ns)
{
	__u32 time = (__u16)(now_ns >> 10);

	if (time <= SHUNT_SYN_UNTIMED)
		time = now_ns ? SHUNT_SYN_UNTIMED + 1 : SHUNT_SYN_UNTIMED;
	return isn << 16 | time;
}

/* The mark of a SYN that its backend has refused, which the client was not told; may be none. */
static SHUNT_INLINE __u32 shunt_syn_refused(__u32 mark)
{
	return mark & 0xffff0000u;
}

static SHUNT_INLINE int shunt_syn_is_refused(__u32 mark)
{
	return !(__u16)mark;
}

static SHUNT_INLINE int shunt_syn_is_timed(__u32 mark)
{
	return (__u16)mark > SHUNT_SYN_UNTIMED;
}

/* Is @mark, which may be 0: none, of a SYN with @isn? */
static SHUNT_INLINE int shunt_syn_is(__u32 mark, __u32 isn)
{
	return mark && mark >> 16 == (isn & 0xffff);
}

/**
 * shunt_syn_age_us - how long ago the SYN of @mark was
 * @jiffies:  since then, as another clock has it: within a jiffy
 * @jiffy_us: a jiffy in microseconds: 10 000 at most, or the turns could not be told
 */
static SHUNT_INLINE __u32 shunt_syn_age_us(__u32 mark, __u64 now_ns, __u32 jiffies, __u32 jiffy_us)
{
	__u64 fine = (__u16)((now_ns >> 10) - mark), coarse = (__u64)jiffies * jiffy_us, us;

	/* To the number of turns that comes nearest to what the jiffies say, in the same unit. */
	coarse -= coarse * 3 >> 7;
	if (coarse + 0x8000 >= fine)
		fine += (coarse + 0x8000 - fine) & ~0xffffull;
	else
		fine = 0; /* less than no time: the mark keeps clear of SHUNT_SYN_UNTIMED */
	us = fine + (fine * 1573 >> 16); /* 1.024, without a division */
	return us < 0xffffffff ? us : 0xffffffff;
}

#endif
