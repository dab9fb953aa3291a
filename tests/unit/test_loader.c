// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "datapath/datapath.h"
#include "datapath/internal.h"
#include "dp_lab.h"

static struct dp_lab lab;

static void enter(void)
{
	dp_lab_enter(&lab);
}

TestSuite(loader, .init = enter, .timeout = 60);

static struct shunt_settings *settings_of(struct shunt_dp *dp)
{
	return shunt_dp_maps(dp)->settings.base;
}

static char *path_of(char *buf, const char *name)
{
	sprintf(buf, "%s/v%d/%s", lab.bpffs, SHUNT_ABI_VERSION, name);
	return buf;
}

/* shunt_dp_open() that must fail: returns the code, and the text in @err. */
static int open_fails(struct shunt_err *err)
{
	struct shunt_dp *dp = NULL;
	int r = shunt_dp_open(&lab.opts, &dp, err);

	cr_assert_lt(r, 0);
	cr_assert_null(dp);
	cr_assert_null(strchr(err->text, '\n'), "one line: %s", err->text);
	return r;
}

static void assert_mode(const char *path, mode_t mode)
{
	struct stat st;

	cr_assert_eq(stat(path, &st), 0, "%s", path);
	cr_expect_eq(st.st_mode & 0777, mode, "%s is %o", path, st.st_mode & 0777);
}

Test(loader, a_first_start_pins_every_map_for_its_owner_only)
{
	static const char *const names[] = {
#define PIN_NAME(name) "shunt_" #name,
		SHUNT_DP_ARRAYS(PIN_NAME) "shunt_frontends",
		"shunt_sessions",
		"shunt_backend_counters",
		"shunt_variant_counters",
		"shunt_reasons",
		"shunt_answer_limits",
		"shunt_placed",
	};
	struct shunt_dp *dp = dp_lab_open(&lab);
	char path[256];

	cr_expect_not(shunt_dp_adopted(dp));
	cr_expect_str_eq(shunt_dp_notes(dp), "");
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_mode(path_of(path, names[i]), 0600);
	assert_mode(lab.bpffs, 0700);
	assert_mode(path_of(path, "links"), 0700);
	assert_mode(lab.state, 0700);
	sprintf(path, "%s/secret", lab.state);
	assert_mode(path, 0600);
	shunt_dp_close(dp);
	cr_expect_eq(access(path_of(path, "shunt_flows"), F_OK), 0, "pins outlive the agent");
}

Test(loader, settings_are_filled_from_options_and_defaults)
{
	struct shunt_settings *s;
	struct shunt_dp *dp;
	uint32_t hz;

	lab.opts.timeout_ms[SHUNT_T_UDP] = 7000;
	lab.opts.nat_port_first = 50000;
	lab.opts.nat_port_last = 50099;
	lab.opts.icmp_rate = 500;
	dp = dp_lab_open(&lab);
	s = settings_of(dp);
	hz = shunt_dp_hz(dp);
	cr_expect_eq(s->abi_version, SHUNT_ABI_VERSION);
	cr_expect_eq(s->timeout_jiffies[SHUNT_T_UDP], 7 * hz);
	cr_expect_eq(s->timeout_jiffies[SHUNT_T_HALF_OPEN], 10 * hz);
	cr_expect_eq(s->timeout_jiffies[SHUNT_T_ESTABLISHED], 86400 * hz);
	cr_expect_eq(s->timeout_jiffies[SHUNT_T_CLOSING], 60 * hz);
	cr_expect_eq(s->timeout_jiffies[SHUNT_T_CLOSED], 10 * hz);
	cr_expect_eq(s->timeout_jiffies[SHUNT_T_UDP_NEW], 30 * hz);
	cr_expect_eq(s->seen_grain_jiffies, (hz + 3) / 4);
	cr_expect_eq(s->nat_port_first, 50000);
	cr_expect_eq(s->nat_port_count, 100);
	cr_expect_eq(s->answer_burst_jiffies, hz);
	cr_expect_eq(s->answer_cost[SHUNT_ANSWER_ICMP], ((uint64_t)hz << SHUNT_ANSWER_SHIFT) / 500);
	cr_expect_eq(s->answer_cost[SHUNT_ANSWER_RST], 0);
	cr_expect_eq(s->flow_set_mask, 1024 / SHUNT_FLOW_WAYS - 1);
	cr_expect_eq(s->reply_set_mask, 1024 / 4 - 1);
	cr_expect_neq(s->choice_key[0] | s->choice_key[1], 0);
	cr_expect_neq(s->table_key, 0);
	shunt_dp_close(dp);
}

