// SPDX-License-Identifier: Apache-2.0
#include "agent/netlink.h"

#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

int agent_netlink_open(void)
{
	CLEANUP(fd_closep) int fd = -EBADF;
	struct sockaddr_nl addr = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
	};

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int agent_netlink_parse(const void *buf, size_t len, struct agent_netlink_news *news)
{
	const struct nlmsghdr *hdr = buf;
	const struct ifinfomsg *info;
	uint32_t *deleted;

	for (; NLMSG_OK(hdr, len); hdr = NLMSG_NEXT(hdr, len)) {
		news->any = true;
		if (hdr->nlmsg_type != RTM_DELLINK || hdr->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
			continue;
		info = NLMSG_DATA(hdr);
		/* AF_BRIDGE: it only left its bridge. */
		if (info->ifi_family != AF_UNSPEC)
			continue;
		deleted = realloc(news->deleted, (news->n_deleted + 1) * sizeof(*deleted));
		if (!deleted)
			return -ENOMEM;
		news->deleted = deleted;
		deleted[news->n_deleted++] = info->ifi_index;
	}
	return 0;
}

int agent_netlink_read(int fd, struct agent_netlink_news *ret_news)
{
	_Alignas(struct nlmsghdr) char buf[32768];
	struct agent_netlink_news news = { 0 };
	ssize_t len;
	int r = 0;

	while (!r) {
		len = recv(fd, buf, sizeof(buf), 0);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == ENOBUFS) {
			news.any = true;
			continue;
		}
		if (len < 0 && errno != EAGAIN)
			r = -errno;
		if (len <= 0)
			break;
		r = agent_netlink_parse(buf, len, &news);
	}
	if (r < 0) {
		free(news.deleted);
		return r;
	}
	*ret_news = news;
	return 0;
}

static int compare_ips(const void *a, const void *b)
{
	const struct shunt_ip *x = a, *y = b;

	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return memcmp(&x->addr, &y->addr, sizeof(x->addr));
}

/* The address of @entry in our form. Return: false if it is neither IPv4 nor IPv6. */
static bool read_address(const struct ifaddrs *entry, struct shunt_ip *ret_ip)
{
	struct shunt_ip ip;

	/* kube-proxy's IPVS mode keeps every Service's addresses there: not the node's. */
	if (!entry->ifa_addr || !strcmp(entry->ifa_name, "kube-ipvs0"))
		return false;
	memset(&ip, 0, sizeof(ip));
	if (entry->ifa_addr->sa_family == AF_INET) {
		ip.family = SHUNT_V4;
		ip.addr.word_be[3] = ((struct sockaddr_in *)entry->ifa_addr)->sin_addr.s_addr;
	} else if (entry->ifa_addr->sa_family == AF_INET6) {
		ip.family = SHUNT_V6;
		memcpy(ip.addr.word_be, &((struct sockaddr_in6 *)entry->ifa_addr)->sin6_addr, 16);
	} else {
		return false;
	}
	/* Each interface has one, also that of a pod that comes: nothing depends on it. */
	if (ip.family == SHUNT_V6 && shunt_ip_is_link_local(&ip))
		return false;
	*ret_ip = ip;
	return true;
}

/* Leaves one of equal neighbours. Return: how many there are then. */
static size_t unique(struct shunt_ip *addrs, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!kept || compare_ips(&addrs[kept - 1], &addrs[i]))
			addrs[kept++] = addrs[i];
	return kept;
}

int agent_addresses(struct shunt_ip **ret_addrs, size_t *ret_n)
{
	struct ifaddrs *list;
	struct shunt_ip *addrs;
	size_t n = 0;

	if (getifaddrs(&list) < 0)
		return -errno;
	for (struct ifaddrs *e = list; e; e = e->ifa_next)
		n++;
	addrs = calloc(n ? n : 1, sizeof(*addrs));
	if (!addrs) {
		freeifaddrs(list);
		return -ENOMEM;
	}
	n = 0;
	for (struct ifaddrs *e = list; e; e = e->ifa_next)
		n += read_address(e, &addrs[n]);
	freeifaddrs(list);
	qsort(addrs, n, sizeof(*addrs), compare_ips);
	*ret_addrs = addrs;
	*ret_n = unique(addrs, n);
	return 0;
}
