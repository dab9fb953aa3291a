// SPDX-License-Identifier: Apache-2.0
/* Interfaces and their addresses by rtnetlink: getifaddrs() tells neither kind nor scope. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/netlink.h"
#include "base/array.h"
#include "base/cleanup.h"
#include "datapath/links.h"

/* ---- a dump -------------------------------------------------------------------------------- */

static int ask(int fd, uint16_t type)
{
	struct {
		struct nlmsghdr hdr;
		struct rtgenmsg gen;
	} request = {
		.hdr = { .nlmsg_len = sizeof(request),
			 .nlmsg_type = type,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.gen = { .rtgen_family = AF_UNSPEC },
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

/* Return: 1 at the end of the dump, 0: there is more, or -errno. */
static int take(const void *buf, size_t len, agent_message_fn fn, void *arg)
{
	const struct nlmsghdr *hdr = buf;
	int r = 0;

	for (; !r && NLMSG_OK(hdr, len); hdr = NLMSG_NEXT(hdr, len)) {
		if (hdr->nlmsg_type == NLMSG_DONE)
			return 1;
		if (hdr->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(hdr))->error;
		r = fn(hdr, arg);
	}
	return r;
}

int agent_netlink_dump(uint16_t type, agent_message_fn fn, void *arg)
{
	CLEANUP(fd_closep) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	_Alignas(struct nlmsghdr) char buf[32768];
	int r;

	if (fd < 0)
		return -errno;
	r = ask(fd, type);
	while (!r) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);

		if (len < 0 && errno != EINTR)
			return -errno;
		if (len > 0)
			r = take(buf, (size_t)len, fn, arg);
	}
	return r < 0 ? r : 0;
}

/* Attribute @type of those from @attr on, or NULL. */
static const struct rtattr *find(const struct rtattr *attr, size_t len, unsigned short type)
{
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if ((attr->rta_type & NLA_TYPE_MASK) == type)
			return attr;
	return NULL;
}

/* ---- interfaces ---------------------------------------------------------------------------- */

int agent_links(struct agent_link **ret_links, size_t *ret_n)
{
	CLEANUP(freep) struct shunt_link *all = NULL;
	struct agent_link *links;
	size_t n;
	int r = shunt_links_read(&all, &n);

	if (r < 0)
		return r;
	links = calloc(n ? n : 1, sizeof(*links));
	if (!links)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		links[i].ifindex = all[i].ifindex;
		links[i].master = all[i].master;
		links[i].is_pod = all[i].is_elsewhere && !strcmp(all[i].kind, "veth");
		links[i].is_hardware = !all[i].kind[0];
		links[i].macs = shunt_links_macs(all, n, &all[i]);
		snprintf(links[i].ifname, sizeof(links[i].ifname), "%s", all[i].ifname);
	}
	*ret_links = links;
	*ret_n = n;
	return 0;
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* IPv4's secondary addresses have the bit of IPv6's temporary ones. */
#define UNFIT (IFA_F_DEPRECATED | IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_TEMPORARY)

struct sources {
	struct agent_source *items;
	size_t n;
};

static int add_source(const struct nlmsghdr *hdr, void *arg)
{
	const struct ifaddrmsg *msg = NLMSG_DATA(hdr);
	const struct rtattr *attrs = IFA_RTA(msg), *addr, *flags;
	size_t len = IFA_PAYLOAD(hdr);
	struct sources *sources = arg;
	struct agent_source source = { .ifindex = msg->ifa_index };
	uint32_t all = msg->ifa_flags;

	/* Behind a point-to-point link IFA_ADDRESS is the other end. */
	addr = find(attrs, len, IFA_LOCAL);
	if (!addr)
		addr = find(attrs, len, IFA_ADDRESS);
	flags = find(attrs, len, IFA_FLAGS);
	if (flags)
		memcpy(&all, RTA_DATA(flags), sizeof(all));
	if (!addr || msg->ifa_scope != RT_SCOPE_UNIVERSE || all & UNFIT)
		return 0;
	if (msg->ifa_family == AF_INET && RTA_PAYLOAD(addr) == 4) {
		source.ip.family = SHUNT_V4;
		memcpy(&source.ip.addr.word_be[3], RTA_DATA(addr), 4);
	} else if (msg->ifa_family == AF_INET6 && RTA_PAYLOAD(addr) == 16) {
		source.ip.family = SHUNT_V6;
		memcpy(&source.ip.addr, RTA_DATA(addr), 16);
	} else {
		return 0;
	}
	if (!shunt_array_add(&sources->items, &sources->n, sizeof(source)))
		return -ENOMEM;
	sources->items[sources->n - 1] = source;
	return 0;
}

int agent_sources(struct agent_source **ret_sources, size_t *ret_n)
{
	struct sources sources = { 0 };
	int r = agent_netlink_dump(RTM_GETADDR, add_source, &sources);

	if (r < 0) {
		free(sources.items);
		return r;
	}
	*ret_sources = sources.items;
	*ret_n = sources.n;
	return 0;
}
