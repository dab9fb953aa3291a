// SPDX-License-Identifier: Apache-2.0
#include "cli/status.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "cli/print.h"

bool status_condition_is_bad(const json_t *condition)
{
	const char *type = cli_str(condition, "type"), *status = cli_str(condition, "status");

	if (!strcmp(type, "Accepted") || !strcmp(type, "ResolvedRefs") ||
	    !strcmp(type, "Programmed"))
		return strcmp(status, "True") != 0;
	return !strcmp(status, "True");
}

static bool same_name(const json_t *a, const json_t *b)
{
	return !strcmp(cli_str(a, "namespace"), cli_str(b, "namespace")) &&
	       !strcmp(cli_str(a, "name"), cli_str(b, "name"));
}

const char *status_label(const json_t *services, size_t i, char *buf)
{
	const json_t *port, *service = json_array_get(services, i);
	bool is_split = (i && same_name(json_array_get(services, i - 1), service)) ||
			same_name(json_array_get(services, i + 1), service);
	size_t len, p;

	len = (size_t)snprintf(buf, STATUS_LABEL_LEN, "%.63s/%.63s", cli_str(service, "namespace"),
			       cli_str(service, "name"));
	json_array_foreach (json_object_get(service, "ports"), p, port) {
		if (!is_split)
			break;
		if (len + sizeof(",65535/udp,...") > STATUS_LABEL_LEN) {
			strcpy(buf + len, ",...");
			break;
		}
		len += (size_t)sprintf(buf + len, "%s%u%s", p ? "," : ":",
				       (unsigned)cli_int(port, "port") & 0xffff,
				       strcmp(cli_str(port, "protocol"), "UDP") ? "" : "/udp");
	}
	return buf;
}

void status_count_backends(const json_t *variant, int *ret_ready, int *ret_all)
{
	const json_t *backend;
	size_t i;

	*ret_ready = *ret_all = 0;
	json_array_foreach (json_object_get(variant, "backends"), i, backend) {
		const char *state = cli_str(backend, "state");

		if (!strcmp(state, "removed"))
			continue;
		(*ret_all)++;
		*ret_ready += !strcmp(state, "ready");
	}
}

void status_print_agent(const struct cli *cli, const json_t *status)
{
	const json_t *flows = json_object_get(status, "flows");
	const char *health = cli_str(status, "health");
	size_t n_gates = json_array_size(json_object_get(status, "gates"));
	char uptime[SHUNT_UNIT_STR_LEN];
	bool is_ok = !strcmp(health, "ok");

	print_text(cli, PRINT_PLAIN, "shuntd %s, ", cli_str(status, "version"));
	print_text(cli, is_ok ? PRINT_GOOD : PRINT_WARN, "%s", health);
	print_text(cli, PRINT_PLAIN, ", up %s, generation %lld, %zu %s, %lld/%lld flows",
		   shunt_duration_str((uint64_t)cli_int(status, "uptime_s") * 1000, uptime),
		   cli_int(status, "generation"), n_gates, n_gates == 1 ? "gate" : "gates",
		   cli_int(flows, "used"), cli_int(flows, "capacity"));
	if (!strcmp(cli_str(status, "forward"), "redirect"))
		print_text(cli, PRINT_PLAIN,
			   "\nforward redirect: past netfilter and the network policies in it");
	fputs("\n\n", cli->out);
}

static void measured_cell(struct print_grid *grid, const json_t *variant)
{
	const json_t *share = json_object_get(variant, "measured_share");
	char text[SHUNT_UNIT_STR_LEN];

	if (json_is_number(share))
		print_cell(grid, PRINT_PLAIN, "%s",
			   shunt_share_str(json_number_value(share), text));
	else
		print_cell(grid, PRINT_DIM, "-");
}

/* Of the last minute; nothing where plaintext HTTP is not looked at. */
static void success_cell(struct print_grid *grid, const json_t *variant)
{
	const json_t *window = json_object_get(json_object_get(variant, "http"), "window");
	const json_t *success = json_object_get(window, "success_rate");
	char text[SHUNT_UNIT_STR_LEN];

	if (json_is_number(success))
		print_cell(grid, PRINT_PLAIN, "%s",
			   shunt_share_str(json_number_value(success), text));
	else
		print_cell(grid, PRINT_DIM, "%s", json_is_object(window) ? "-" : "");
}

