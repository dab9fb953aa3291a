// SPDX-License-Identifier: Apache-2.0
#include "datapath/links.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"

/* ---- one message --------------------------------------------------------------------------- */

static uint32_t attr_number(const struct rtattr *attr)
{
	uint32_t number = 0;

	if (RTA_PAYLOAD(attr) >= sizeof(number))
		memcpy(&number, RTA_DATA(attr), sizeof(number));
	return number;
}

static void attr_text(const struct rtattr *attr, char *buf, size_t size)
{
	size_t len = RTA_PAYLOAD(attr);

	if (len >= size)
		len = size - 1;
	memcpy(buf, RTA_DATA(attr), len);
	buf[len] = '\0';
}

static void read_kind(const struct rtattr *info, struct shunt_link *link)
{
	int len = (int)RTA_PAYLOAD(info);

	for (const struct rtattr *attr = RTA_DATA(info); RTA_OK(attr, len);
	     attr = RTA_NEXT(attr, len))
		if (attr->rta_type == IFLA_INFO_KIND)
			attr_text(attr, link->kind, sizeof(link->kind));
}

static void read_attr(const struct rtattr *attr, struct shunt_link *link, bool *is_elsewhere)
{
	switch (attr->rta_type & NLA_TYPE_MASK) {
	case IFLA_IFNAME:
		attr_text(attr, link->ifname, sizeof(link->ifname));
		break;
	case IFLA_ADDRESS:
		link->has_mac = RTA_PAYLOAD(attr) == sizeof(link->mac);
		if (link->has_mac)
			memcpy(link->mac, RTA_DATA(attr), sizeof(link->mac));
		break;
	case IFLA_MASTER:
		link->master = attr_number(attr);
		break;
	case IFLA_LINK:
		link->lower = attr_number(attr);
		break;
	case IFLA_LINK_NETNSID:
		*is_elsewhere = true;
		break;
	case IFLA_PROMISCUITY:
		link->promiscuity = attr_number(attr);
		break;
	case IFLA_LINKINFO:
		read_kind(attr, link);
		break;
	}
}

bool shunt_link_parse(const struct nlmsghdr *hdr, struct shunt_link *ret_link)
{
	const struct ifinfomsg *info = NLMSG_DATA(hdr);
	struct shunt_link link = { 0 };
	bool is_elsewhere = false;
	int len;

	if (hdr->nlmsg_type != RTM_NEWLINK || hdr->nlmsg_len < NLMSG_LENGTH(sizeof(*info)))
		return false;
	link.ifindex = (uint32_t)info->ifi_index;
	len = (int)IFLA_PAYLOAD(hdr);
	for (const struct rtattr *attr = IFLA_RTA(info); RTA_OK(attr, len);
	     attr = RTA_NEXT(attr, len))
		read_attr(attr, &link, &is_elsewhere);
	/* The other end of a veth is no floor that something stands on. */
	link.is_elsewhere = is_elsewhere;
	if (is_elsewhere || !strcmp(link.kind, "veth"))
		link.lower = 0;
	*ret_link = link;
	return true;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static int ask(int fd)
{
	struct {
		struct nlmsghdr hdr;
		struct ifinfomsg info;
	} request = {
		.hdr = { .nlmsg_len = sizeof(request),
			 .nlmsg_type = RTM_GETLINK,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

/* One datagram. Return: 1 at the end of the list, 0, or -errno. */
static int take(const void *buf, size_t len, struct shunt_link **links, size_t *n)
{
	const struct nlmsghdr *hdr = buf;
	struct shunt_link link, *slot;

	for (; NLMSG_OK(hdr, len); hdr = NLMSG_NEXT(hdr, len)) {
		if (hdr->nlmsg_type == NLMSG_DONE)
			return 1;
		if (hdr->nlmsg_type == NLMSG_ERROR)
			return -EIO;
		if (!shunt_link_parse(hdr, &link))
			continue;
		slot = shunt_array_add(links, n, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		*slot = link;
	}
	return 0;
}

int shunt_links_read(struct shunt_link **ret_links, size_t *ret_n)
{
	_Alignas(struct nlmsghdr) char buf[32768];
	CLEANUP(freep) struct shunt_link *links = NULL;
	CLEANUP(fd_closep) int fd = -EBADF;
	size_t n = 0;
	ssize_t len;
	int r;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	for (r = ask(fd); !r;) {
		len = recv(fd, buf, sizeof(buf), 0);
		if (len < 0 && errno == EINTR)
			continue;
		r = len < 0 ? -errno : take(buf, (size_t)len, &links, &n);
	}
	if (r < 0)
		return r;
	*ret_links = TAKE_PTR(links);
	*ret_n = n;
	return 0;
}

const struct shunt_link *shunt_links_find(const struct shunt_link *links, size_t n,
					  uint32_t ifindex)
{
	for (size_t i = 0; i < n; i++)
		if (links[i].ifindex == ifindex)
			return &links[i];
	return NULL;
}

/* ---- MACs --------------------------------------------------------------------------------------
 */

#define MAX_MASTERS 4 /* one above the other: a port of a bond of a bridge has 2 */

/* Return: false: no room, or @link has none. */
static bool add_mac(struct shunt_macs *macs, const struct shunt_link *link)
{
	if (!link->has_mac)
		return false;
	for (size_t i = 0; i < macs->n; i++)
		if (!memcmp(macs->items[i], link->mac, sizeof(link->mac)))
			return true;
	if (macs->n == SHUNT_MAX_GATE_MACS)
		return false;
	memcpy(macs->items[macs->n++], link->mac, sizeof(link->mac));
	return true;
}

static bool is_one_of(const struct shunt_link *link, const char *const *kinds)
{
	for (; *kinds; kinds++)
		if (!strcmp(link->kind, *kinds))
			return true;
	return false;
}

/* Has @link a MAC on the wire of what it stands on? Tunnels stand there by addresses. */
static bool is_on_the_wire(const struct shunt_link *link)
{
	static const char *const kinds[] = { "vlan", "macvlan", "macvtap", NULL };

	return is_one_of(link, kinds);
}

/*
 * Does what comes to this host by a port of @master carry its MAC or the port's? With Open vSwitch
 * it may carry any that a rule names, such as a gateway's that no device has.
 */
static bool is_plain_master(const struct shunt_link *master)
{
	static const char *const kinds[] = { "bridge", "bond", "team", "vrf", NULL };

	return is_one_of(master, kinds);
}

static bool add_all_on(struct shunt_macs *macs, const struct shunt_link *links, size_t n,
		       uint32_t lower)
{
	for (size_t i = 0; i < n; i++)
		if (links[i].lower == lower && is_on_the_wire(&links[i]) &&
		    !add_mac(macs, &links[i]))
			return false;
	return true;
}

struct shunt_macs shunt_links_macs(const struct shunt_link *links, size_t n,
				   const struct shunt_link *link)
{
	const struct shunt_macs unknown = { 0 };
	struct shunt_macs macs = { 0 };

	for (int depth = 0; link && depth < MAX_MASTERS; depth++) {
		if (depth && !is_plain_master(link))
			return unknown;
		if (!add_mac(&macs, link) || !add_all_on(&macs, links, n, link->ifindex))
			return unknown;
		link = link->master ? shunt_links_find(links, n, link->master) : NULL;
	}
	return macs;
}