Test(loader, the_way_of_new_flows_can_change_at_a_restart)
{
	struct shunt_dp *dp;

	lab.opts.forward = SHUNT_FORWARD_REDIRECT;
	dp = dp_lab_open(&lab);
	cr_expect_eq(settings_of(dp)->flags, SHUNT_S_REDIRECT | SHUNT_S_ANSWERS);
	shunt_dp_close(dp);
	lab.opts.forward = SHUNT_FORWARD_STACK;
	dp = dp_lab_open(&lab);
	cr_expect_eq(settings_of(dp)->flags, SHUNT_S_ANSWERS, "flows past the stack live on");
	shunt_dp_close(dp);
}

Test(loader, a_port_range_upside_down_and_an_endless_timeout_are_refused)
{
	struct shunt_err err;

	lab.opts.nat_port_first = 50000;
	lab.opts.nat_port_last = 49999;
	cr_expect_eq(open_fails(&err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "50000 to 49999"), "%s", err.text);
	lab.opts.nat_port_last = 0;
	lab.opts.timeout_ms[SHUNT_T_UDP] = UINT32_MAX;
	cr_expect_eq(open_fails(&err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "too long"), "%s", err.text);
}

Test(loader, sizes_are_rounded_up_to_powers_of_two)
{
	const struct shunt_dp_maps *maps;
	struct shunt_dp *dp;

	lab.opts.sizes.flows = 1025;
	lab.opts.sizes.services = 33;
	dp = dp_lab_open(&lab);
	maps = shunt_dp_maps(dp);
	cr_expect_eq(maps->flows.n, 2048);
	cr_expect_eq(maps->flow_sets.n, 128);
	cr_expect_eq(maps->reply_sets.n, 512);
	cr_expect_eq(maps->services.n, 64);
	cr_expect_eq(maps->rules.n, 64);
	cr_expect_eq(maps->splits.n, 128);
	cr_expect_eq(maps->rings.n, 65536 / 4);
	cr_expect_eq(maps->members.n, 4 * 256);
	cr_expect_eq(maps->members.stride, 8, "the kernel rounds elements up");
	shunt_dp_close(dp);
}

Test(loader, a_restarted_agent_adopts_maps_generation_and_secret)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	struct shunt_settings before = { 0 };

	settings_of(dp)->generation = 41;
	SHUNT_DP_AT(shunt_dp_maps(dp)->flows, struct shunt_flow, 1023)->backend = 7;
	before = *settings_of(dp);
	shunt_dp_close(dp);

	lab.opts.timeout_ms[SHUNT_T_UDP] = 5000;
	dp = dp_lab_open(&lab);
	cr_expect(shunt_dp_adopted(dp));
	cr_expect_eq(settings_of(dp)->generation, 41);
	cr_expect_arr_eq(settings_of(dp)->choice_key, before.choice_key, 16);
	cr_expect_eq(settings_of(dp)->table_key, before.table_key);
	cr_expect_eq(settings_of(dp)->timeout_jiffies[SHUNT_T_UDP], 5 * shunt_dp_hz(dp),
		     "options of the new agent count");
	cr_expect_eq(SHUNT_DP_AT(shunt_dp_maps(dp)->flows, struct shunt_flow, 1023)->backend, 7);
	shunt_dp_close(dp);
}

Test(loader, an_adopted_map_keeps_its_size_and_that_is_said)
{
	struct shunt_dp *dp = dp_lab_open(&lab);

	shunt_dp_close(dp);
	lab.opts.sizes.flows = 4096;
	dp = dp_lab_open(&lab);
	cr_expect_eq(shunt_dp_maps(dp)->flows.n, 1024);
	cr_expect_eq(settings_of(dp)->flow_set_mask, 1024 / SHUNT_FLOW_WAYS - 1);
	cr_expect_not_null(
		strstr(shunt_dp_notes(dp), "shunt_flows keeps its 1024 entries (4096 asked for)"),
		"%s", shunt_dp_notes(dp));
	shunt_dp_close(dp);
}

Test(loader, a_start_that_was_cut_short_is_begun_again)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	char path[256];

	shunt_dp_close(dp);
	unlink(path_of(path, "shunt_settings"));
	lab.opts.sizes.flows = 4096;
	dp = dp_lab_open(&lab);
	cr_expect_not(shunt_dp_adopted(dp));
	cr_expect_eq(shunt_dp_maps(dp)->flows.n, 4096, "the rests were not adopted");
	shunt_dp_close(dp);
}

