// SPDX-License-Identifier: Apache-2.0
#include "datapath/xmit.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/array.h"
#include "base/cleanup.h"

/* linux/netdev.h, of kernel 6.3. */
#define FAMILY		"netdev"
#define CMD_DEV_GET	1
#define ATTR_IFINDEX	1
#define ATTR_FEATURES	3
#define FEATURE_TO_XMIT (1 << 2) /* NETDEV_XDP_ACT_NDO_XMIT */

struct request {
	struct nlmsghdr hdr;
	struct genlmsghdr gen;
	struct nlattr attr;
	char text[8];
};
_Static_assert(sizeof(FAMILY) <= sizeof(((struct request *)0)->text), "the name fits");

/* Attribute @type of a generic message, or NULL. */
static const struct nlattr *find(const struct nlmsghdr *hdr, uint16_t type)
{
	size_t offset = NLMSG_LENGTH(GENL_HDRLEN);

	while (offset + NLA_HDRLEN <= hdr->nlmsg_len) {
		const struct nlattr *attr = (const void *)((const char *)hdr + offset);

		if (attr->nla_len < NLA_HDRLEN || offset + attr->nla_len > hdr->nlmsg_len)
			return NULL;
		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		offset += NLA_ALIGN(attr->nla_len);
	}
	return NULL;
}

/* Copies @size bytes of an attribute. Return: false: it is not there, or shorter. */
static bool copy(const struct nlmsghdr *hdr, uint16_t type, void *to, size_t size)
{
	const struct nlattr *attr = find(hdr, type);

	if (!attr || attr->nla_len < NLA_HDRLEN + size)
		return false;
	memcpy(to, (const char *)attr + NLA_HDRLEN, size);
	return true;
}

int shunt_xmit_parse(const struct nlmsghdr *hdr, struct shunt_xmit *xmit)
{
	uint64_t features;
	uint32_t ifindex, *slot;

	if (!copy(hdr, ATTR_IFINDEX, &ifindex, sizeof(ifindex)) ||
	    !copy(hdr, ATTR_FEATURES, &features, sizeof(features)) || !(features & FEATURE_TO_XMIT))
		return 0;
	slot = shunt_array_add(&xmit->ifindexes, &xmit->n, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = ifindex;
	return 0;
}

static int ask(int fd, uint16_t type, uint8_t command, uint16_t flags, const char *family)
{
	struct request request = {
		.hdr = { .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags },
		.gen = { .cmd = command, .version = 1 },
		.attr = { .nla_len = NLA_HDRLEN + sizeof(FAMILY),
			  .nla_type = CTRL_ATTR_FAMILY_NAME },
	};

	request.hdr.nlmsg_len = family ? sizeof(request) : NLMSG_LENGTH(GENL_HDRLEN);
	if (family)
		strcpy(request.text, family);
	return send(fd, &request, request.hdr.nlmsg_len, 0) < 0 ? -errno : 0;
}

/* The number of the family. Return: it, 0: the kernel has none, or -errno. */
static int read_family(int fd)
{
	_Alignas(struct nlmsghdr) char buf[8192];
	const struct nlmsghdr *hdr = (const void *)buf;
	uint16_t id;
	ssize_t len;
	int r = ask(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0, FAMILY);

	if (r < 0)
		return r;
	len = recv(fd, buf, sizeof(buf), 0);
	if (len < 0)
		return -errno;
	if (!NLMSG_OK(hdr, (size_t)len))
		return -EPROTO;
	if (hdr->nlmsg_type == NLMSG_ERROR) {
		r = ((const struct nlmsgerr *)NLMSG_DATA(hdr))->error;
		return r == -ENOENT ? 0 : r;
	}
	return copy(hdr, CTRL_ATTR_FAMILY_ID, &id, sizeof(id)) ? id : -EPROTO;
}

/* Return: 1 at the end of the dump, 0: there is more, or -errno. */
static int take(const void *buf, size_t len, struct shunt_xmit *xmit)
{
	const struct nlmsghdr *hdr = buf;
	int r = 0;

	for (; !r && NLMSG_OK(hdr, len); hdr = NLMSG_NEXT(hdr, len)) {
		if (hdr->nlmsg_type == NLMSG_DONE)
			return 1;
		if (hdr->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(hdr))->error;
		r = shunt_xmit_parse(hdr, xmit);
	}
	return r;
}

static int read_devices(int fd, uint16_t family, struct shunt_xmit *xmit)
{
	_Alignas(struct nlmsghdr) char buf[32768];
	int r = ask(fd, family, CMD_DEV_GET, NLM_F_DUMP, NULL);

	while (!r) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);

		if (len < 0 && errno != EINTR)
			return -errno;
		if (len > 0)
			r = take(buf, (size_t)len, xmit);
	}
	return r < 0 ? r : 0;
}

int shunt_xmit_read(struct shunt_xmit *ret_xmit)
{
	CLEANUP(fd_closep) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct shunt_xmit xmit = { 0 };
	int family, r;

	if (fd < 0)
		return -errno;
	family = read_family(fd);
	if (family < 0)
		return family;
	if (family) {
		r = read_devices(fd, (uint16_t)family, &xmit);
		if (r < 0) {
			shunt_xmit_free(&xmit);
			return r;
		}
		xmit.is_known = true;
	}
	*ret_xmit = xmit;
	return 0;
}

void shunt_xmit_free(struct shunt_xmit *xmit)
{
	free(xmit->ifindexes);
	*xmit = (struct shunt_xmit){ 0 };
}

bool shunt_xmit_has(const struct shunt_xmit *xmit, uint32_t ifindex, bool is_hardware, bool has_xdp)
{
	if (!xmit->is_known)
		return is_hardware && has_xdp;
	for (size_t i = 0; i < xmit->n; i++)
		if (xmit->ifindexes[i] == ifindex)
			return true;
	return false;
}
