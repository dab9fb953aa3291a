// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"

/*
 * rtnetlink by hand: libbpf's bpf_tc_*() neither names filters nor tells their names, and a
 * program of another owner cannot be looked at with CAP_BPF and CAP_NET_ADMIN alone.
 */
#define OUR_PRIORITY 1
#define OUR_HANDLE   1
#define NAME_LEN     256 /* the kernel's CLS_BPF_NAME_LEN */

struct request {
	struct nlmsghdr header;
	struct tcmsg tc;
	char attrs[512];
};

struct filter {
	uint32_t priority;
	uint32_t handle;
	uint32_t prog_id;
	char kind[16];
	char name[NAME_LEN];
};

struct scan {
	const char *name; /* of our filter */
	bool ours;
	unsigned n;	     /* filters at the hook */
	struct filter mine;  /* valid if ours */
	struct filter rival; /* another one with our priority; kind is "" if there is none */
};

static uint32_t parent_of(enum shunt_direction direction)
{
	return TC_H_MAKE(TC_H_CLSACT,
			 direction == SHUNT_INGRESS ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
}

static const char *our_name(char *buf, const char *bpffs, enum shunt_direction direction)
{
	snprintf(buf, NAME_LEN, "%s@%.*s", shunt_tc_prog(direction), SHUNT_BPFFS_LEN, bpffs);
	return buf;
}

/* ---- messages --------------------------------------------------------------------------- */

static void request_init(struct request *req, uint16_t type, uint16_t flags, uint32_t ifindex)
{
	memset(req, 0, sizeof(*req));
	req->header.nlmsg_len = NLMSG_LENGTH(sizeof(req->tc));
	req->header.nlmsg_type = type;
	req->header.nlmsg_flags = NLM_F_REQUEST | flags;
	req->tc.tcm_family = AF_UNSPEC;
	req->tc.tcm_ifindex = (int)ifindex;
}

/* What is put here fits by construction: a kind, a name of NAME_LEN, two words. */
static struct rtattr *put(struct request *req, uint16_t type, const void *data, size_t len)
{
	struct rtattr *attr = (void *)((char *)req + NLMSG_ALIGN(req->header.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(len);
	if (len)
		memcpy(RTA_DATA(attr), data, len);
	req->header.nlmsg_len = NLMSG_ALIGN(req->header.nlmsg_len) + RTA_ALIGN(attr->rta_len);
	return attr;
}

static int open_socket(void)
{
	struct sockaddr_nl self = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* Sends @req and reads answers until an error, an ack or the end of a dump. */
static int talk(struct request *req, void (*each)(const struct nlmsghdr *msg, void *arg), void *arg)
{
	CLEANUP(fd_closep) int fd = open_socket();
	_Alignas(struct nlmsghdr) char buf[32768];
	ssize_t len;

	if (fd < 0)
		return fd;
	if (send(fd, req, req->header.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		struct nlmsghdr *msg = (void *)buf;

		len = recv(fd, buf, sizeof(buf), 0);
		if (len < 0)
			return -errno;
		for (; NLMSG_OK(msg, (size_t)len); msg = NLMSG_NEXT(msg, len)) {
			if (msg->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(msg))->error;
			if (msg->nlmsg_type == NLMSG_DONE)
				return 0;
			if (each)
				each(msg, arg);
		}
	}
}

static void copy_text(char *to, size_t size, const struct rtattr *attr)
{
	snprintf(to, size, "%.*s", (int)RTA_PAYLOAD(attr), (const char *)RTA_DATA(attr));
}

static void read_options(const struct rtattr *options, struct filter *filter)
{
	const struct rtattr *attr = RTA_DATA(options);
	int len = (int)RTA_PAYLOAD(options);

	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		if (attr->rta_type == TCA_BPF_NAME)
			copy_text(filter->name, sizeof(filter->name), attr);
		else if (attr->rta_type == TCA_BPF_ID)
			filter->prog_id = *(const uint32_t *)RTA_DATA(attr);
	}
}

static void scan_message(const struct nlmsghdr *msg, void *arg)
{
	const struct tcmsg *tc = NLMSG_DATA(msg);
	struct filter filter = { .handle = tc->tcm_handle, .priority = tc->tcm_info >> 16 };
	const struct rtattr *attr = (const void *)(tc + 1);
	int len = (int)NLMSG_PAYLOAD(msg, sizeof(*tc));
	struct scan *scan = arg;

	if (msg->nlmsg_type != RTM_NEWTFILTER || !filter.handle)
		return; /* handle 0: the head of a priority, its filters follow */
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		if (attr->rta_type == TCA_KIND)
			copy_text(filter.kind, sizeof(filter.kind), attr);
		else if (attr->rta_type == TCA_OPTIONS && !strcmp(filter.kind, "bpf"))
			read_options(attr, &filter);
	}
	scan->n++;
	if (filter.priority != OUR_PRIORITY)
		return;
	if (filter.handle == OUR_HANDLE && !strcmp(filter.name, scan->name)) {
		scan->ours = true;
		scan->mine = filter;
	} else {
		scan->rival = filter;
	}
}

static int scan_filters(uint32_t ifindex, enum shunt_direction direction, const char *name,
			struct scan *scan)
{
	struct request req;
	int r;

	*scan = (struct scan){ .name = name };
	request_init(&req, RTM_GETTFILTER, NLM_F_DUMP, ifindex);
	req.tc.tcm_parent = parent_of(direction);
	r = talk(&req, scan_message, scan);
	/* No qdisc there, or no such interface: no filters. */
	return r == -EINVAL || r == -ENODEV || r == -EOPNOTSUPP ? 0 : r;
}

/* ---- qdisc and filter --------------------------------------------------------------------- */

static void kind_message(const struct nlmsghdr *msg, void *arg)
{
	const struct tcmsg *tc = NLMSG_DATA(msg);
	const struct rtattr *attr = (const void *)(tc + 1);
	int len = (int)NLMSG_PAYLOAD(msg, sizeof(*tc));

	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len))
		if (attr->rta_type == TCA_KIND)
			copy_text(arg, 16, attr);
}

/* An ingress qdisc sits at the same place, and would put egress filters at ingress. */
static int check_qdisc(uint32_t ifindex, const char *ifname, struct shunt_err *err)
{
	struct request req;
	char kind[16] = "";
	int r;

	request_init(&req, RTM_GETQDISC, NLM_F_ECHO | NLM_F_ACK, ifindex);
	req.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	r = talk(&req, kind_message, kind);
	if (!r && strcmp(kind, "clsact"))
		return shunt_err_set(
			err, -EBUSY,
			"%s has an %s qdisc where clsact must be; run: tc qdisc del dev "
			"%s ingress",
			ifname, kind, ifname);
	return r;
}

static int add_qdisc(uint32_t ifindex, const char *ifname, struct shunt_err *err)
{
	struct request req;
	int r;

	request_init(&req, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, ifindex);
	req.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	req.tc.tcm_parent = TC_H_CLSACT;
	put(&req, TCA_KIND, "clsact", sizeof("clsact"));
	r = talk(&req, NULL, NULL);
	if (r == -EEXIST)
		return check_qdisc(ifindex, ifname, err);
	return r < 0 ? shunt_err_set(err, r, "cannot add a clsact qdisc to %s: %s", ifname,
				     strerror(-r))
		     : 0;
}

static void delete_qdisc(uint32_t ifindex)
{
	struct request req;

	request_init(&req, RTM_DELQDISC, NLM_F_ACK, ifindex);
	req.tc.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	req.tc.tcm_parent = TC_H_CLSACT;
	talk(&req, NULL, NULL);
}

static void filter_init(struct request *req, uint16_t type, uint16_t flags, uint32_t ifindex,
			enum shunt_direction direction)
{
	request_init(req, type, flags | NLM_F_ACK, ifindex);
	req->tc.tcm_parent = parent_of(direction);
	req->tc.tcm_handle = OUR_HANDLE;
	req->tc.tcm_info = TC_H_MAKE(OUR_PRIORITY << 16, __builtin_bswap16(ETH_P_ALL));
	put(req, TCA_KIND, "bpf", sizeof("bpf"));
}

static int set_filter(uint32_t ifindex, enum shunt_direction direction, int prog_fd,
		      const char *name, bool replace)
{
	uint32_t fd = (uint32_t)prog_fd, flags = TCA_BPF_FLAG_ACT_DIRECT;
	struct rtattr *options;
	struct request req;

	filter_init(&req, RTM_NEWTFILTER, NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL),
		    ifindex, direction);
	options = put(&req, TCA_OPTIONS, NULL, 0);
	put(&req, TCA_BPF_FD, &fd, sizeof(fd));
	put(&req, TCA_BPF_NAME, name, strlen(name) + 1);
	put(&req, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len = (uint16_t)((char *)&req + req.header.nlmsg_len - (char *)options);
	return talk(&req, NULL, NULL);
}

static int conflict(const char *ifname, const struct filter *rival, struct shunt_err *err)
{
	return shunt_err_set(err, -EBUSY,
			     "%s: the first tc priority belongs to a %s filter \"%s\" (program id "
			     "%u, handle 0x%x); remove it or give it another priority",
			     ifname, rival->kind, rival->name, rival->prog_id, rival->handle);
}

int shunt_clsact_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
			enum shunt_direction direction, struct shunt_err *err)
{
	char name[NAME_LEN];
	struct scan scan;
	uint32_t prog_id;
	int prog_fd, r;

