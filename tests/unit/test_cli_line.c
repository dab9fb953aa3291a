// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cli_run_line.h"

#define NOWHERE "--socket=/tmp/shunt-no-such/sock --bpffs=/tmp/shunt-no-such/bpf "

static const struct {
	const char *line;
	int exit_code;
	const char *says; /* part of the sentence on stderr */
} wrong[] = {
	{ "statu", 2, "no command \"statu\"" },
	{ "--nope status", 2, "unknown option --nope" },
	{ "status --nope", 2, "`shunt help status` lists them" },
	{ "status -x", 2, "unknown option -x" },
	{ "status a b", 2, "too many arguments: usage: shunt status [SERVICE]" },
	{ "-o xml status", 2, "-o xml: want table or json" },
	{ "status -o", 2, "-o needs a value" },
	{ "status --timeout", 2, "--timeout needs a value" },
	{ "status --timeout 0", 2, "--timeout 0: want a time" },
	{ "status --timeout 1y", 2, "--timeout 1y: want a time" },
	{ "weight", 2, "too few arguments" },
	{ "weight a", 2, "no weights" },
	{ "weight a green", 2, "green: want VARIANT=WEIGHT" },
	{ "weight a =5", 2, "=5: want VARIANT=WEIGHT" },
	{ "weight a green=-5", 2, "whole number from 0 to 1000000" },
	{ "weight a green=1.5", 2, "whole number from 0 to 1000000" },
	{ "weight a green=1000001", 2, "whole number from 0 to 1000000" },
	{ "weight a green=99999999999999999999", 2, "whole number from 0 to 1000000" },
	{ "weight a green=", 2, "whole number from 0 to 1000000" },
	{ "weight a green=1 green=2", 2, "green is named twice" },
	{ "weight a green=1 --from-manifest", 2, "leave out green=1" },
	{ "weight a green=1 --port 0", 2, "--port 0: want a number" },
	{ "weight a green=1 --port 65536", 2, "--port 65536: want a number" },
	{ "weight a g=1 --reason=\xff\xfe", 2, "--reason is not valid UTF-8" },
	{ "switch a", 2, "usage: shunt switch SERVICE VARIANT" },
	{ "rollback", 2, "usage: shunt rollback SERVICE" },
	{ "history a --last 0", 2, "--last 0" },
	{ "drain a b --deadline soon", 2, "--deadline soon: want a time" },
	{ "drain a b --undo --deadline 5s", 2, "leave out --deadline" },
	{ "detach --deadline 5s", 2, "with --drain only" },
	{ "explain a 10.0.0.1:80", 2, "a: want the client's ADDR" },
	{ "explain 10.0.0.1 10.0.0.2", 2, "10.0.0.2: want the frontend's ADDR:PORT" },
	{ "explain 10.0.0.1 [fd00::1]:80", 2, "different families" },
	{ "explain 10.0.0.1 fd00::1:80", 2, "IPv6 in brackets" },
	{ "explain 10.0.0.1 10.0.0.2:0", 2, "want the frontend's ADDR:PORT" },
	{ "explain 10.0.0.1 10.0.0.2:65536", 2, "want the frontend's ADDR:PORT" },
	{ "explain --proto icmp 10.0.0.1 10.0.0.2:80", 2, "--proto icmp: want tcp or udp" },
	{ "check", 2, "too few arguments" },
	{ "check /tmp/shunt-no-such", 3, "/tmp/shunt-no-such: No such file" },
	{ "check --entrypoint web=1 .", 2, "--entrypoint web=1: want NAME=ADDR:PORT" },
	{ "check --frontend-cidr 10.0.0.0/33 .", 2, "--frontend-cidr 10.0.0.0/33" },
	{ "completion fish", 2, "no completion for fish" },
	{ "help nonsense", 2, "no command \"nonsense\"" },
	{ NOWHERE "status", 5, "start shuntd" },
	{ NOWHERE "weight a b=1", 5, "start shuntd" },
	{ NOWHERE "events -f", 5, "start shuntd" },
	{ NOWHERE "explain 10.0.0.1 10.0.0.2:80", 6, "/tmp/shunt-no-such" },
	{ NOWHERE "detach", 3, "nothing to detach" },
	{ NOWHERE "detach --drain", 3, "nothing to detach" },
};

