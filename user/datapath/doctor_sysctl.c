// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/doctor_internal.h"

/*
 * Settings of the host that meet with what the gates do. Those about bridges matter only
 * where a gate is a port of one.
 */

/* ---- bridges --------------------------------------------------------------------------------- */

static bool is_port(const struct doctor *doctor, const struct doctor_gate *gate)
{
	return doctor_bridge_of(doctor, gate) != NULL;
}

/* Frames that cross a bridge past netfilter: it would see one half of a flow only. */
static void check_bridge(struct doctor *doctor, const char *ports)
{
	static const char hint[] =
		"where netfilter drops INVALID, answers between pods of one bridge die: modprobe "
		"br_netfilter; sysctl -w net.bridge.bridge-nf-call-iptables=1 "
		"net.bridge.bridge-nf-call-ip6tables=1";
	long v4 = 0, v6 = 0;
	int r = doctor_read_number(doctor, &v4, "/proc/sys/net/bridge/bridge-nf-call-iptables");

	doctor_read_number(doctor, &v6, "/proc/sys/net/bridge/bridge-nf-call-ip6tables");
	if (r < 0)
		doctor_add(doctor, SHUNT_CHECK_WARN, "bridge netfilter", hint,
			   "%s: ports of a bridge, and br_netfilter is not loaded: bridged frames "
			   "pass by netfilter",
			   ports);
	else if (!v4 || !v6)
		doctor_add(doctor, SHUNT_CHECK_WARN, "bridge netfilter", hint,
			   "%s: ports of a bridge, and bridged frames pass by netfilter "
			   "(bridge-nf-call-iptables=%ld, bridge-nf-call-ip6tables=%ld)",
			   ports, v4, v6);
	else
		doctor_add(doctor, SHUNT_CHECK_OK, "bridge netfilter", "",
			   "%s: ports of a bridge; bridged frames pass netfilter", ports);
}

static void check_redirects(struct doctor *doctor)
{
	long value;

	if (doctor_read_number(doctor, &value, "/proc/sys/net/ipv4/conf/all/send_redirects") < 0)
		return;
	doctor_add(doctor, value ? SHUNT_CHECK_WARN : SHUNT_CHECK_OK, "redirects",
		   "harmless but noisy between pods of one bridge: sysctl -w "
		   "net.ipv4.conf.all.send_redirects=0",
		   "net.ipv4.conf.all.send_redirects=%ld", value);
}

/* ---- routing -----------------------------------------------------------------------------------
 */

/* The larger of all's and the device's own counts: 1 is strict. */
static bool is_strict(const struct doctor *doctor, const struct doctor_gate *gate)
{
	long all = 0, own = 0;

	doctor_read_number(doctor, &all, "/proc/sys/net/ipv4/conf/all/rp_filter");
	doctor_read_number(doctor, &own, "/proc/sys/net/ipv4/conf/%s/rp_filter", gate->ifname);
	return (own > all ? own : all) == 1;
}

static void check_rp_filter(struct doctor *doctor)
{
	if (!doctor_warn_gates(
		    doctor, is_strict, "rp_filter",
		    "packets of clients that are reached through another interface are "
		    "dropped: sysctl -w net.ipv4.conf.DEV.rp_filter=2 where that happens",
		    "rp_filter is strict (1)"))
		doctor_add(doctor, SHUNT_CHECK_OK, "rp_filter", "", "strict on no gate");
}

static void check_forwarding(struct doctor *doctor)
{
	long v4, v6 = 1;

	if (doctor_read_number(doctor, &v4, "/proc/sys/net/ipv4/ip_forward") < 0)
		return;
	doctor_read_number(doctor, &v6, "/proc/sys/net/ipv6/conf/all/forwarding");
	doctor_add(doctor, v4 && v6 ? SHUNT_CHECK_OK : SHUNT_CHECK_WARN, "forwarding",
		   "translated packets reach no other host or pod: sysctl -w net.ipv4.ip_forward=1 "
		   "net.ipv6.conf.all.forwarding=1",
		   "net.ipv4.ip_forward=%ld net.ipv6.conf.all.forwarding=%ld", v4, v6);
}

/* ---- ports --------------------------------------------------------------------------------------
 */

#define MAX_PORT 65535

/* Marks the ports of a list as ip_local_reserved_ports has it: "80,61000-65535". */
static void read_reserved(const struct doctor *doctor, bool reserved[MAX_PORT + 1])
{
	CLEANUP(file_closep)
	FILE *file = doctor_open(doctor, "/proc/sys/net/ipv4/ip_local_reserved_ports");
	unsigned first, last;
	int separator;

	while (file && fscanf(file, "%u", &first) == 1) {
		last = first;
		separator = fgetc(file);
		if (separator == '-' && fscanf(file, "%u", &last) == 1)
			separator = fgetc(file);
		for (unsigned port = first; port <= last && port <= MAX_PORT; port++)
			reserved[port] = true;
		if (separator != ',')
			break;
	}
}

/* Ports that this node's own connections and our source translation could both take. */
static void check_nat_ports(struct doctor *doctor)
{
	CLEANUP(file_closep)
	FILE *file = doctor_open(doctor, "/proc/sys/net/ipv4/ip_local_port_range");
	bool reserved[MAX_PORT + 1] = { false };
	unsigned low, high, ours = doctor->nat_port_first, n = 0;
	unsigned end = ours + doctor->nat_port_count - 1;
	char hint[sizeof(doctor->checks->hint)];

	if (!doctor->nat_port_count || !file || fscanf(file, "%u %u", &low, &high) != 2)
		return;
	read_reserved(doctor, reserved);
	for (unsigned port = ours; port <= end && port <= MAX_PORT; port++)
		n += port >= low && port <= high && !reserved[port];
	snprintf(hint, sizeof(hint),
		 "a connection of the node itself may take a port that a translated one has: "
		 "sysctl -w net.ipv4.ip_local_reserved_ports=%u-%u, beside what is there",
		 ours, end);
	doctor_add(doctor, n ? SHUNT_CHECK_WARN : SHUNT_CHECK_OK, "ports", hint,
		   "%u of --nat-ports %u-%u are inside net.ipv4.ip_local_port_range %u-%u%s", n,
		   ours, end, low, high, n ? " and not reserved" : "");
}

void doctor_check_sysctl(struct doctor *doctor)
{
	char ports[DOCTOR_NAMES_LEN];

	check_forwarding(doctor);
	check_rp_filter(doctor);
	check_nat_ports(doctor);
	if (!doctor_gate_names(doctor, is_port, ports))
		return;
	check_bridge(doctor, ports);
	check_redirects(doctor);
}