/* ---- the secret ------------------------------------------------------------------------- */

static void read_secret(char line[64])
{
	char path[256];
	FILE *file;

	memset(line, 0, 64);
	sprintf(path, "%s/secret", lab.state);
	file = fopen(path, "r");
	cr_assert_not_null(file);
	cr_assert_not_null(fgets(line, 64, file));
	fclose(file);
}

static void write_secret(const char *line)
{
	dp_lab_run("mkdir -p %s && printf '%s' > %s/secret", lab.state, line, lab.state);
}

Test(loader, a_secret_in_the_state_directory_is_used)
{
	struct shunt_dp *dp;

	write_secret("0000000000000001000000000000000200000000000000ff\n");
	dp = dp_lab_open(&lab);
	cr_expect_eq(settings_of(dp)->choice_key[0], 1);
	cr_expect_eq(settings_of(dp)->choice_key[1], 2);
	cr_expect_eq(settings_of(dp)->table_key, 0xff);
	shunt_dp_close(dp);
}

Test(loader, pinned_maps_win_over_the_secret_file)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	uint64_t key = settings_of(dp)->choice_key[0];
	char first[64], now[64];

	shunt_dp_close(dp);
	read_secret(first);
	write_secret("0000000000000001000000000000000200000000000000ff\n");
	dp = dp_lab_open(&lab);
	cr_expect_eq(settings_of(dp)->choice_key[0], key);
	read_secret(now);
	cr_expect_str_eq(now, first, "the file is brought to what the maps say");
	shunt_dp_close(dp);
}

Test(loader, a_broken_secret_file_is_named)
{
	static const char *const broken[] = {
		"",
		"short\n",
		"0000000000000001000000000000000200000000000000fg\n",
		"0000000000000001000000000000000200000000000000ff00\n",
	};
	struct shunt_err err;

	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		write_secret(broken[i]);
		cr_expect_eq(open_fails(&err), -EINVAL, "%s", broken[i]);
		cr_expect_not_null(strstr(err.text, "/state/secret"), "%s", err.text);
	}
}

Test(loader, two_installations_have_different_secrets)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	char first[64], second[64];

	read_secret(first);
	shunt_dp_close(dp);
	strcat(lab.bpffs, "2");
	strcat(lab.state, "2");
	dp = dp_lab_open(&lab);
	read_secret(second);
	cr_expect_str_neq(first, second);
	shunt_dp_close(dp);
}

/* ---- who else is there -------------------------------------------------------------------- */