static void ready_cell(struct print_grid *grid, int ready, int all)
{
	print_cell(grid,
		   ready == all ? PRINT_PLAIN
		   : ready	? PRINT_WARN
				: PRINT_BAD,
		   "%d/%d", ready, all);
}

const char *status_remain(const json_t *variant, char *buf)
{
	const json_t *share = json_object_get(variant, "share");
	json_int_t n = cli_int(variant, "connections_active");
	char text[SHUNT_UNIT_STR_LEN];

	buf[0] = '\0';
	if (n > 0 && json_is_number(share) && json_number_value(share) == 0)
		snprintf(buf, STATUS_REMAIN_LEN, "%s connection%s",
			 shunt_count_str((uint64_t)n, text), n == 1 ? " remains" : "s remain");
	return buf;
}

/* Weight 0, and still new connections: the sessions that it has. */
static bool has_sessions(const json_t *service, const json_t *variant)
{
	return !strcmp(cli_str(service, "affinity"), "session") &&
	       json_number_value(json_object_get(variant, "share")) == 0 &&
	       json_number_value(json_object_get(variant, "measured_share")) > 0;
}

/* "2 ejected", or "". Return: @buf. */
static const char *ejected_remark(const json_t *variant, char *buf, size_t size)
{
	const json_t *backend;
	size_t i, n = 0;

	json_array_foreach (json_object_get(variant, "backends"), i, backend)
		n += json_is_true(json_object_get(json_object_get(backend, "ejection"), "ejected"));
	buf[0] = '\0';
	if (n)
		snprintf(buf, size, "%zu ejected", n);
	return buf;
}

/*
 * What is worth a word about a variant; "" if nothing is. @buf may hold it: STATUS_REMAIN_LEN
 * bytes.
 */
static const char *variant_remark(const json_t *service, const json_t *variant, int ready, int all,
				  char *buf)
{
	const char *group = cli_str(variant, "group");

	if (*group && strcmp(group, "Resolved"))
		return group;
	if (json_is_true(json_object_get(variant, "drained")))
		return "drained";
	if (json_is_true(json_object_get(variant, "tripped")))
		return "tripped";
	if (!all)
		return "no endpoints";
	if (!ready)
		return "none ready";
	if (*ejected_remark(variant, buf, STATUS_REMAIN_LEN))
		return buf;
	return has_sessions(service, variant) ? "sessions stay" : status_remain(variant, buf);
}

static const char *service_remark(const json_t *service)
{
	const json_t *condition;
	size_t i;

	json_array_foreach (json_object_get(service, "conditions"), i, condition) {
		if (status_condition_is_bad(condition))
			return cli_str(condition, "reason");
	}
	return json_is_object(json_object_get(service, "override")) ? "override" : "";
}

/*
 * What is wrong with the whole service also explains its variants: one is enough for a line. But
 * for a drain, which is an operator's doing, and for breakers, which nothing else explains.
 */
static void remark_cell(struct print_grid *grid, const char *service, const char *breaker,
			const char *variant)
{
	bool is_override = !strcmp(service, "override");

	if (*service && !is_override && strcmp(variant, "drained"))
		variant = "";
	print_cell(grid,
		   *variant || *breaker || (*service && !is_override) ? PRINT_WARN : PRINT_PLAIN,
		   "%s%s%s%s%s", service, *service && *breaker ? ", " : "", breaker,
		   (*service || *breaker) && *variant ? ", " : "", variant);
}

/* The service's own breaker stands in its first line, before that of the variant. */
static const char *breaker_remark(const json_t *service, const json_t *variant, bool is_first,
				  char *buf, size_t size)
{
	if (is_first && *status_breaker_remark(service, "", buf, size))
		return buf;
	return status_breaker_remark(service, cli_str(variant, "name"), buf, size);
}

static void add_variant(struct print_grid *grid, const char *label, const json_t *service,
			const json_t *variant, bool is_first)
{
	char text[SHUNT_UNIT_STR_LEN], breaker[64], remark[STATUS_REMAIN_LEN];
	int ready, all;

	status_count_backends(variant, &ready, &all);
	if (is_first)
		print_cell(grid, PRINT_BOLD, "%s", label);
	else
		print_cell(grid, PRINT_PLAIN, "%s", "");
	print_cell(grid, PRINT_PLAIN, "%s", cli_str(variant, "name"));
	print_cell(grid, PRINT_PLAIN, "%lld", cli_int(variant, "weight"));
	print_cell(grid, PRINT_BOLD, "%s",
		   shunt_share_str(json_number_value(json_object_get(variant, "share")), text));
	measured_cell(grid, variant);
	print_cell(grid, PRINT_PLAIN, "%s",
		   shunt_count_str((uint64_t)cli_int(variant, "connections_active"), text));
	success_cell(grid, variant);
	ready_cell(grid, ready, all);
	remark_cell(grid, is_first ? service_remark(service) : "",
		    breaker_remark(service, variant, is_first, breaker, sizeof(breaker)),
		    variant_remark(service, variant, ready, all, remark));
}

