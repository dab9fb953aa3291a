// SPDX-License-Identifier: Apache-2.0
/* Routes, neighbours and rules, in a network namespace of the test's own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "agent/routes.h"
#include "dp_lab.h"

/* What is told of a change that `ip` makes. */
static struct agent_routes_news news_of(int fd, const char *command)
{
	struct agent_routes_news news = { 0 };

	agent_routes_read(fd, &news);
	news = (struct agent_routes_news){ 0 };
	dp_lab_run("%s", command);
	cr_assert_eq(agent_routes_read(fd, &news), 0);
	return news;
}

Test(routes, each_change_is_told)
{
	static const char *const changes[] = {
		"ip route add 10.9.0.0/16 dev way0",
		"ip route del 10.9.0.0/16 dev way0",
		"ip -6 route add fd09::/64 dev way0",
		"ip neigh add 10.8.0.2 lladdr 02:00:00:00:00:09 dev way0",
		"ip neigh replace 10.8.0.2 lladdr 02:00:00:00:00:0a dev way0",
		"ip neigh del 10.8.0.2 dev way0",
		"ip link set way0 down",
	};
	struct dp_lab lab;
	int fd;

	dp_lab_enter(&lab);
	dp_lab_veth("way0", "way1");
	dp_lab_run("ip addr add 10.8.0.1/24 dev way0; ip link set way1 up; ip link set way0 up");
	fd = agent_routes_open();
	cr_assert_geq(fd, 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct agent_routes_news news = news_of(fd, changes[i]);

		cr_expect(news.any, "%s", changes[i]);
		cr_expect_not(news.rules, "%s", changes[i]);
	}
	cr_expect(news_of(fd, "ip rule add to 10.9.0.0/16 table 100").rules);
	close(fd);
}

Test(routes, rules_that_look_at_sources_are_seen)
{
	struct dp_lab lab;

	dp_lab_enter(&lab);
	cr_expect_eq(agent_rules_ask_sources(), 0);
	dp_lab_run("ip rule add fwmark 1 table 100; ip rule add to 10.9.0.0/16 table 100");
	cr_expect_eq(agent_rules_ask_sources(), 0);
	dp_lab_run("ip -6 rule add from fd09::/64 table 100");
	cr_expect_eq(agent_rules_ask_sources(), 1);
}

Test(routes, a_neighbour_on_the_way_to_an_address_is_looked_for)
{
	const struct shunt_addr beyond = { { 0, 0, 0, 0x0200090au } }; /* 10.9.0.2 */
	const struct shunt_addr near = { { 0, 0, 0, 0x0200080au } };   /* 10.8.0.2 */
	const struct shunt_addr nowhere = { { 0, 0, 0, 0x0200070au } };
	struct dp_lab lab;
	uint32_t way;
	int fd;

	dp_lab_enter(&lab);
	dp_lab_veth("way0", "way1");
	dp_lab_run("ip addr add 10.8.0.1/24 dev way0; ip link set way1 up; ip link set way0 up; "
		   "ip route add 10.9.0.0/16 via 10.8.0.254");
	way = dp_lab_ifindex("way0");
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	cr_assert_geq(fd, 0);
	cr_expect_eq(agent_neighbour_use(fd, &nowhere, SHUNT_V4, &way, 1), 0);
	cr_expect_eq(agent_neighbour_use(fd, &near, SHUNT_V4, NULL, 0), 0, "no uplink");
	cr_expect_eq(agent_neighbour_use(fd, &near, SHUNT_V4, &way, 1), 1);
	cr_expect_eq(agent_neighbour_use(fd, &beyond, SHUNT_V4, &way, 1), 1);
	dp_lab_run("ip neigh show dev way0 | grep -q '^10.8.0.2 '");
	dp_lab_run("ip neigh show dev way0 | grep -q '^10.8.0.254 '");
	dp_lab_run("! ip neigh show dev way0 | grep -q '^10.9'");
	close(fd);
}
