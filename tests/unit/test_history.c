// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "model/override.h"
#include "small_model.h"

#define DAY_MS (24ll * 3600 * 1000)

static char *dir;
static struct shunt_overrides *overrides;
static struct shunt_model model;
static struct shunt_err err;
static int64_t now_ms;

static void setup(void)
{
	dir = small_dir();
	cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), 0, "%s", err.text);
	model = (struct shunt_model){ 0 };
	now_ms = 1767225600000;
}

static void teardown(void)
{
	shunt_overrides_close(overrides);
	shunt_model_free(&model);
	small_dir_remove(dir);
}

TestSuite(history, .init = setup, .fini = teardown);

/* The agent's next round, as the manifest asks for @blue and @green. */
static struct shunt_model_service *round_of(uint32_t blue, uint32_t green,
					    const struct shunt_cause *cause, int expected)
{
	struct shunt_model_service *web;

	shunt_model_free(&model);
	web = small_service(
		&model, "web", 80, blue << 10 | green,
		(const struct small_variant[]){ { "blue", blue, 1, 0 }, { "green", green, 1, 0 } },
		2);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0, "%s", err.text);
	cr_assert_eq(
		shunt_history_record(overrides, &model, &web, cause ? 1 : 0, cause, ++now_ms, &err),
		expected, "%s", err.text);
	return web;
}

static struct shunt_model_service *manifest(uint32_t blue, uint32_t green)
{
	return round_of(blue, green, NULL, 0);
}

/* `shunt weight web blue=.. green=..` over a manifest of 100/0. */
static struct shunt_model_service *operator(const char *command, uint32_t blue, uint32_t green)
{
	const struct shunt_weight weights[] = { { "blue", blue }, { "green", green } };
	const struct shunt_cause cause = { now_ms + 1, 1000, command, "because" };

	cr_assert_eq(shunt_overrides_set(overrides, manifest(100, 0), weights, 2, &cause, &err), 0,
		     "%s", err.text);
	return round_of(100, 0, &cause, 0);
}

static struct shunt_model_service *rollback(const struct shunt_model_service *web)
{
	struct shunt_weight weights[SHUNT_MAX_VARIANTS];
	const struct shunt_cause cause = { now_ms + 1, 1000, "rollback", NULL };
	size_t n = 0;

	cr_assert_eq(shunt_history_previous(overrides, web, weights, &n), 0);
	cr_assert_eq(shunt_overrides_set(overrides, web, weights, n, &cause, &err), 0, "%s",
		     err.text);
	return round_of(100, 0, &cause, 0);
}

static void restart(int expected)
{
	shunt_overrides_close(overrides);
	cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), expected, "%s", err.text);
}

static const char *history_path(void)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/history.jsonl", dir);
	return path;
}

static size_t n_lines(void)
{
	FILE *file = fopen(history_path(), "r");
	size_t n = 0;
	int c;

	cr_assert_not_null(file);
	while ((c = fgetc(file)) != EOF)
		n += c == '\n';
	fclose(file);
	return n;
}

static void append_text(const char *text)
{
	FILE *file = fopen(history_path(), "a");

	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

Test(history, each_change_says_who_when_from_what_to_what_and_why)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web;

	manifest(100, 0);
	web = operator("weight", 75, 25);
	restart(0);
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 2);
	cr_expect_str_eq(changes[0]->command, "weight");
	cr_expect_eq(changes[0]->who_uid, 1000);
	cr_expect_str_eq(changes[0]->reason, "because");
	cr_assert_eq(changes[0]->n_from, 2);
	cr_expect_eq(changes[0]->from[0].weight, 100);
	cr_expect_eq(changes[0]->to[0].weight, 75);
	cr_expect_eq(changes[0]->to[1].weight, 25);
	cr_expect_str_eq(changes[0]->to[1].variant, "green");
	cr_expect_gt(changes[0]->when_ms, changes[1]->when_ms);

	cr_expect_str_eq(changes[1]->command, "manifest");
	cr_expect_eq(changes[1]->who_uid, -1);
	cr_expect_eq(changes[1]->n_from, 0, "the first sight of the service");
	cr_expect_eq(changes[1]->to[0].weight, 100);
}

