// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "datapath/read.h"

/* Room that the history needs for a long time; less is worth a warning. */
#define LOW_DISK_BYTES (16 << 20)

static void add(json_t *checks, const char *name, const char *state, const char *hint,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void add(json_t *checks, const char *name, const char *state, const char *hint,
		const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "state",
						state, "text", text, "hint", hint));
}

static void check_source(const struct agent *agent, json_t *checks)
{
	const struct shunt_dir_problem *problems;
	char age[SHUNT_UNIT_STR_LEN], text[1024];
	size_t n;

	problems = shunt_dir_problems(agent->dir, &n);
	if (agent->source_problem[0])
		add(checks, "source", "fail", "the last good objects stay in force", "%s",
		    agent->source_problem);
	else if (n)
		add(checks, "source", "warn", "shunt check says what is wrong, file by file",
		    "%zu files or objects cannot be used, the first: %s", n,
		    shunt_err_str(&problems[0].err, text, sizeof(text)));
	else
		add(checks, "source", "ok", "", "%zu objects in %s",
		    shunt_dir_objects(agent->dir)->n, agent->opts->source_dir);

	if (agent->install_problem[0])
		add(checks, "install", "fail", "the last good configuration stays in force", "%s",
		    agent->install_problem);
	else
		add(checks, "install", "ok", "", "generation %u, found in force %s ago",
		    agent->generation,
		    shunt_duration_str((shunt_mono_ns() - agent->confirmed_ns) / 1000000, age));
}

/* An uplink without an address cannot lend one to connections that go back out of it. */
static void check_uplink(const struct agent *agent, const struct agent_gate *gate, json_t *checks)
{
	static const struct shunt_addr none;
	struct shunt_gate record = agent_gate_record(agent, gate);
	char name[32], v4[SHUNT_IP_STR_LEN] = "none", v6[SHUNT_IP_STR_LEN] = "none";
	struct shunt_ip ip4 = { .addr = record.source[SHUNT_V4], .family = SHUNT_V4 };
	struct shunt_ip ip6 = { .addr = record.source[SHUNT_V6], .family = SHUNT_V6 };
	bool has4 = memcmp(&ip4.addr, &none, sizeof(none)) != 0;
	bool has6 = memcmp(&ip6.addr, &none, sizeof(none)) != 0;

	snprintf(name, sizeof(name), "uplink %s", gate->ifname);
	add(checks, name, has4 || has6 ? "ok" : "warn",
	    has4 || has6 ? "" : "give the interface a global address, or say --nat-source",
	    "source of connections that leave by it: IPv4 %s, IPv6 %s",
	    has4 ? shunt_ip_str(&ip4, v4) : v4, has6 ? shunt_ip_str(&ip6, v6) : v6);
}

static const char *roles_text(uint32_t roles)
{
	static const char *const texts[] = { "", ", uplink", ", external", ", uplink, external" };

	return texts[roles & (SHUNT_GATE_UPLINK | SHUNT_GATE_EXTERNAL)];
}

static void check_gates(const struct agent *agent, json_t *checks)
{
	char name[32];

	for (size_t i = 0; i < agent->gates.n; i++) {
		const struct agent_gate *gate = &agent->gates.items[i];

		snprintf(name, sizeof(name), "gate %s", gate->ifname);
		if (!gate->attached)
			add(checks, name, "fail", "", "%s", gate->problem);
		else if (gate->hook == SHUNT_HOOK_XDP)
			add(checks, name, gate->info.xdp_native ? "ok" : "warn",
			    gate->info.xdp_native ? "" : "use the tc hook on this interface",
			    "attached to XDP, %s mode%s",
			    gate->info.xdp_native ? "native" : "generic", roles_text(gate->roles));
		else
			add(checks, name, "ok", "", "attached to tc by %s, in the first place%s",
			    gate->info.tc_mode == SHUNT_TC_CLSACT ? "clsact" : "tcx",
			    roles_text(gate->roles));
		if (gate->roles & SHUNT_GATE_UPLINK)
			check_uplink(agent, gate, checks);
	}
	for (size_t i = 0; i < agent->gates.n_patterns; i++) {
		const struct agent_gate_pattern *pattern = &agent->gates.patterns[i];

		snprintf(name, sizeof(name), "gate %.15s", pattern->pattern);
		if (pattern->literal && !agent_gates_find(&agent->gates, pattern))
			add(checks, name, "warn", "it is attached when it appears",
			    "no such interface");
	}
	if (!agent->gates.n_patterns)
		add(checks, "gates", "warn", "say which interfaces to guard: --gate 'veth*'",
		    "no interface is guarded, so nothing is split");
}

