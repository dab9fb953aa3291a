// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/print.h"
#include "datapath/doctor.h"

static const char *const state_names[] = { "ok", "warn", "fail" };

static void add(json_t *checks, const char *name, enum shunt_check_state state, const char *text,
		const char *hint)
{
	json_array_append_new(checks, json_pack("{s:s, s:s, s:s, s:s}", "name", name, "state",
						state_names[state], "text", text, "hint", hint));
}

static int add_host(const struct cli *cli, json_t *checks)
{
	CLEANUP(freep) struct shunt_check *found = NULL;
	size_t n;

	if (shunt_doctor(cli->bpffs, &found, &n) < 0)
		return cli_fail(cli, SHUNT_CTL_INTERNAL, "out of memory");
	for (size_t i = 0; i < n; i++)
		add(checks, found[i].name, found[i].state, found[i].text, found[i].hint);
	return 0;
}

static bool has_name(const json_t *checks, const char *name)
{
	const json_t *check;
	size_t i;

	json_array_foreach (checks, i, check) {
		if (!strcmp(cli_str(check, "name"), name))
			return true;
	}
	return false;
}

/* The agent's own checks, or that there is none; of what both looked at, ours is taken out. */
static void add_agent(const struct cli *cli, json_t *checks)
{
	json_auto_t *result = NULL;
	struct shunt_err err = { 0 };
	const json_t *agents;
	int exit_code;

	if (shunt_ctl_call(cli->socket, "doctor", NULL, cli->timeout_ms, &result, &exit_code,
			   &err) < 0) {
		add(checks, "agent", SHUNT_CHECK_FAIL, err.text,
		    "what is pinned goes on splitting, but nothing changes it");
		return;
	}
	agents = json_object_get(result, "checks");
	for (size_t i = json_array_size(checks); i-- > 0;) {
		if (has_name(agents, cli_str(json_array_get(checks, i), "name")))
			json_array_remove(checks, i);
	}
	add(checks, "agent", SHUNT_CHECK_OK, "answers on its socket", "");
	json_array_extend(checks, json_object_get(result, "checks"));
}

static bool has_failure(const json_t *checks)
{
	const json_t *check;
	size_t i;

	json_array_foreach (checks, i, check) {
		if (!strcmp(cli_str(check, "state"), "fail"))
			return true;
	}
	return false;
}

static void print_checks(const struct cli *cli, const json_t *checks)
{
	static const struct {
		const char *state, *text;
		enum print_style style;
	} states[] = { { "ok", " ok ", PRINT_GOOD },
		       { "warn", "warn", PRINT_WARN },
		       { "fail", "FAIL", PRINT_BAD } };
	const json_t *check;
	size_t i;

	json_array_foreach (checks, i, check) {
		for (size_t s = 0; s < ARRAY_LEN(states); s++) {
			if (!strcmp(cli_str(check, "state"), states[s].state))
				print_text(cli, states[s].style, "%s", states[s].text);
		}
		print_text(cli, PRINT_BOLD, "  %-16s", cli_str(check, "name"));
		fputs("  ", cli->out);
		print_wrapped(cli->out, cli_str(check, "text"), 24, 24, 80);
		if (*cli_str(check, "hint"))
			print_wrapped(cli->out, cli_str(check, "hint"), 0, 24, 80);
	}
}

static int run(struct cli *cli)
{
	json_auto_t *checks = json_array(), *result = NULL;
	int r = add_host(cli, checks);

	if (r)
		return r;
	add_agent(cli, checks);
	if (cli->is_json) {
		result = json_pack("{s:O}", "checks", checks);
		r = cli_print_json(cli, result);
		if (r)
			return r;
	} else {
		print_checks(cli, checks);
	}
	return has_failure(checks) ? SHUNT_EXIT_FINDINGS : 0;
}

static const struct cli_example examples[] = {
	{ "shunt doctor", "on the node, as root" },
	{ 0 },
};

const struct cli_command cli_doctor = {
	.name = "doctor",
	.args = "",
	.summary = "check what this host offers and what is in use",
	.text = "Checks the kernel, the rights, the BPF file system, the pinned maps, every gate "
		"and "
		"its place among other programs, the host's settings that meet with translation, "
		"and "
		"whether the agent answers. Changes nothing. What fails comes with what to do.",
	.examples = examples,
	.exits = CLI_EXIT(SHUNT_EXIT_FINDINGS) | CLI_EXIT(SHUNT_CTL_INTERNAL),
	.run = run,
};