Test(history, what_does_not_change_is_not_noted)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = NULL;

	for (int i = 0; i < 5; i++)
		web = manifest(100, 0);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 1);
	restart(0);
	web = manifest(100, 0);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 1);
	cr_expect_eq(n_lines(), 1);
}

Test(history, a_variant_that_comes_or_goes_is_a_change)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = manifest(100, 0);

	web->n_variants = 1;
	cr_assert_eq(shunt_history_record(overrides, &model, NULL, 0, NULL, ++now_ms, &err), 0);
	web->n_variants = 2;
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 2);
	cr_expect_eq(changes[0]->n_to, 1);
	cr_assert_eq(shunt_history_record(overrides, &model, NULL, 0, NULL, ++now_ms, &err), 0);
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 3);
}

Test(history, an_unknown_service_has_none)
{
	const struct shunt_change *const *changes;
	struct shunt_weight weights[SHUNT_MAX_VARIANTS];
	struct shunt_model_service *web = manifest(100, 0);
	size_t n;

	cr_expect_eq(shunt_history_previous(overrides, web, weights, &n), -ENOENT,
		     "nothing was before the first sight");
	web->name[0] = 'x';
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 0);
	cr_expect_eq(shunt_history_previous(overrides, web, weights, &n), -ENOENT);
}

Test(history, rollback_returns_to_the_weights_before_the_last_change)
{
	struct shunt_model_service *web;

	manifest(100, 0);
	operator("weight", 95, 5);
	web = operator("switch", 0, 100);
	web = rollback(web);
	cr_expect_eq(small_weight(web, "blue"), 95);
	cr_expect_eq(small_weight(web, "green"), 5);
}

Test(history, two_rollbacks_in_a_row_swing_between_the_two)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web;

	manifest(100, 0);
	web = operator("switch", 0, 100);
	for (int i = 0; i < 6; i++) {
		web = rollback(web);
		cr_expect_eq(small_weight(web, "blue"), i % 2 ? 0 : 100);
		if (i == 2)
			restart(0);
	}
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 8);
	cr_expect_str_eq(changes[0]->command, "rollback");
}

Test(history, rollback_of_a_manifest_change_works_too)
{
	struct shunt_model_service *web;
	struct shunt_weight weights[SHUNT_MAX_VARIANTS];
	size_t n;

	manifest(100, 0);
	web = manifest(0, 100);
	cr_assert_eq(shunt_history_previous(overrides, web, weights, &n), 0);
	cr_assert_eq(n, 2);
	cr_expect_str_eq(weights[0].variant, "blue");
	cr_expect_eq(weights[0].weight, 100);
	cr_expect_eq(weights[1].weight, 0);
}

Test(history, rollback_knows_only_variants_that_are_there)
{
	struct shunt_model_service *web = manifest(30, 70);
	struct shunt_weight weights[SHUNT_MAX_VARIANTS];
	size_t n;

	web = manifest(50, 50);
	free(web->variants[1].name);
	web->variants[1].name = strdup("red");
	cr_assert_eq(shunt_history_previous(overrides, web, weights, &n), 0);
	cr_assert_eq(n, 2);
	cr_expect_str_eq(weights[1].variant, "red");
	cr_expect_eq(weights[1].weight, 0, "it had none then");
	cr_expect_eq(weights[0].weight, 30);
	web->variants[0].name[0] = 'B';
	cr_expect_eq(shunt_history_previous(overrides, web, weights, &n), -ENOENT);
}