	prog_fd = shunt_object_prog(dp->tc, shunt_tc_prog(direction), &prog_id);
	if (prog_fd < 0)
		return shunt_err_set(err, prog_fd, "no program %s", shunt_tc_prog(direction));
	our_name(name, dp->bpffs, direction);
	r = add_qdisc(ifindex, ifname, err);
	if (r < 0)
		return r;
	r = scan_filters(ifindex, direction, name, &scan);
	if (!r && scan.rival.kind[0] && !scan.ours)
		return conflict(ifname, &scan.rival, err);
	if (!r && !(scan.ours && scan.mine.prog_id == prog_id))
		r = set_filter(ifindex, direction, prog_fd, name, scan.ours);
	if (r < 0)
		return shunt_err_set(err, r, "cannot attach to the clsact hook of %s: %s", ifname,
				     strerror(-r));
	/* One that joined our priority: ours is up to date, but may not be the first. */
	return scan.rival.kind[0] ? conflict(ifname, &scan.rival, err) : 0;
}

int shunt_clsact_is_ours(const char *bpffs, uint32_t ifindex, enum shunt_direction direction,
			 uint32_t prog_id)
{
	char name[NAME_LEN];
	struct scan scan;
	int r = scan_filters(ifindex, direction, our_name(name, bpffs, direction), &scan);

	if (r < 0)
		return r;
	return scan.ours && (!prog_id || scan.mine.prog_id == prog_id);
}

int shunt_clsact_detach(const char *bpffs, uint32_t ifindex, enum shunt_direction direction)
{
	enum shunt_direction other = direction == SHUNT_INGRESS ? SHUNT_EGRESS : SHUNT_INGRESS;
	char name[NAME_LEN];
	struct request req;
	struct scan scan;
	int r;

	r = scan_filters(ifindex, direction, our_name(name, bpffs, direction), &scan);
	if (r < 0 || !scan.ours)
		return r;
	filter_init(&req, RTM_DELTFILTER, 0, ifindex, direction);
	r = talk(&req, NULL, NULL);
	if (r < 0 || scan.n > 1)
		return r;
	r = scan_filters(ifindex, other, name, &scan);
	if (!r && !scan.n)
		delete_qdisc(ifindex);
	return r;
}