Test(cli_line, each_mistake_gets_one_sentence_and_its_exit_code)
{
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		CLEANUP(freep) char *out = NULL;
		CLEANUP(freep) char *err = NULL;
		int r = cli_run_line(NULL, wrong[i].line, &out, &err);

		cr_expect_eq(r, wrong[i].exit_code, "shunt %s ended with %d: %s", wrong[i].line, r,
			     err);
		cr_expect_str_eq(out, "", "shunt %s printed %s", wrong[i].line, out);
		cr_expect(strstr(err, wrong[i].says), "shunt %s said %s", wrong[i].line, err);
		cr_expect(!strncmp(err, "shunt: ", 7) && strchr(err, '\n') == err + strlen(err) - 1,
			  "shunt %s: not one line: %s", wrong[i].line, err);
	}
}

Test(cli_line, without_a_command_the_help_goes_to_stderr)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;

	cr_assert_eq(cli_run_line(NULL, "", &out, &err), 2);
	cr_assert_str_eq(out, "");
	cr_assert(strstr(err, "Usage: shunt"));
}

Test(cli_line, options_may_stand_before_and_behind_the_command)
{
	static const char *const lines[] = { "-o json version " NOWHERE, "version -ojson " NOWHERE,
					     NOWHERE "version --output=json" };

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		CLEANUP(freep) char *out = NULL;
		CLEANUP(freep) char *err = NULL;
		json_auto_t *json = NULL;

		cr_assert_eq(cli_run_line(NULL, lines[i], &out, &err), 0, "%s", err);
		json = json_loads(out, 0, NULL);
		cr_assert(json_is_null(json_object_get(json, "agent")), "%s", out);
	}
}

Test(cli_line, every_command_has_help_that_fits_80_columns)
{
	for (size_t i = 0; cli_commands[i]; i++) {
		CLEANUP(freep) char *out = NULL;
		CLEANUP(freep) char *err = NULL;
		char line[64];

		snprintf(line, sizeof(line), "%s --help", cli_commands[i]->name);
		cr_assert_eq(cli_run_line(NULL, line, &out, &err), 0, "%s", line);
		cr_assert(strstr(out, cli_commands[i]->summary), "%s", out);
		for (char *l = strtok(out, "\n"); l; l = strtok(NULL, "\n"))
			cr_expect_leq(strlen(l), 80, "%s", l);
	}
}

Test(cli_line, doctor_ends_with_1_when_no_agent_answers)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	json_auto_t *json = NULL;

	cr_assert_eq(cli_run_line(NULL, NOWHERE "doctor -o json", &out, &err), 1);
	json = json_loads(out, 0, NULL);
	cr_assert_gt(json_array_size(json_object_get(json, "checks")), 8, "%s", out);
	cr_assert(strstr(out, "start shuntd"));
}

