// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "datapath/doctor_internal.h"
#include "dp_lab.h"

/* What doctor says of settings and devices: settings from a /proc of the test's own. */

static char root[64];
static struct doctor doctor;

static void put(const char *path, const char *text)
{
	dp_lab_run("mkdir -p $(dirname %s%s) && echo '%s' >%s%s", root, path, text, root, path);
}

static void open_doctor(void)
{
	strcpy(root, "/tmp/shunt-doctor-XXXXXX");
	cr_assert_not_null(mkdtemp(root));
	doctor = (struct doctor){ .bpffs = "", .root = root };
}

static void close_doctor(void)
{
	free(doctor.checks);
	free(doctor.gates);
	free(doctor.links);
	dp_lab_run("rm -r %s", root);
}

/* Looks again. Return: the check of @name, which must be there at most once; NULL: none. */
static const struct shunt_check *look(const char *name)
{
	const struct shunt_check *found = NULL;

	free(doctor.checks);
	doctor.checks = NULL;
	doctor.n = 0;
	doctor_check_gates(&doctor);
	doctor_check_sysctl(&doctor);
	for (size_t i = 0; i < doctor.n; i++) {
		cr_assert_eq(doctor.checks[i].state == SHUNT_CHECK_OK, !*doctor.checks[i].hint);
		if (strcmp(doctor.checks[i].name, name))
			continue;
		cr_assert_null(found, "%s twice", name);
		found = &doctor.checks[i];
	}
	return found;
}

static void expect(const char *name, enum shunt_check_state state, const char *words)
{
	const struct shunt_check *check = look(name);

	cr_assert_not_null(check, "nothing is said of %s", name);
	cr_expect_eq(check->state, state, "%s: %s", name, check->text);
	cr_expect(strstr(check->text, words), "%s: %s", name, check->text);
}

/* veth0 and veth1 are ports of br0 (7). */
static void bridge_two_ports(void)
{
	static const struct shunt_link links[] = {
		{ .ifindex = 1, .ifname = "veth0", .kind = "veth", .master = 7 },
		{ .ifindex = 2, .ifname = "veth1", .kind = "veth", .master = 7 },
		{ .ifindex = 7, .ifname = "br0", .kind = "bridge" },
	};

	doctor.links = calloc(ARRAY_LEN(links), sizeof(*links));
	cr_assert_not_null(doctor.links);
	memcpy(doctor.links, links, sizeof(links));
	doctor.n_links = ARRAY_LEN(links);
	doctor_note_gate(&doctor, 1, "veth0", false);
	doctor_note_gate(&doctor, 2, "veth1", false);
	doctor_note_gate(&doctor, 2, "veth1", false);
}

TestSuite(doctor_host, .init = open_doctor, .fini = close_doctor);

