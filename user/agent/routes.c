// SPDX-License-Identifier: Apache-2.0
#include "agent/routes.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/netlink.h"
#include "base/cleanup.h"

/* ---- what is told -------------------------------------------------------------------------- */

int agent_routes_open(void)
{
	static const int groups[] = { RTNLGRP_LINK,	 RTNLGRP_NEIGH,	     RTNLGRP_IPV4_ROUTE,
				      RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV6_RULE,
				      RTNLGRP_NEXTHOP };
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
	CLEANUP(fd_closep) int fd = -EBADF;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	/* Who has no number hears nothing. */
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(groups); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i],
			       sizeof(groups[i])) < 0)
			return -errno;
	return TAKE_FD(fd);
}

static void take_news(const void *buf, size_t len, struct agent_routes_news *news)
{
	const struct nlmsghdr *hdr = buf;

	for (; NLMSG_OK(hdr, len); hdr = NLMSG_NEXT(hdr, len)) {
		news->any = true;
		news->rules |= hdr->nlmsg_type == RTM_NEWRULE || hdr->nlmsg_type == RTM_DELRULE;
	}
}

int agent_routes_read(int fd, struct agent_routes_news *ret_news)
{
	_Alignas(struct nlmsghdr) char buf[32768];
	struct agent_routes_news news = { 0 };

	for (;;) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);

		if (len > 0) {
			take_news(buf, (size_t)len, &news);
		} else if (len < 0 && errno == ENOBUFS) {
			news = (struct agent_routes_news){ true, true };
		} else if (!len || errno == EAGAIN) {
			*ret_news = news;
			return 0;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

/* ---- rules --------------------------------------------------------------------------------- */

static int add_rule(const struct nlmsghdr *hdr, void *arg)
{
	const struct fib_rule_hdr *rule = NLMSG_DATA(hdr);
	bool *asks = arg;

	*asks |= hdr->nlmsg_len >= NLMSG_LENGTH(sizeof(*rule)) && rule->src_len;
	return 0;
}

int agent_rules_ask_sources(void)
{
	bool asks = false;
	int r = agent_netlink_dump(RTM_GETRULE, add_rule, &asks);

	return r < 0 ? r : asks;
}

/* ---- neighbours ------------------------------------------------------------------------------ */

/* Where the route to an address leads. */
struct way {
	uint32_t ifindex;
	uint8_t next[16]; /* the gateway, or the address itself */
	int family;	  /* AF_*, of next */
};

struct request {
	struct nlmsghdr hdr;
	union {
		struct rtmsg route;
		struct ndmsg neighbour;
	};
	char attrs[64];
};

static void add_attr(struct request *request, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attr = (void *)((char *)request + NLMSG_ALIGN(request->hdr.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	memcpy(RTA_DATA(attr), data, len);
	request->hdr.nlmsg_len =
		(uint32_t)(NLMSG_ALIGN(request->hdr.nlmsg_len) + RTA_ALIGN(attr->rta_len));
}

/* Sends a request and waits for its answer in @buf. Return: the length, or -errno. */
static ssize_t talk(int fd, const struct request *request, void *buf, size_t size)
{
	const struct nlmsghdr *hdr = buf;
	ssize_t len;

	if (send(fd, request, request->hdr.nlmsg_len, 0) < 0)
		return -errno;
	do {
		len = recv(fd, buf, size, 0);
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	if (!NLMSG_OK(hdr, (size_t)len))
		return -EPROTO;
	if (hdr->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(hdr))->error;
	return len;
}

static void read_way(const struct nlmsghdr *hdr, struct way *way)
{
	const struct rtmsg *route = NLMSG_DATA(hdr);
	const struct rtattr *attr = RTM_RTA(route);
	size_t len = RTM_PAYLOAD(hdr);

	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		if (attr->rta_type == RTA_OIF && RTA_PAYLOAD(attr) == sizeof(way->ifindex)) {
			memcpy(&way->ifindex, RTA_DATA(attr), sizeof(way->ifindex));
		} else if (attr->rta_type == RTA_GATEWAY && RTA_PAYLOAD(attr) <= 16) {
			memcpy(way->next, RTA_DATA(attr), RTA_PAYLOAD(attr));
		} else if (attr->rta_type == RTA_VIA && RTA_PAYLOAD(attr) > 2 &&
			   RTA_PAYLOAD(attr) <= 18) {
			/* struct rtvia: a gateway of the other family */
			memcpy(&way->family, RTA_DATA(attr), sizeof(uint16_t));
			memcpy(way->next, (char *)RTA_DATA(attr) + 2, RTA_PAYLOAD(attr) - 2);
		}
	}
}

/* Asks the kernel for the way. Return: 1, 0: there is none, or -errno. */
static int find_way(int fd, struct way *way, size_t addr_len)
{
	_Alignas(struct nlmsghdr) char buf[4096];
	struct request request = {
		.hdr = { .nlmsg_len = NLMSG_LENGTH(sizeof(request.route)),
			 .nlmsg_type = RTM_GETROUTE,
			 .nlmsg_flags = NLM_F_REQUEST },
		.route = { .rtm_family = (uint8_t)way->family,
			   .rtm_dst_len = (uint8_t)(addr_len * 8) },
	};
	const struct nlmsghdr *hdr = (const void *)buf;
	ssize_t r;

	add_attr(&request, RTA_DST, way->next, addr_len);
	r = talk(fd, &request, buf, sizeof(buf));
	if (r < 0)
		return r == -ENETUNREACH || r == -EHOSTUNREACH || r == -EACCES || r == -EINVAL
			       ? 0
			       : (int)r;
	if (hdr->nlmsg_type != RTM_NEWROUTE ||
	    ((const struct rtmsg *)NLMSG_DATA(hdr))->rtm_type != RTN_UNICAST)
		return 0;
	read_way(hdr, way);
	return 1;
}

int agent_neighbour_use(int fd, const struct shunt_addr *addr, int family, const uint32_t *uplinks,
			size_t n)
{
	const size_t len = family == SHUNT_V4 ? 4 : 16;
	struct way way = { .family = family == SHUNT_V4 ? AF_INET : AF_INET6 };
	_Alignas(struct nlmsghdr) char buf[1024];
	struct request request = {
		.hdr = { .nlmsg_len = NLMSG_LENGTH(sizeof(request.neighbour)),
			 .nlmsg_type = RTM_NEWNEIGH,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK },
		.neighbour = { .ndm_flags = NTF_USE, .ndm_state = NUD_NONE },
	};
	bool is_uplink = false;
	int r;

	memcpy(way.next, family == SHUNT_V4 ? &addr->word_be[3] : &addr->word_be[0], len);
	r = find_way(fd, &way, len);
	for (size_t i = 0; i < n; i++)
		is_uplink |= uplinks[i] == way.ifindex;
	if (r <= 0 || !is_uplink)
		return r < 0 ? r : 0;
	request.neighbour.ndm_family = (uint8_t)way.family;
	request.neighbour.ndm_ifindex = (int)way.ifindex;
	add_attr(&request, NDA_DST, way.next, way.family == AF_INET ? 4 : 16);
	r = (int)talk(fd, &request, buf, sizeof(buf));
	return r < 0 ? r : 1;
}