void status_print_overview(const struct cli *cli, const json_t *status)
{
	static const struct print_column columns[] = {
		{ "SERVICE", false }, { "VARIANT", false }, { "WEIGHT", true },
		{ "ASKED", true },    { "MEASURED", true }, { "ACTIVE", true },
		{ "SUCCESS", true },  { "READY", true },    { "REMARKS", false },
	};
	struct print_grid grid = PRINT_GRID(columns);
	const json_t *service, *variant, *services = json_object_get(status, "services");
	char label[STATUS_LABEL_LEN];
	size_t i, j;

	json_array_foreach (services, i, service) {
		status_label(services, i, label);
		json_array_foreach (json_object_get(service, "variants"), j, variant)
			add_variant(&grid, label, service, variant, j == 0);
	}
	if (grid.n_cells)
		print_grid(cli, &grid, 0);
	else
		fputs("No service is split: the source has no object that splits one.\n", cli->out);
}

void status_print_reasons(const struct cli *cli, const json_t *status)
{
	static const struct print_column columns[] = {
		{ "PACKETS", true },
		{ "ACTION", false },
		{ "REASON", false },
	};
	struct print_grid grid = PRINT_GRID(columns);
	char text[SHUNT_UNIT_STR_LEN];
	const json_t *reason;
	size_t i;

	json_array_foreach (json_object_get(status, "reasons"), i, reason) {
		if (!cli_int(reason, "packets"))
			continue;
		print_cell(&grid, PRINT_PLAIN, "%s",
			   shunt_count_str((uint64_t)cli_int(reason, "packets"), text));
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(reason, "action"));
		print_cell(&grid, PRINT_PLAIN, "%s", cli_str(reason, "text"));
	}
	fputc('\n', cli->out);
	if (grid.n_cells)
		print_grid(cli, &grid, 0);
	else
		fputs("No packet has been seen at a gate.\n", cli->out);
}

/* Messages of the translator begin with the place already. */
static void print_report(const struct cli *cli, const json_t *report, const json_t *condition)
{
	const char *message = cli_str(condition, "message"), *file = cli_str(report, "file");

	fputs("  ", cli->out);
	if (*file && strncmp(message, file, strlen(file)))
		print_text(cli, PRINT_PLAIN, "%s:%lld: ", file, cli_int(report, "line"));
	print_text(cli, PRINT_PLAIN, "%s %s/%s: ", cli_str(report, "kind"),
		   cli_str(report, "namespace"), cli_str(report, "name"));
	print_text(cli, PRINT_WARN, "%s", cli_str(condition, "reason"));
	print_text(cli, PRINT_PLAIN, ": %s", message);
	fputc('\n', cli->out);
}

void status_print_problems(const struct cli *cli, const json_t *status)
{
	const json_t *problem, *report, *condition;
	bool has_title = false;
	size_t i, j;

	json_array_foreach (json_object_get(status, "problems"), i, problem) {
		struct shunt_err err = { .line = (unsigned)cli_int(problem, "line"),
					 .column = (unsigned)cli_int(problem, "column") };
		char text[1100];

		snprintf(err.file, sizeof(err.file), "%s", cli_str(problem, "file"));
		snprintf(err.field, sizeof(err.field), "%s", cli_str(problem, "field"));
		snprintf(err.text, sizeof(err.text), "%s", cli_str(problem, "text"));
		fputs(has_title ? "" : "\nProblems:\n", cli->out);
		has_title = true;
		print_text(cli, PRINT_BAD, "  %s", shunt_err_str(&err, text, sizeof(text)));
		fputc('\n', cli->out);
	}
	json_array_foreach (json_object_get(status, "reports"), i, report) {
		json_array_foreach (json_object_get(report, "conditions"), j, condition) {
			if (!status_condition_is_bad(condition))
				continue;
			fputs(has_title ? "" : "\nProblems:\n", cli->out);
			has_title = true;
			print_report(cli, report, condition);
		}
	}
}
