// SPDX-License-Identifier: Apache-2.0
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "datapath/doctor_internal.h"

/*
 * What the devices under the gates do with frames before we see them, or past us. Said only
 * where it is so.
 */

#define MAX_NAMES 4

void doctor_note_gate(struct doctor *doctor, uint32_t ifindex, const char *ifname, bool is_xdp)
{
	struct doctor_gate *gate;

	for (size_t i = 0; i < doctor->n_gates; i++) {
		if (doctor->gates[i].ifindex != ifindex)
			continue;
		doctor->gates[i].is_xdp |= is_xdp;
		return;
	}
	gate = shunt_array_add(&doctor->gates, &doctor->n_gates, sizeof(*gate));
	if (!gate) {
		doctor->is_out_of_memory = true;
		return;
	}
	gate->ifindex = ifindex;
	gate->is_xdp = is_xdp;
	snprintf(gate->ifname, sizeof(gate->ifname), "%s", ifname);
}

size_t doctor_gate_names(const struct doctor *doctor, doctor_want_t want,
			 char buf[DOCTOR_NAMES_LEN])
{
	size_t n = 0, len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < doctor->n_gates; i++) {
		if (!want(doctor, &doctor->gates[i]))
			continue;
		if (n++ < MAX_NAMES)
			len += (size_t)snprintf(buf + len, DOCTOR_NAMES_LEN - len, "%s%s",
						len ? ", " : "", doctor->gates[i].ifname);
	}
	if (n > MAX_NAMES)
		snprintf(buf + len, DOCTOR_NAMES_LEN - len, " and %zu more", n - MAX_NAMES);
	return n;
}

bool doctor_warn_gates(struct doctor *doctor, doctor_want_t want, const char *check,
		       const char *advice, const char *what)
{
	char names[DOCTOR_NAMES_LEN];

	if (!doctor_gate_names(doctor, want, names))
		return false;
	doctor_add(doctor, SHUNT_CHECK_WARN, check, advice, "%s: %s", names, what);
	return true;
}

static const struct shunt_link *link_of(const struct doctor *doctor, uint32_t ifindex)
{
	return shunt_links_find(doctor->links, doctor->n_links, ifindex);
}

static bool is_kind(const struct shunt_link *link, const char *kind)
{
	return link && !strcmp(link->kind, kind);
}

const struct shunt_link *doctor_bridge_of(const struct doctor *doctor,
					  const struct doctor_gate *gate)
{
	const struct shunt_link *link = link_of(doctor, gate->ifindex);
	const struct shunt_link *master = link ? link_of(doctor, link->master) : NULL;

	return is_kind(master, "bridge") ? master : NULL;
}

/* ---- a bridge as a gate ---------------------------------------------------------------------- */

static bool is_gate(const struct doctor *doctor, uint32_t ifindex)
{
	for (size_t i = 0; i < doctor->n_gates; i++)
		if (doctor->gates[i].ifindex == ifindex)
			return true;
	return false;
}

/* Is @gate a bridge some of whose ports are no gates? */
static bool is_bridge_alone(const struct doctor *doctor, const struct doctor_gate *gate)
{
	if (!is_kind(link_of(doctor, gate->ifindex), "bridge"))
		return false;
	for (size_t i = 0; i < doctor->n_links; i++)
		if (doctor->links[i].master == gate->ifindex &&
		    !is_gate(doctor, doctor->links[i].ifindex))
			return true;
	return false;
}

static void check_bridges(struct doctor *doctor)
{
	doctor_warn_gates(doctor, is_bridge_alone, "bridge ports",
			  "answers between two ports of one bridge never reach the bridge's own "
			  "hook: let --gate name its ports too",
			  "a gate is a bridge, and not all of its ports are gates");
}

/* ---- VLAN tags that the card takes out ---------------------------------------------------------
 */

/* Does the card strip VLAN tags? The flags of ethtool's first days say it, on every driver. */
static bool strips_vlan(const char *ifname)
{
	struct ethtool_value value = { .cmd = ETHTOOL_GFLAGS };
	struct ifreq request = { .ifr_data = (void *)&value };
	CLEANUP(fd_closep) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", ifname);
	return fd >= 0 && !ioctl(fd, SIOCETHTOOL, &request) && value.data & ETH_FLAG_RXVLAN;
}

static bool has_vlans(const struct doctor *doctor, const struct doctor_gate *gate)
{
	const struct shunt_link *bridge = doctor_bridge_of(doctor, gate);
	long filtering = 0;

	for (size_t i = 0; i < doctor->n_links; i++)
		if (doctor->links[i].lower == gate->ifindex && is_kind(&doctor->links[i], "vlan"))
			return true;
	if (bridge)
		doctor_read_number(doctor, &filtering, "/sys/class/net/%s/bridge/vlan_filtering",
				   bridge->ifname);
	return filtering == 1;
}

static bool loses_vlan(const struct doctor *doctor, const struct doctor_gate *gate)
{
	return gate->is_xdp && has_vlans(doctor, gate) && strips_vlan(gate->ifname);
}

static void check_vlans(struct doctor *doctor)
{
	doctor_warn_gates(doctor, loses_vlan, "VLAN offload",
			  "XDP does not see tags that the card takes out: what is answered goes "
			  "out untagged, and equal addresses in two VLANs are mixed up: ethtool "
			  "-K DEV rxvlan off",
			  "has VLANs, and the card strips their tags");
}

/* ---- frames for others -------------------------------------------------------------------------
 */

/* Promiscuous for no reason that can be seen: bridges and macvlans have theirs. */
static bool is_promiscuous(const struct doctor *doctor, const struct doctor_gate *gate)
{
	const struct shunt_link *link = link_of(doctor, gate->ifindex);

	if (!link || !link->promiscuity || link->master)
		return false;
	for (size_t i = 0; i < doctor->n_links; i++)
		if (doctor->links[i].lower == gate->ifindex)
			return false;
	return true;
}

static void check_promiscuous(struct doctor *doctor)
{
	doctor_warn_gates(doctor, is_promiscuous, "promiscuous",
			  "frames for other hosts come in: end the capture, or ip link set dev "
			  "DEV promisc off",
			  "promiscuous");
}

void doctor_check_gates(struct doctor *doctor)
{
	check_bridges(doctor);
	check_vlans(doctor);
	check_promiscuous(doctor);
}
