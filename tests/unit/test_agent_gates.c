// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/gates.h"
#include "agent/netlink.h"
#include "base/cleanup.h"
#include "dp_lab.h"

/* ---- patterns ------------------------------------------------------------------------------ */

Test(gates, a_pattern_names_a_hook_or_means_tc)
{
	struct agent_gate_pattern p;

	cr_assert_eq(agent_gate_parse("eth0", &p, NULL), 0);
	cr_assert(p.literal && p.hook == SHUNT_HOOK_TC && !strcmp(p.pattern, "eth0"));
	cr_assert_eq(agent_gate_parse("veth*:tc", &p, NULL), 0);
	cr_assert(!p.literal && p.hook == SHUNT_HOOK_TC && !strcmp(p.pattern, "veth*"));
	cr_assert_eq(agent_gate_parse("eth[0-3]:xdp", &p, NULL), 0);
	cr_assert(!p.literal && p.hook == SHUNT_HOOK_XDP && !strcmp(p.pattern, "eth[0-3]"));
}

Test(gates, roles_follow_the_name_in_any_order)
{
	const uint32_t both = SHUNT_GATE_UPLINK | SHUNT_GATE_EXTERNAL;
	struct agent_gate_pattern p;

	cr_assert_eq(agent_gate_parse("veth*:tc", &p, NULL), 0);
	cr_assert_eq(p.roles, 0);
	cr_assert_eq(agent_gate_parse("eth0:uplink", &p, NULL), 0);
	cr_assert(p.roles == SHUNT_GATE_UPLINK && p.hook == SHUNT_HOOK_TC && p.literal);
	cr_assert_eq(agent_gate_parse("eth0:external:xdp:uplink", &p, NULL), 0);
	cr_assert(p.roles == both && p.hook == SHUNT_HOOK_XDP);
	cr_assert_str_eq(p.pattern, "eth0");
}

Test(gates, a_bad_pattern_is_refused_with_a_sentence)
{
	static const char *const bad[] = {
		"",
		"  ",
		":xdp",
		"eth0:",
		"eth0:foo",
		"a/b",
		"eth[",
		"eth[!]",
		"a b:tc",
		"sixteen-chars-xx",
		"eth0:tc:xdp",
		"eth0:tc:tc",
		"eth0:up",
		"eth0:uplink:",
		"eth0::tc",
	};
	struct agent_gate_pattern p = { .pattern = "untouched" };
	struct shunt_err err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memset(&err, 0, sizeof(err));
		cr_expect_eq(agent_gate_parse(bad[i], &p, &err), -EINVAL, "%s", bad[i]);
		cr_expect(err.text[0], "%s", bad[i]);
		cr_expect_str_eq(p.pattern, "untouched");
	}
}

Test(gates, the_first_pattern_that_matches_counts)
{
	const struct agent_gate_pattern patterns[] = {
		{ .pattern = "veth1", .hook = SHUNT_HOOK_XDP, .literal = true },
		{ .pattern = "veth*", .hook = SHUNT_HOOK_TC },
	};

	cr_assert_eq(agent_gate_match(patterns, 2, "veth1"), &patterns[0]);
	cr_assert_eq(agent_gate_match(patterns, 2, "veth10"), &patterns[1]);
	cr_assert_null(agent_gate_match(patterns, 2, "eth0"));
}

/* ---- following the interfaces ---------------------------------------------------------------- */

static struct {
	char log[512]; /* "+eth0 -3 !eth0 " */
	int fail;      /* what the next attachments return */
	const char *why;
} host;

static void note(const char *sign, const char *what)
{
	size_t len = strlen(host.log);

	snprintf(host.log + len, sizeof(host.log) - len, "%s%s ", sign, what);
}

static int attach(void *ctx, const struct agent_gate *gate, struct shunt_dp_gate *ret_gate,
		  struct shunt_err *err)
{
	(void)ctx;
	if (host.fail)
		return shunt_err_set(err, host.fail, "%s", host.why);
	note(gate->hook == SHUNT_HOOK_XDP ? "x" : "t", gate->ifname);
	ret_gate->ifindex = gate->ifindex;
	return 0;
}

static int detach(void *ctx, uint32_t ifindex)
{
	char index[16];

	(void)ctx;
	snprintf(index, sizeof(index), "%u", ifindex);
	note("-", index);
	return 0;
}

static void changed(void *ctx, enum agent_gate_change change, const struct agent_gate *gate)
{
	(void)ctx;
	note(change == AGENT_GATE_ATTACHED ? "up:"
	     : change == AGENT_GATE_GONE   ? "gone:"
					   : "failed:",
	     gate->ifname);
}

static const struct agent_gate_pattern patterns[] = {
	{ .pattern = "eth0", .hook = SHUNT_HOOK_XDP, .literal = true },
	{ .pattern = "veth*", .hook = SHUNT_HOOK_TC },
};

static struct agent_gates gates;

static void setup(void)
{
	memset(&host, 0, sizeof(host));
	gates = (struct agent_gates){
		.patterns = patterns,
		.n_patterns = ARRAY_LEN(patterns),
		.ops = { .attach = attach, .detach = detach, .changed = changed },
	};
}