/* Starts an agent in a child; returns when it holds the pins. */
static pid_t start_agent(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	cr_assert_eq(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		struct shunt_dp *dp = NULL;

		prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test fail */
		if (shunt_dp_open(&lab.opts, &dp, NULL) < 0 || write(ready[1], "r", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1, "the agent did not start");
	close(ready[0]);
	return pid;
}

Test(loader, a_second_agent_is_told_who_holds_the_pins)
{
	pid_t pid = start_agent();
	struct shunt_err err;
	char process[32];

	cr_expect_eq(open_fails(&err), -EBUSY);
	sprintf(process, "process %d)", pid);
	cr_expect_not_null(strstr(err.text, process), "%s", err.text);
	cr_expect_not_null(strstr(err.text, lab.bpffs), "%s", err.text);
	cr_expect_eq(shunt_dp_remove(lab.bpffs, &err), -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

Test(loader, a_killed_agent_leaves_no_lock)
{
	pid_t pid = start_agent();
	struct shunt_dp *dp;

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	dp = dp_lab_open(&lab);
	cr_expect(shunt_dp_adopted(dp));
	shunt_dp_close(dp);
}

Test(loader, a_missing_bpf_file_system_is_named_with_the_command_that_mounts_it)
{
	char expected[160];
	struct shunt_err err;

	sprintf(expected, "%s/bpf/shunt is not in a BPF file system", lab.dir);
	cr_assert_eq(umount(strcat(strcpy((char[128]){ 0 }, lab.dir), "/bpf")), 0);
	cr_expect_eq(open_fails(&err), -ENOENT);
	cr_expect_not_null(strstr(err.text, expected), "%s", err.text);
	lab.opts.bpffs = "relative/path";
	cr_expect_eq(open_fails(&err), -EINVAL);
}

Test(loader, maps_of_another_layout_are_refused_by_name)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	char path[256];
	struct shunt_err err;
	int fd;

	shunt_dp_close(dp);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", 4, 12, 16, NULL);
	unlink(path_of(path, "shunt_rules"));
	cr_assert_eq(bpf_obj_pin(fd, path), 0);
	cr_expect_eq(open_fails(&err), -EINVAL);
	cr_expect_not_null(strstr(err.text, "shunt_rules is not the map"), "%s", err.text);
	close(fd);
}

/* ---- the maps alone ------------------------------------------------------------------------ */

Test(loader, the_cli_reads_and_writes_the_maps_of_a_running_agent)
{
	struct shunt_dp *agent = dp_lab_open(&lab), *cli = NULL;
	struct shunt_err err = { .text = "" };

	settings_of(agent)->generation = 5;
	cr_assert_eq(shunt_dp_open_maps(lab.bpffs, false, &cli, &err), 0, "%s", err.text);
	cr_expect_eq(settings_of(cli)->generation, 5);
	cr_expect_leq((int32_t)(shunt_dp_jiffies(cli) - shunt_dp_jiffies(agent)), 1);
	shunt_dp_close(cli);
	cr_assert_eq(shunt_dp_open_maps(lab.bpffs, true, &cli, NULL), 0);
	settings_of(cli)->generation = 6;
	cr_expect_eq(settings_of(agent)->generation, 6);
	shunt_dp_close(cli);
	shunt_dp_close(agent);
}

Test(loader, the_cli_says_that_no_agent_was_there)
{
	struct shunt_dp *dp = NULL;
	struct shunt_err err;

	cr_expect_eq(shunt_dp_open_maps(lab.bpffs, false, &dp, &err), -ENOENT);
	cr_expect_not_null(strstr(err.text, "is shuntd running?"), "%s", err.text);
	dp_lab_run("mkdir -p %s/v99", lab.bpffs);
	cr_expect_eq(shunt_dp_open_maps(lab.bpffs, false, &dp, &err), -ENOENT);
	cr_expect_not_null(strstr(err.text, "v99"), "%s", err.text);
	cr_expect_null(dp);
}

Test(loader, remove_leaves_nothing)
{
	struct shunt_err err = { .text = "" };

	shunt_dp_close(dp_lab_open(&lab));
	cr_expect_eq(shunt_dp_remove(lab.bpffs, &err), 0, "%s", err.text);
	cr_expect_eq(access(lab.bpffs, F_OK), -1);
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

Test(loader, jiffies_agree_with_those_of_the_programs)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	struct bpf_object *probe = NULL;
	unsigned char frame[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	cr_assert_eq(shunt_object_open(SHUNT_OBJ_PROBE, &probe, NULL), 0);
	cr_assert_eq(shunt_object_load(probe, NULL), 0);
	for (int i = 0; i < 200; i++) {
		uint32_t before = shunt_dp_jiffies(dp), after;

		cr_assert_eq(bpf_prog_test_run_opts(shunt_object_prog(probe, "shunt_jiffies", NULL),
						    &opts),
			     0);
		after = shunt_dp_jiffies(dp);
		/* One tick: the two clocks are moved one after the other. */
		cr_assert_geq((int32_t)(opts.retval - before), -1);
		cr_assert_geq((int32_t)(after - opts.retval), -1);
		cr_assert_leq(after - before, shunt_dp_hz(dp));
		usleep(1500);
	}
	bpf_object__close(probe);
	shunt_dp_close(dp);
}

Test(loader, hz_is_the_number_of_jiffies_in_a_second)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	uint32_t first = shunt_dp_jiffies(dp);
	uint64_t start = now_ns();
	double measured;

	usleep(500000);
	measured = (double)(shunt_dp_jiffies(dp) - first) * 1e9 / (double)(now_ns() - start);
	cr_expect_lt(measured, shunt_dp_hz(dp) * 1.1);
	cr_expect_gt(measured, shunt_dp_hz(dp) * 0.9);
	shunt_dp_close(dp);
}

Test(loader, a_grace_period_waits_and_ends)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	uint64_t start = now_ns(), took;

	for (int i = 0; i < 8; i++)
		cr_assert_eq(shunt_dp_grace(dp), 0);
	took = (now_ns() - start) / 8;
	cr_log_info("a grace period took %.1f ms", (double)took / 1e6);
	cr_expect_gt(took, 50000, "it must wait for the other CPUs");
	cr_expect_lt(took, 2000000000ull);
	shunt_dp_close(dp);
}