/* Is capability @number in our effective set? The kernel prints it as one hex number. */
static bool has_capability(unsigned number)
{
	CLEANUP(file_closep) FILE *f = fopen("/proc/self/status", "re");
	unsigned long long effective = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	return effective >> number & 1;
}

/* What CAP_PERFMON is good for: docs/BENCHMARKS.md has the measurement. */
static void check_speed(json_t *checks)
{
	if (has_capability(CAP_PERFMON) || has_capability(CAP_SYS_ADMIN))
		add(checks, "speed", "ok", "", "programs were loaded with CAP_PERFMON");
	else
		add(checks, "speed", "warn",
		    "grant CAP_PERFMON too: without it the kernel adds speculation barriers",
		    "programs were loaded without CAP_PERFMON: a packet costs 10 times as much");
}

static void check_disk(const struct agent *agent, json_t *checks)
{
	const char *dir = agent->opts->dp.state_dir;
	char room[SHUNT_UNIT_STR_LEN];
	struct statvfs fs;

	if (agent->state_problem[0])
		add(checks, "state", "fail", "overrides hold until a restart", "%s",
		    agent->state_problem);
	else if (access(dir, W_OK) < 0 || statvfs(dir, &fs) < 0)
		add(checks, "state", "fail", "overrides and history will not survive a restart",
		    "%s cannot be written: %s", dir, strerror(errno));
	else if ((uint64_t)fs.f_bavail * fs.f_frsize < LOW_DISK_BYTES)
		add(checks, "state", "warn", "make room", "%s has only %s left", dir,
		    shunt_bytes_str((uint64_t)fs.f_bavail * fs.f_frsize, room));
	else
		add(checks, "state", "ok", "", "%s can be written", dir);
}

static void check_room(json_t *checks, const char *name, const char *option, uint64_t used,
		       uint64_t room)
{
	bool tight = used * 10 > room * 9;

	add(checks, name, tight ? "warn" : "ok", tight ? option : "", "%llu of %llu in use",
	    (unsigned long long)used, (unsigned long long)room);
}

static void check_sizes(const struct agent *agent, json_t *checks)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	struct shunt_ids *ids = shunt_installer_ids(agent->installer);
	uint64_t states[SHUNT_N_FLOW_STATES], used = 0;

	if (!shunt_read_flow_states(maps, states)) {
		for (unsigned i = SHUNT_F_FREE + 1; i < SHUNT_N_FLOW_STATES; i++)
			used += states[i];
		check_room(checks, "flow table", "raise --max-flows", used, maps->flows.n);
	}
	check_room(checks, "services", "raise --max-services",
		   shunt_ids_used(ids, SHUNT_ID_SERVICE), maps->services.n - 1);
	check_room(checks, "variants", "raise --max-variants",
		   shunt_ids_used(ids, SHUNT_ID_VARIANT), maps->variants.n - 1);
	check_room(checks, "backends", "raise --max-backends",
		   shunt_ids_used(ids, SHUNT_ID_BACKEND), maps->backends.n - 1);
}

/* What the kernel has taken the weight of. */
static void check_dead_men(const struct agent *agent, json_t *checks)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);

	for (uint32_t id = 1; id < maps->overlay.n; id++) {
		const struct shunt_variant_name *of =
			SHUNT_DP_AT(maps->variant_names, struct shunt_variant_name, id);
		char name[32], fix[3 * SHUNT_NAME_LEN + 64];

		if (!SHUNT_DP_AT(maps->overlay, struct shunt_overlay, id)->tripped)
			continue;
		snprintf(name, sizeof(name), "dead man %.20s", of->variant);
		snprintf(fix, sizeof(fix), "when it is well: shunt weight %s/%s %s=WEIGHT",
			 of->namespace_, of->service, of->variant);
		add(checks, name, "warn", fix, "%s/%s: %s had too many errors and gets nothing new",
		    of->namespace_, of->service, of->variant);
	}
}

void agent_cmd_doctor(struct agent_request *request)
{
	const struct agent *agent = request->agent;
	const char *notes = shunt_dp_notes(agent->dp);
	json_t *checks = json_array();

	if (json_object_size(request->args)) {
		json_decref(checks);
		shunt_ctl_reply_fail(request->reply, SHUNT_CTL_USAGE, "doctor takes no arguments");
		return;
	}
	check_source(agent, checks);
	check_gates(agent, checks);
	check_speed(checks);
	check_disk(agent, checks);
	check_sizes(agent, checks);
	check_dead_men(agent, checks);
	if (notes[0])
		add(checks, "maps", "warn", "", "%s", notes);
	shunt_ctl_reply_ok(request->reply, json_pack("{s:o}", "checks", checks));
}