static void teardown(void)
{
	agent_gates_free(&gates);
}

TestSuite(gates_sync, .init = setup, .fini = teardown);

/* Syncs with the given interfaces; the log must say @expected then. */
#define SYNC(verify, expected, ...)                                                                \
	do {                                                                                       \
		const struct agent_link links[] = { __VA_ARGS__ };                                 \
		host.log[0] = '\0';                                                                \
		cr_assert_eq(agent_gates_sync(&gates, links, ARRAY_LEN(links), verify), 0);        \
		cr_assert_str_eq(host.log, expected);                                              \
	} while (0)

Test(gates_sync, interfaces_that_match_are_attached_once)
{
	SYNC(false, "xeth0 up:eth0 tveth1 up:veth1 ", { .ifindex = 1, .ifname = "lo" },
	     { .ifindex = 2, .ifname = "eth0" }, { .ifindex = 3, .ifname = "veth1" });
	SYNC(false, "", { .ifindex = 1, .ifname = "lo" }, { .ifindex = 2, .ifname = "eth0" },
	     { .ifindex = 3, .ifname = "veth1" });
	cr_assert_null(agent_gates_missing(&gates));
}

Test(gates_sync, the_slow_look_attaches_again_without_an_event)
{
	SYNC(false, "tveth1 up:veth1 ", { .ifindex = 3, .ifname = "veth1" });
	SYNC(true, "tveth1 ", { .ifindex = 3, .ifname = "veth1" });
}

Test(gates_sync, a_vanished_interface_is_forgotten)
{
	SYNC(false, "tveth1 up:veth1 tveth2 up:veth2 ", { .ifindex = 3, .ifname = "veth1" },
	     { .ifindex = 4, .ifname = "veth2" });
	SYNC(false, "-3 gone:veth1 ", { .ifindex = 4, .ifname = "veth2" });
	SYNC(false, "-4 gone:veth2 ", { .ifindex = 1, .ifname = "lo" });
	cr_assert_eq(gates.n, 0);
}

Test(gates_sync, a_renamed_interface_follows_its_new_name)
{
	SYNC(false, "", { .ifindex = 3, .ifname = "tmp0" });
	SYNC(false, "tveth9 up:veth9 ", { .ifindex = 3, .ifname = "veth9" });
	SYNC(false, "", { .ifindex = 3, .ifname = "veth8" });
	SYNC(false, "-3 gone:veth8 xeth0 up:eth0 ", { .ifindex = 3, .ifname = "eth0" });
	SYNC(false, "-3 gone:eth0 ", { .ifindex = 3, .ifname = "other" });
}

Test(gates_sync, an_index_that_is_used_again_is_attached_anew)
{
	SYNC(false, "tveth1 up:veth1 ", { .ifindex = 3, .ifname = "veth1" });
	agent_gates_forget(&gates, 3);
	SYNC(false, "tveth1 up:veth1 ", { .ifindex = 3, .ifname = "veth1" });
}

Test(gates_sync, a_failure_is_told_once_and_tried_again)
{
	host.fail = -EPERM;
	host.why = "no right";
	SYNC(false, "failed:eth0 ", { .ifindex = 2, .ifname = "eth0" });
	SYNC(true, "", { .ifindex = 2, .ifname = "eth0" });
	cr_assert_str_eq(agent_gates_missing(&gates), "eth0");
	host.why = "another reason";
	SYNC(false, "failed:eth0 ", { .ifindex = 2, .ifname = "eth0" });
	host.fail = 0;
	SYNC(false, "xeth0 up:eth0 ", { .ifindex = 2, .ifname = "eth0" });
	cr_assert_null(agent_gates_missing(&gates));
	cr_assert_str_empty(gates.items[0].problem);
}

Test(gates_sync, ready_waits_for_named_interfaces_only)
{
	SYNC(false, "tveth1 up:veth1 ", { .ifindex = 3, .ifname = "veth1" });
	cr_assert_str_eq(agent_gates_missing(&gates), "eth0");
	cr_assert_null(agent_gates_find(&gates, &patterns[0]));
	SYNC(false, "xeth0 up:eth0 ", { .ifindex = 2, .ifname = "eth0" },
	     { .ifindex = 3, .ifname = "veth1" });
	cr_assert_null(agent_gates_missing(&gates));
}

/* ---- netlink ----------------------------------------------------------------------------------
 */

struct link_message {
	struct nlmsghdr hdr;
	struct ifinfomsg info;
};

static struct link_message message(uint16_t type, uint8_t family, int index)
{
	return (struct link_message){
		.hdr = { .nlmsg_len = sizeof(struct link_message), .nlmsg_type = type },
		.info = { .ifi_family = family, .ifi_index = index },
	};
}