Test(doctor_host, a_bridge_whose_frames_pass_by_netfilter_is_named_with_its_gates)
{
	bridge_two_ports();
	expect("bridge netfilter", SHUNT_CHECK_WARN,
	       "veth0, veth1: ports of a bridge, and br_netfilter is not loaded");
	put("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
	put("/proc/sys/net/bridge/bridge-nf-call-ip6tables", "1");
	expect("bridge netfilter", SHUNT_CHECK_WARN,
	       "bridge-nf-call-iptables=0, bridge-nf-call-ip6tables=1");
	put("/proc/sys/net/bridge/bridge-nf-call-iptables", "1");
	expect("bridge netfilter", SHUNT_CHECK_OK, "bridged frames pass netfilter");
}

Test(doctor_host, without_a_bridge_nothing_is_said_of_one)
{
	doctor_note_gate(&doctor, 1, "eth0", false);
	cr_expect_null(look("bridge netfilter"));
	cr_expect_null(look("redirects"));
	cr_expect_null(look("bridge ports"));
}

Test(doctor_host, a_bridge_as_a_gate_needs_its_ports_as_gates)
{
	bridge_two_ports();
	doctor_note_gate(&doctor, 7, "br0", false);
	cr_expect_null(look("bridge ports"));
	doctor.gates[1].ifindex = 99; /* veth1 is no gate any more */
	expect("bridge ports", SHUNT_CHECK_WARN, "br0: a gate is a bridge");
}

Test(doctor_host, strict_reverse_path_filters_are_named_by_gate)
{
	doctor_note_gate(&doctor, 1, "eth0", false);
	doctor_note_gate(&doctor, 2, "eth1", false);
	put("/proc/sys/net/ipv4/conf/all/rp_filter", "0");
	put("/proc/sys/net/ipv4/conf/eth0/rp_filter", "0");
	put("/proc/sys/net/ipv4/conf/eth1/rp_filter", "1");
	expect("rp_filter", SHUNT_CHECK_WARN, "eth1: rp_filter is strict");
	put("/proc/sys/net/ipv4/conf/all/rp_filter", "2");
	expect("rp_filter", SHUNT_CHECK_OK, "strict on no gate");
	put("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
	put("/proc/sys/net/ipv4/conf/eth1/rp_filter", "0");
	expect("rp_filter", SHUNT_CHECK_WARN, "eth0, eth1: rp_filter is strict");
}

Test(doctor_host, both_families_must_be_forwarded)
{
	put("/proc/sys/net/ipv4/ip_forward", "1");
	expect("forwarding", SHUNT_CHECK_OK, "ip_forward=1");
	put("/proc/sys/net/ipv6/conf/all/forwarding", "0");
	expect("forwarding", SHUNT_CHECK_WARN, "net.ipv6.conf.all.forwarding=0");
}

Test(doctor_host, translated_ports_must_not_be_the_nodes_own)
{
	doctor.nat_port_first = 61000;
	doctor.nat_port_count = 4536;
	put("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999");
	expect("ports", SHUNT_CHECK_OK, "0 of --nat-ports 61000-65535");
	put("/proc/sys/net/ipv4/ip_local_port_range", "32768\t61009");
	expect("ports", SHUNT_CHECK_WARN, "10 of --nat-ports 61000-65535");
	cr_expect(strstr(look("ports")->hint, "ip_local_reserved_ports=61000-65535"));
	put("/proc/sys/net/ipv4/ip_local_reserved_ports", "80,61000-61003,61009");
	expect("ports", SHUNT_CHECK_WARN, "5 of --nat-ports 61000-65535");
	put("/proc/sys/net/ipv4/ip_local_reserved_ports", "8080,61000-65535");
	expect("ports", SHUNT_CHECK_OK, "0 of --nat-ports 61000-65535");
	put("/proc/sys/net/ipv4/ip_local_reserved_ports", "");
	expect("ports", SHUNT_CHECK_WARN, "10 of --nat-ports 61000-65535");
}

Test(doctor_host, many_gates_are_a_few_names_and_a_number)
{
	char name[8];

	put("/proc/sys/net/ipv4/conf/all/rp_filter", "1");
	for (uint32_t i = 1; i <= 7; i++) {
		snprintf(name, sizeof(name), "eth%u", i);
		doctor_note_gate(&doctor, i, name, false);
	}
	expect("rp_filter", SHUNT_CHECK_WARN, "eth1, eth2, eth3, eth4 and 3 more: rp_filter");
}

/* ---- real devices ------------------------------------------------------------------------------
 */

static void read_links(void)
{
	free(doctor.links);
	cr_assert_eq(shunt_links_read(&doctor.links, &doctor.n_links), 0);
}

static const struct shunt_link *link_named(const char *ifname)
{
	const struct shunt_link *link =
		shunt_links_find(doctor.links, doctor.n_links, dp_lab_ifindex(ifname));

	cr_assert_not_null(link);
	cr_assert_str_eq(link->ifname, ifname);
	return link;
}

static void enter(bool is_xdp)
{
	struct dp_lab lab;

	dp_lab_enter(&lab);
	dp_lab_veth("h5a", "h5b");
	doctor_note_gate(&doctor, dp_lab_ifindex("h5a"), "h5a", is_xdp);
}

Test(doctor_host, interfaces_are_read_with_what_they_stand_on)
{
	const struct shunt_link *link;

	enter(false);
	dp_lab_run("ip link set h5a address 02:00:00:00:05:0a");
	dp_lab_run("ip link add br5 type bridge && ip link set h5b master br5");
	dp_lab_run("ip link add mv5 link h5a address 02:00:00:00:05:0c type macvlan");
	read_links();
	link = link_named("h5a");
	cr_expect(link->has_mac && !memcmp(link->mac, "\x02\0\0\0\x05\x0a", 6));
	cr_expect_str_eq(link->kind, "veth");
	cr_expect_eq(link->lower, 0);
	cr_expect_eq(link_named("h5b")->master, dp_lab_ifindex("br5"));
	cr_expect_str_eq(link_named("br5")->kind, "bridge");
	cr_expect_str_eq(link_named("mv5")->kind, "macvlan");
	cr_expect_eq(link_named("mv5")->lower, dp_lab_ifindex("h5a"));
	cr_expect_eq(link_named("lo")->master, 0);
}

/* Are these the MACs of link @i, by their last bytes? */
static void expect_macs(const struct shunt_link *links, size_t n, size_t i, const char *want)
{
	struct shunt_macs macs = shunt_links_macs(links, n, &links[i]);

	cr_expect_eq(macs.n, strlen(want), "%s has %zu", links[i].ifname, macs.n);
	for (size_t m = 0; m < macs.n && m < strlen(want); m++)
		cr_expect_eq(macs.items[m][5], want[m], "%s: %c", links[i].ifname,
			     macs.items[m][5]);
}

#define MAC(last) .has_mac = true, .mac = { 2, 0, 0, 0, 0, last }

Test(doctor_host, frames_to_a_host_carry_the_macs_of_all_that_stands_on_a_device)
{
	const struct shunt_link links[] = {
		{ .ifindex = 1, .ifname = "slave", MAC('s'), .master = 2 },
		{ .ifindex = 2, .ifname = "bond0", .kind = "bond", MAC('s'), .master = 3 },
		{ .ifindex = 3, .ifname = "br0", .kind = "bridge", MAC('b') },
		{ .ifindex = 4, .ifname = "br0.7", .kind = "vlan", MAC('v'), .lower = 3 },
		{ .ifindex = 5, .ifname = "mv0", .kind = "macvlan", MAC('m'), .lower = 1 },
		{ .ifindex = 6, .ifname = "vx0", .kind = "vxlan", MAC('x'), .lower = 1 },
		{ .ifindex = 7, .ifname = "tun0", .kind = "tun" },
		{ .ifindex = 8, .ifname = "eth1", MAC('e'), .master = 99 },
		{ .ifindex = 9, .ifname = "pod1", .kind = "veth", MAC('p'), .master = 10 },
		{ .ifindex = 10, .ifname = "ovs-system", .kind = "openvswitch", MAC('o') },
	};
	struct shunt_link many[] = {
		{ .ifindex = 1, .ifname = "eth0", MAC('e') },
		{ .ifindex = 2, .ifname = "m1", .kind = "macvlan", MAC('1'), .lower = 1 },
		{ .ifindex = 3, .ifname = "m2", .kind = "macvlan", MAC('2'), .lower = 1 },
		{ .ifindex = 4, .ifname = "m3", .kind = "macvtap", MAC('3'), .lower = 1 },
		{ .ifindex = 5, .ifname = "m4", .kind = "macvlan", MAC('3'), .lower = 1 },
	};

	expect_macs(links, ARRAY_LEN(links), 0, "smbv");
	expect_macs(links, ARRAY_LEN(links), 2, "bv");
	expect_macs(links, ARRAY_LEN(links), 6, "");
	expect_macs(links, ARRAY_LEN(links), 7, "e");
	expect_macs(links, ARRAY_LEN(links), 8, "");
	expect_macs(many, ARRAY_LEN(many), 0, "e123");
	many[4].mac[5] = '4';
	expect_macs(many, ARRAY_LEN(many), 0, "");
}

Test(doctor_host, a_cut_message_is_no_interface)
{
	struct {
		struct nlmsghdr hdr;
		struct ifinfomsg info;
		struct rtattr attr;
		char text[4];
	} message = {
		.hdr = { .nlmsg_type = RTM_NEWLINK, .nlmsg_len = sizeof(message) },
		.info = { .ifi_index = 9 },
		.attr = { .rta_type = IFLA_IFNAME, .rta_len = 400 },
	};
	struct shunt_link link;

	cr_expect(shunt_link_parse(&message.hdr, &link));
	cr_expect(link.ifindex == 9 && !link.ifname[0]);
	message.hdr.nlmsg_len = NLMSG_HDRLEN;
	cr_expect_not(shunt_link_parse(&message.hdr, &link));
}

Test(doctor_host, stripped_vlan_tags_matter_to_xdp_where_there_are_vlans)
{
	struct shunt_link *loopback;

	enter(true);
	read_links();
	cr_expect_null(look("VLAN offload"));
	/* As if it stood there: not every kernel has VLAN devices. */
	loopback = (struct shunt_link *)link_named("lo");
	strcpy(loopback->kind, "vlan");
	loopback->lower = dp_lab_ifindex("h5a");
	expect("VLAN offload", SHUNT_CHECK_WARN, "h5a: has VLANs");
	doctor.gates[0].is_xdp = false;
	cr_expect_null(look("VLAN offload"));
	doctor.gates[0].is_xdp = true;
	dp_lab_run("ethtool -K h5a rxvlan off");
	cr_expect_null(look("VLAN offload"));
}

Test(doctor_host, a_gate_that_hears_everything_is_named_unless_a_bridge_wants_it)
{
	enter(false);
	read_links();
	cr_expect_null(look("promiscuous"));
	dp_lab_run("ip link set h5a promisc on");
	read_links();
	expect("promiscuous", SHUNT_CHECK_WARN, "h5a: promiscuous");
	dp_lab_run("ip link set h5a promisc off; ip link add br5 type bridge; "
		   "ip link set h5a master br5");
	read_links();
	cr_expect_null(look("promiscuous"));
}