Test(history, a_drain_is_a_change_and_rollback_takes_it_back)
{
	const struct shunt_cause cause = { 5, 1000, "drain", NULL };
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = manifest(50, 50);

	cr_assert_eq(shunt_overrides_drain(overrides, web, "blue", 0, &cause, &err), 0);
	web = round_of(50, 50, NULL, 0);
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 2);
	cr_expect_str_eq(changes[0]->command, "drain");
	cr_expect_eq(changes[0]->who_uid, 1000);
	cr_expect_eq(changes[0]->to[0].weight, 0);
	web = operator("weight", 50, 50);
	cr_expect_not(web->variants[0].drained);
}

Test(history, an_override_that_the_guard_lets_in_later_is_the_operators)
{
	const struct shunt_weight weights[] = { { "blue", 0 }, { "green", 100 } };
	const struct shunt_cause cause = { 5, 1000, "switch", "night shift" };
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = manifest(100, 0);

	cr_assert_eq(shunt_overrides_set(overrides, web, weights, 2, &cause, &err), 0);
	cr_assert_eq(shunt_history_record(overrides, &model, &web, 1, &cause, ++now_ms, &err), 0,
		     "the guard has put back 100/0: nothing has changed");
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 1);
	web = manifest(100, 0);
	cr_assert_eq(shunt_history_get(overrides, web, &changes), 2);
	cr_expect_str_eq(changes[0]->command, "switch");
	cr_expect_eq(changes[0]->who_uid, 1000);
	cr_expect_str_eq(changes[0]->reason, "night shift");

	web = manifest(90, 10);
	shunt_history_get(overrides, web, &changes);
	cr_expect_str_eq(changes[0]->command, "manifest", "new weights ended the override");
}

Test(history, a_hundred_changes_are_kept_and_the_file_stays_bounded)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = NULL;
	size_t most = 0;

	for (uint32_t i = 1; i <= 3000; i++) {
		web = manifest(100, i);
		if (i % 100 == 0 && n_lines() > most)
			most = n_lines();
	}
	cr_expect_eq(shunt_history_get(overrides, web, &changes), SHUNT_HISTORY_MAX);
	cr_expect_eq(changes[0]->to[1].weight, 3000);
	cr_expect_eq(changes[99]->to[1].weight, 2901);
	cr_expect_leq(most, 1200);
	restart(0);
	cr_assert_eq(shunt_history_get(overrides, web, &changes), SHUNT_HISTORY_MAX);
	cr_expect_eq(changes[0]->to[1].weight, 3000);
	cr_expect_eq(changes[99]->to[1].weight, 2901);
}

Test(history, a_service_that_is_gone_for_a_month_is_forgotten_when_the_file_is_rewritten)
{
	static const struct small_variant blue[] = { { "blue", 1, 1, 0 } };
	struct shunt_model_service gone;
	struct shunt_model old = { 0 };
	const struct shunt_change *const *changes;

	small_service(&old, "gone", 80, 1, blue, 1);
	cr_assert_eq(shunt_history_record(overrides, &old, NULL, 0, NULL, now_ms, &err), 0);
	gone = old.services[0];
	for (uint32_t i = 1; i <= 1500; i++)
		manifest(100, i);
	cr_expect_eq(shunt_history_get(overrides, &gone, &changes), 1, "for a month it stays");
	now_ms += 31 * DAY_MS;
	for (uint32_t i = 1; i <= 1500; i++)
		manifest(100, i);
	cr_expect_eq(shunt_history_get(overrides, &gone, &changes), 0);
	cr_expect_eq(shunt_history_get(overrides, &model.services[0], &changes), 100);
	shunt_model_free(&old);
}

Test(history, a_line_cut_off_by_a_crash_costs_only_itself)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web;

	manifest(100, 0);
	web = manifest(90, 10);
	append_text("{\"namespace\":\"shop\",\"name\":\"web\",\"po");
	restart(1);
	cr_expect(strstr(err.text, "1 damaged lines: moved aside"), "%s", err.text);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 2);
	web = manifest(80, 20);
	restart(0);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 3);
}

Test(history, a_last_line_without_its_newline_is_not_appended_to)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = manifest(100, 0);
	struct stat st;

	cr_assert_eq(stat(history_path(), &st), 0);
	cr_assert_eq(truncate(history_path(), st.st_size - 1), 0);
	restart(0);
	web = manifest(90, 10);
	restart(0);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 2);
}