Test(netlink, only_a_link_that_is_deleted_is_listed)
{
	const struct link_message messages[] = {
		message(RTM_NEWLINK, AF_UNSPEC, 3),
		message(RTM_DELLINK, AF_BRIDGE, 4), /* it left its bridge */
		message(RTM_DELLINK, AF_UNSPEC, 5),
		message(RTM_DELLINK, AF_UNSPEC, 6),
	};
	struct agent_netlink_news news = { 0 };

	cr_assert_eq(agent_netlink_parse(messages, sizeof(messages), &news), 0);
	cr_assert(news.any);
	cr_assert_eq(news.n_deleted, 2);
	cr_assert_eq(news.deleted[0], 5);
	cr_assert_eq(news.deleted[1], 6);
	free(news.deleted);
}

Test(netlink, a_cut_message_is_left_alone)
{
	const struct link_message whole = message(RTM_DELLINK, AF_UNSPEC, 5);
	struct agent_netlink_news news = { 0 };

	for (size_t len = 0; len < sizeof(whole); len++) {
		struct link_message *cut = malloc(sizeof(whole));

		memcpy(cut, &whole, sizeof(whole));
		cr_assert_eq(agent_netlink_parse(cut, len, &news), 0);
		free(cut);
	}
	cr_assert_eq(news.n_deleted, 0);
	cr_assert_not(news.any);
}

Test(netlink, a_message_that_is_too_short_for_what_it_says_is_left_alone)
{
	struct link_message whole = message(RTM_DELLINK, AF_UNSPEC, 5);
	struct agent_netlink_news news = { 0 };

	whole.hdr.nlmsg_len = NLMSG_HDRLEN;
	cr_assert_eq(agent_netlink_parse(&whole, sizeof(whole), &news), 0);
	cr_assert_eq(news.n_deleted, 0);
}

Test(netlink, pods_masters_and_sources_are_told_apart)
{
	CLEANUP(freep) struct agent_source *sources = NULL;
	CLEANUP(freep) struct agent_link *links = NULL;
	struct shunt_ip v4, v6;
	size_t n, found = 0;

	cr_assert_eq(unshare(CLONE_NEWNET), 0, "%m");
	cr_assert_eq(system("unshare -n sleep 5 & "
			    "sleep .3; ip link add br0 type bridge; "
			    "ip link add pod0 type veth peer name eth0 netns $!; "
			    "ip link set pod0 master br0; "
			    "ip link add own0 type veth peer name own1; "
			    "ip link set own0 up; ip link set own1 up; "
			    "ip addr add 192.0.2.7/24 dev own0; ip addr add 192.0.2.8/24 dev own0; "
			    "ip addr add fd00::7/64 dev own0 nodad preferred_lft 0; "
			    "ip addr add fd00::8/64 dev own0 nodad"),
		     0);
	cr_assert_eq(agent_links(&links, &n), 0);
	for (size_t i = 0; i < n; i++) {
		bool is_pod = !strcmp(links[i].ifname, "pod0");

		cr_expect_eq(links[i].is_pod, is_pod, "%s", links[i].ifname);
		cr_expect_eq(links[i].master, is_pod ? if_nametoindex("br0") : 0);
		found += is_pod;
	}
	cr_assert_eq(found, 1);
	cr_assert_eq(agent_sources(&sources, &n), 0);
	cr_assert_eq(n, 2, "%zu", n);
	cr_assert_eq(shunt_ip_parse("192.0.2.7", &v4), 0);
	cr_assert_eq(shunt_ip_parse("fd00::8", &v6), 0);
	cr_assert(shunt_ip_equal(&sources[0].ip, &v4) && shunt_ip_equal(&sources[1].ip, &v6));
	cr_assert_eq(sources[0].ifindex, if_nametoindex("own0"));
}

Test(netlink, the_loopback_interface_and_its_address_are_found)
{
	CLEANUP(freep) struct agent_link *links = NULL;
	CLEANUP(freep) struct shunt_ip *addrs = NULL;
	bool found_link = false;
	size_t n;

	cr_assert_eq(agent_links(&links, &n), 0);
	for (size_t i = 0; i < n; i++)
		found_link |= !strcmp(links[i].ifname, "lo") && links[i].ifindex;
	cr_assert(found_link);
	cr_assert_eq(agent_addresses(&addrs, &n), 0);
	for (size_t i = 1; i < n; i++)
		cr_assert(addrs[i - 1].family <= addrs[i].family);
}

Test(netlink, an_interface_that_comes_with_link_local_addresses_changes_no_address)
{
	CLEANUP(freep) struct shunt_ip *before = NULL;
	CLEANUP(freep) struct shunt_ip *after = NULL;
	size_t n_before, n_after;
	struct dp_lab lab;

	dp_lab_enter(&lab);
	dp_lab_veth("n0", "n1");
	dp_lab_run("ip addr add 169.254.1.1/32 dev n0; ip addr add 192.0.2.4/32 dev n0");
	cr_assert_eq(agent_addresses(&before, &n_before), 0);
	/* As a pod's does, with the gateway address that all of them share. */
	dp_lab_veth("n2", "n3");
	dp_lab_run("ip addr add 169.254.1.1/32 dev n2; ip addr add fe80::77/64 dev n2 nodad");
	cr_assert_eq(agent_addresses(&after, &n_after), 0);
	cr_assert_eq(n_after, n_before);
	cr_assert_eq(memcmp(before, after, n_before * sizeof(*before)), 0);
}
