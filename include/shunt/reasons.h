/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_REASONS_H
#define SHUNT_REASONS_H

/*
 * Why a packet was forwarded, restored, passed, rejected or dropped.
 *
 * X(NAME, ACTION, text): NAME becomes SHUNT_R_NAME, ACTION one of enum shunt_action,
 * text is what people read in `shunt status`, in metrics and in the documentation.
 * The number is the position: append only. A retired reason keeps its line.
 *
 * FORWARD  translated towards the backend, goes on through the stack
 * RESTORE  an answer, translated back towards the client
 * PASS     left untouched, goes on through the stack
 * REJECT   answered with a TCP RST or an ICMP error
 * DROP     discarded; the sender's retransmission is expected
 */
#define SHUNT_REASONS(X)                                                                           \
	X(FORWARDED, FORWARD, "translated to a backend")                                           \
	X(RESTORED, RESTORE, "answer translated back to the frontend")                             \
	X(NOT_IP, PASS, "neither IPv4 nor IPv6")                                                   \
	X(TRUNCATED, PASS, "headers cut short")                                                    \
	X(FRAGMENT, PASS, "IP fragment that cuts or overlaps the headers; XDP before 5.18: any")   \
	X(IPV4_OPTIONS, PASS, "IPv4 header of a wrong length; XDP before 5.18: any with options")  \
	X(L4_PROTO, PASS, "neither TCP nor UDP, nor an ICMP error")                                \
	X(NO_SERVICE, PASS, "destination is not a frontend")                                       \
	X(NO_REPLY, PASS, "not the answer of a known flow")                                        \
	X(RELEASED, PASS, "service released: new connections go to the cluster's proxy")           \
	X(DRAINING, PASS, "node is detaching: new connections go to the cluster's proxy")          \
	X(MIDSTREAM_SHARED, PASS,                                                                  \
	  "mid-stream, no entry, shared frontend: the cluster's proxy has it")                     \
	X(MIDSTREAM_OWNED, REJECT, "mid-stream, no entry, owned frontend")                         \
	X(DIRECT, PASS, "direct connection to a known backend")                                    \
	X(ALREADY, PASS, "translated at an earlier gate")                                          \
	X(NO_WEIGHT, REJECT, "all variants have weight 0")                                         \
	X(NO_BACKEND, REJECT, "the chosen variant has no usable backend")                          \
	X(BACKEND_GONE, REJECT, "backend was removed and its drain deadline is over")              \
	X(TABLE_FULL, REJECT, "no room in the flow table")                                         \
	X(NO_PORT, REJECT, "no free source port for a colliding flow")                             \
	X(HELD, DROP, "held for a moment, by an ABI handover or a race: the sender retries")       \
	X(BAD_CONFIG, PASS, "a map lacks a record that another one names")                         \
	X(REWRITE, DROP, "the packet could not be rewritten")                                      \
	X(ICMP_FORWARDED, FORWARD, "ICMP error about an answer, translated to its backend")        \
	X(ICMP_RESTORED, RESTORE, "ICMP error of the backend's side, translated to its client")    \
	X(ICMP_UNKNOWN, PASS, "ICMP error that is not about a known flow")                         \
	X(ICMP_QUOTE, PASS, "ICMP error that quotes no plain TCP or UDP header")                   \
	X(ICMP_REDIRECT, DROP, "ICMP redirect about a translated flow")                            \
	X(ANSWER_LIMIT, DROP,                                                                      \
	  "would be rejected, but this CPU has answered enough: --icmp-rate, --rst-rate")          \
	X(SPOOFED, DROP, "claims an address of this side at an external gate")                     \
	X(OTHER_HOST, PASS, "frame for another host, seen by a gate that hears everything")        \
	X(FRAGMENT_UNKNOWN, PASS, "IP fragment whose first one is not known, or too long ago")     \
	X(EXT_HEADERS, PASS, "IPv6 extension headers: more than 6, or a route that goes on")       \
	X(VLAN_DEPTH, PASS, "more than two VLAN tags")                                             \
	X(REPLACED, FORWARD, "mid-stream, no entry, owned frontend: led where the choice says")    \
	X(STATELESS, FORWARD,                                                                      \
	  "no room in the flow table: led where the choice says, without an entry")                \
	X(HAIRPIN, FORWARD, "of a pod that reached itself through its own service")                \
	X(NO_ROUTE, DROP, "no route, neighbour or source address to go on by redirect")            \
	X(HOP_LIMIT, REJECT, "hop limit used up where packets go on by redirect")                  \
	X(TOO_BIG, REJECT, "longer than the way on by redirect takes")                             \
	X(CLIENT_SHARE, REJECT, "the client has its share of the flow table: --client-share")      \
	X(BY_STACK, FORWARD, "--forward redirect finds no next hop: the flow goes by the stack")   \
	X(LIMITED, REJECT, "over a rate limit of its service's policy")                            \
	X(LIMITED_DROP, DROP, "over a rate limit of its service's policy, which says drop")        \
	X(IN_FLIGHT, REJECT, "as many connections at once as its service's policy lets in")        \
	X(IN_FLIGHT_DROP, DROP,                                                                    \
	  "as many connections at once as its service's policy lets in, which says drop")          \
	X(SOURCE_DENIED, REJECT, "its address may not connect: address lists of the policy")       \
	X(SOURCE_DENIED_DROP, DROP, "its address is in none of the loadBalancerSourceRanges")      \
	X(BREAKER_OPEN, REJECT, "its circuit breaker is open, or recovers and admits a part")      \
	X(REFUSED, DROP,                                                                           \
	  "its backend refused a connection: kept from the client, whose next SYN goes to "        \
	  "another")                                                                               \
	X(REQUEST_LIMITED, REJECT, "HTTP request over a limit of its service's policy")            \
	X(REQUEST_BEHIND, DROP, "behind an HTTP request that was refused, on the same connection")

enum shunt_action {
	SHUNT_A_PASS,
	SHUNT_A_FORWARD,
	SHUNT_A_RESTORE,
	SHUNT_A_REJECT,
	SHUNT_A_DROP,
};

enum shunt_reason {
#define SHUNT_REASON_ENUM(name, action, text) SHUNT_R_##name,
	SHUNT_REASONS(SHUNT_REASON_ENUM)
#undef SHUNT_REASON_ENUM
		SHUNT_R_MAX
};

#endif
