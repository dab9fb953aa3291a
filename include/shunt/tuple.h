/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_TUPLE_H
#define SHUNT_TUPLE_H

#include "abi.h"

/* What the parser reads of a packet, and everything behind it works with. */

struct shunt_tuple {
	struct shunt_addr src;
	struct shunt_addr dst;
	__be16 sport_be;
	__be16 dport_be;
	__u8 proto;
	__u8 family; /* enum shunt_slot_index */
	__u16 reserved;
};

enum shunt_tcp_flags {
	SHUNT_TCP_FIN = 1 << 0,
	SHUNT_TCP_SYN = 1 << 1,
	SHUNT_TCP_RST = 1 << 2,
	SHUNT_TCP_ACK = 1 << 3,
	SHUNT_TCP_FROM_BACKEND = 1 << 4, /* not of the header: the packet is an answer */
};

/* What of a TCP header the tracking needs; zero for UDP. */
struct shunt_tcp_view {
	__u32 seq; /* host order */
	__u32 ack;
	__u32 flags; /* enum shunt_tcp_flags */
};

#endif