/* ---- check --------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	cr_assert(file);
	fputs(text, file);
	fclose(file);
}

static const char good[] = "apiVersion: v1\nkind: Service\nmetadata: {name: api}\n"
			   "spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";

#define ZERO_ROUTE(service, n)                                                                     \
	"---\napiVersion: v1\nkind: Service\nmetadata: {name: " service "}\n"                      \
	"spec: {clusterIP: 10.96.0." n ", ports: [{port: 80}]}\n---\n"                             \
	"apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"                               \
	"metadata: {name: r" service "}\nspec:\n"                                                  \
	"  parentRefs: [{group: '', kind: Service, name: " service ", port: 80}]\n"                \
	"  rules: [{backendRefs: [{name: " service ", port: 80, weight: 0}]}]\n"

Test(cli_line, check_finds_each_split_without_traffic_and_each_kind_that_is_not_read)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	char path[] = "/tmp/shunt-test-XXXXXX", line[64];
	int fd = mkstemp(path);

	cr_assert(fd >= 0);
	close(fd);
	write_file(path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" ZERO_ROUTE(
				 "a", "1") ZERO_ROUTE("b", "2"));
	snprintf(line, sizeof(line), "check %s", path);
	cr_expect_eq(cli_run_line(NULL, line, &out, &err), 1, "%s%s", out, err);
	cr_expect(strstr(out, ":1: Shunt does not read ConfigMap"), "%s", out);
	cr_expect(strstr(out, ":10: all weights are 0"), "%s", out);
	cr_expect(strstr(out, ":22: all weights are 0"), "the second one too: %s", out);
	cr_expect(strstr(out, " 3 findings\n"), "%s", out);

	free(out);
	free(err);
	snprintf(line, sizeof(line), "check --other-kinds %s", path);
	cr_expect_eq(cli_run_line(NULL, line, &out, &err), 1, "%s%s", out, err);
	cr_expect_not(strstr(out, "ConfigMap"), "%s", out);
	cr_expect(strstr(out, " 2 findings\n"), "%s", out);
	unlink(path);
}

Test(cli_line, check_sorts_by_place)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	char path[] = "/tmp/shunt-test-XXXXXX", line[64];
	int fd = mkstemp(path);
	unsigned last = 0, at;

	cr_assert(fd >= 0);
	close(fd);
	write_file(path, ZERO_ROUTE("z", "1") "---\napiVersion: v1\nkind: Secret\n"
					      "metadata: {name: s}\n" ZERO_ROUTE("a", "2"));
	snprintf(line, sizeof(line), "check %s", path);
	cr_expect_eq(cli_run_line(NULL, line, &out, &err), 1);
	for (char *p = out; (p = strstr(p, path)); p += strlen(path)) {
		cr_assert_eq(sscanf(p + strlen(path), ":%u", &at), 1, "%s", p);
		cr_expect_geq(at, last, "%s", out);
		last = at;
	}
	cr_expect_gt(last, 20, "%s", out);
	unlink(path);
}

Test(cli_line, check_sorts_files_as_people_count)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	char dir[] = "/tmp/shunt-test-XXXXXX", path[64], line[64];
	static const char *const names[] = { "v10", "v2", "v1" };
	const char *last, *p;

	cr_assert(mkdtemp(dir));
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s.yaml", dir, names[i]);
		write_file(path, i == 0	  ? ZERO_ROUTE("a", "1")
				 : i == 1 ? ZERO_ROUTE("b", "2")
					  : ZERO_ROUTE("c", "3"));
	}
	snprintf(line, sizeof(line), "check %s", dir);
	cr_expect_eq(cli_run_line(NULL, line, &out, &err), 1);
	last = out;
	for (size_t i = 3; i--;) {
		snprintf(path, sizeof(path), "%s/%s.yaml:", dir, names[i]);
		p = strstr(last, path);
		cr_assert(p, "%s is not in its place:\n%s", path, out);
		last = p;
	}
	snprintf(line, sizeof(line), "rm -r %s", dir);
	cr_assert_eq(system(line), 0);
}

Test(cli_line, output_that_cannot_be_written_is_no_success)
{
	CLEANUP(freep) char *err = NULL;
	char *argv[] = { "shunt", "version", NULL };
	FILE *full = fopen("/dev/full", "w");
	size_t len;
	FILE *to = open_memstream(&err, &len);
	int r = cli_run(2, argv, full, to);

	fclose(to);
	fclose(full);
	cr_expect_eq(r, 8);
	cr_expect(strstr(err, "cannot write the output: No space left on device"), "%s", err);
}

Test(cli_line, check_names_every_finding_with_its_place)
{
	CLEANUP(freep) char *out = NULL;
	CLEANUP(freep) char *err = NULL;
	char dir[] = "/tmp/shunt-test-XXXXXX", path[64], line[160];

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.yaml", dir);
	write_file(path, good);
	snprintf(path, sizeof(path), "%s/b.yaml", dir);
	write_file(path, good);
	snprintf(path, sizeof(path), "%s/c.yaml", dir);
	write_file(path, "kind: {\n");
	snprintf(path, sizeof(path), "%s/d.yaml", dir);
	write_file(path, "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n"
			 "metadata: {name: api}\nspec:\n"
			 "  parentRefs: [{group: \"\", kind: Service, name: api, port: 80}]\n"
			 "  rules:\n  - backendRefs:\n    - {name: blue, port: 80, weight: -1}\n");

	snprintf(line, sizeof(line), "check %s", dir);
	cr_assert_eq(cli_run_line(NULL, line, &out, &err), 1, "%s%s", out, err);
	cr_expect(strstr(out, "/b.yaml:1"), "the second Service api: %s", out);
	cr_expect(strstr(out, "/c.yaml:2:1: "), "%s", out);
	cr_expect(strstr(out, "/d.yaml:8:38: spec.rules[0].backendRefs[0].weight"), "%s", out);
	cr_expect(strstr(out, " 3 findings\n"), "%s", out);

	free(out);
	free(err);
	snprintf(line, sizeof(line), "check -o json %s/a.yaml %s/b.yaml", dir, dir);
	cr_assert_eq(cli_run_line(NULL, line, &out, &err), 1);
	cr_expect(strstr(out, "is also in"), "%s", out);
	free(out);
	free(err);
	snprintf(line, sizeof(line), "check %s/a.yaml", dir);
	cr_assert_eq(cli_run_line(NULL, line, &out, &err), 0, "%s%s", out, err);
	cr_expect_str_eq(out, "1 object, 0 split services, 0 findings\n");

	for (char c = 'a'; c <= 'd'; c++) {
		snprintf(path, sizeof(path), "%s/%c.yaml", dir, c);
		unlink(path);
	}
	rmdir(dir);
}