#define LINE_BEGIN                                                                                 \
	"{\"namespace\":\"shop\",\"name\":\"web\",\"ports\":\"80/TCP\",\"who_uid\":0,"             \
	"\"command\":\"weight\",\"reason\":\"\",\"from\":{},"

Test(history, damaged_lines_are_left_out_and_the_rest_is_kept)
{
	static const char *const lines[] = {
		"",
		"nonsense",
		"{}",
		"[]",
		"{\"namespace\":\"shop\",\"name\":\"web\",\"ports\":\"80/TCP\"}",
		LINE_BEGIN "\"when_ms\":1,\"to\":{\"a\":-1}}",
		LINE_BEGIN "\"when_ms\":\"1\",\"to\":{}}",
		LINE_BEGIN "\"when_ms\":1,\"to\":{\"a\":1000001}}",
	};
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = manifest(100, 0);

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		append_text(lines[i]);
		append_text("\n");
		restart(1);
		cr_expect_eq(shunt_history_get(overrides, web, &changes), 1, "%s", lines[i]);
		restart(0);
	}
}

Test(history, a_reason_of_any_bytes_is_kept_readable)
{
	static const struct {
		const char *given, *kept;
	} reasons[] = {
		{ "two\nlines and a \"quote\"", "two\nlines and a \"quote\"" },
		{ "gr\xc3\xbcn", "gr\xc3\xbcn" },
		{ "half \xc3", "half ?" },
	};
	const struct shunt_change *const *changes;
	struct shunt_model_service *web;
	char long_reason[600];

	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		const struct shunt_cause cause = { 5, 1000, "weight", reasons[i].given };

		web = round_of(100, i + 1, &cause, 0);
		restart(0);
		cr_assert_eq(shunt_history_get(overrides, web, &changes), i + 1);
		cr_expect_str_eq(changes[0]->reason, reasons[i].kept);
	}
	memset(long_reason, 'x', sizeof(long_reason));
	memcpy(long_reason + 254, "\xc3\xbc", 2);
	long_reason[599] = '\0';
	web = round_of(100, 50, &(struct shunt_cause){ 5, 1000, "weight", long_reason }, 0);
	shunt_history_get(overrides, web, &changes);
	cr_expect_eq(strlen(changes[0]->reason), 254, "cut off before the character, not in it");
}

static void limit_files(rlim_t limit)
{
	const struct rlimit rlimit = { .rlim_cur = limit, .rlim_max = RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}

Test(history, on_a_full_disk_the_change_is_noted_and_saved_when_there_is_room_again)
{
	const struct shunt_change *const *changes;
	struct shunt_model_service *web = manifest(100, 0);
	struct stat before, after;

	cr_assert_eq(stat(history_path(), &before), 0);
	limit_files(before.st_size + 30);
	web = round_of(90, 10, NULL, 1);
	limit_files(RLIM_INFINITY);
	cr_expect(strstr(err.text, "not in the saved history"), "%s", err.text);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 2);
	cr_assert_eq(stat(history_path(), &after), 0);
	cr_expect_eq(after.st_size, before.st_size, "no part of a line is left");

	web = round_of(80, 20, NULL, 0);
	cr_expect_eq(n_lines(), 3);
	restart(0);
	cr_expect_eq(shunt_history_get(overrides, web, &changes), 3);
}

Test(history, a_thousand_services_are_noted_with_one_write)
{
	static const struct small_variant blue[] = { { "blue", 1, 1, 0 } };
	const struct shunt_change *const *changes;
	char name[20];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "web-%03d", i);
		small_service(&model, name, 80, 1, blue, 1);
	}
	cr_assert_eq(shunt_history_record(overrides, &model, NULL, 0, NULL, now_ms, &err), 0);
	cr_expect_eq(n_lines(), 1000);
	restart(0);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(shunt_history_get(overrides, &model.services[i], &changes), 1);
}
