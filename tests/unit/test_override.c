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

static const struct shunt_cause cause = {
	.when_ms = 1767225600000,
	.who_uid = 1000,
	.command = "weight",
	.reason = "canary looks good",
};

static char *dir;
static struct shunt_overrides *overrides;
static struct shunt_model model;
static struct shunt_err err;

static void setup(void)
{
	dir = small_dir();
	cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), 0, "%s", err.text);
	model = (struct shunt_model){ 0 };
}

static void teardown(void)
{
	shunt_overrides_close(overrides);
	shunt_model_free(&model);
	small_dir_remove(dir);
}

TestSuite(override, .init = setup, .fini = teardown);

/* What the manifest says: blue 100, green 0, three ready endpoints each; overrides applied. */
static struct shunt_model_service *next(uint64_t digest)
{
	struct shunt_model_service *web;

	shunt_model_free(&model);
	web = small_service(
		&model, "web", 80, digest,
		(const struct small_variant[]){ { "blue", 100, 3, 0 }, { "green", 0, 3, 0 } }, 2);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0, "%s", err.text);
	return web;
}

static int set(const struct shunt_model_service *service, const char *variant, uint32_t weight)
{
	struct shunt_weight one = { .weight = weight };

	snprintf(one.variant, sizeof(one.variant), "%s", variant);
	return shunt_overrides_set(overrides, service, &one, 1, &cause, &err);
}

static int drain(const struct shunt_model_service *service, const char *target)
{
	return shunt_overrides_drain(overrides, service, target, 30, &cause, &err);
}

static void restart(int expected)
{
	shunt_overrides_close(overrides);
	cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), expected, "%s", err.text);
}

static char *path_of(const char *name)
{
	static char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(path_of(name), "w");

	cr_assert_not_null(file);
	fputs(text, file);
	fclose(file);
}

Test(override, weights_of_an_operator_stand_above_the_manifest)
{
	struct shunt_model_service *web = next(1);

	cr_assert_eq(set(web, "green", 25), 0);
	web = next(1);
	cr_expect_eq(small_weight(web, "green"), 25);
	cr_expect_eq(small_weight(web, "blue"), 100, "not named: as it was");
	cr_expect_eq(web->variants[1].manifest_weight, 0);
}

Test(override, an_override_says_who_when_and_why)
{
	const struct shunt_change *change;

	cr_expect_null(shunt_overrides_get(overrides, next(1)));
	cr_assert_eq(set(next(1), "green", 25), 0);
	change = shunt_overrides_get(overrides, next(1));
	cr_assert_not_null(change);
	cr_expect_eq(change->who_uid, 1000);
	cr_expect_eq(change->when_ms, 1767225600000);
	cr_expect_str_eq(change->command, "weight");
	cr_expect_str_eq(change->reason, "canary looks good");
	cr_assert_eq(change->n_from, 2);
	cr_expect_eq(change->from[1].weight, 0);
	cr_expect_eq(change->to[1].weight, 25);
	cr_expect_str_eq(change->to[1].variant, "green");
}

Test(override, an_override_survives_a_restart)
{
	const struct shunt_change *change;

	cr_assert_eq(set(next(UINT64_MAX), "green", 25), 0);
	restart(0);
	cr_expect_eq(small_weight(next(UINT64_MAX), "green"), 25);
	change = shunt_overrides_get(overrides, next(UINT64_MAX));
	cr_assert_not_null(change);
	cr_expect_eq(change->who_uid, 1000);
	cr_expect_str_eq(change->reason, "canary looks good");
}

Test(override, an_override_ends_when_the_weights_of_the_manifest_change)
{
	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_expect_eq(small_weight(next(2), "green"), 0);
	cr_expect_eq(small_weight(next(1), "green"), 0, "ended for good");
	restart(0);
	cr_expect_eq(small_weight(next(1), "green"), 0, "in the file, too");
}

Test(override, a_manifest_that_changed_while_the_agent_was_away_ends_it_too)
{
	cr_assert_eq(set(next(1), "green", 25), 0);
	restart(0);
	cr_expect_eq(small_weight(next(2), "green"), 0);
}

Test(override, clear_goes_back_to_the_manifest)
{
	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_expect_eq(shunt_overrides_clear(overrides, next(1), &err), 0);
	cr_expect_eq(small_weight(next(1), "green"), 0);
	cr_expect_eq(shunt_overrides_clear(overrides, next(1), &err), -ENOENT);
	restart(0);
	cr_expect_eq(small_weight(next(1), "green"), 0);
}

Test(override, what_cannot_be_is_refused_and_changes_nothing)
{
	const struct shunt_weight twice[] = { { "green", 1 }, { "green", 2 } };
	struct shunt_model_service *web = next(1);

	cr_expect_eq(set(web, "red", 1), -ENOENT);
	cr_expect_str_eq(err.text, "service shop/web has no variant red");
	cr_expect_eq(set(web, "green", 1000001), -ERANGE);
	cr_expect_eq(set(web, "blue", 0), -EINVAL, "nothing would be left");
	cr_expect_eq(shunt_overrides_set(overrides, web, twice, 2, &cause, &err), -EINVAL);
	cr_expect_eq(set(web, "green", 1000000), 0);
	cr_expect_eq(set(web, "green", 1000001), -ERANGE);
	cr_expect_eq(small_weight(next(1), "green"), 1000000);
}

Test(override, a_service_that_is_away_for_a_while_keeps_its_override)
{
	cr_assert_eq(set(next(1), "green", 25), 0);
	shunt_model_free(&model);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0);
	cr_expect_eq(small_weight(next(1), "green"), 25);
}

Test(override, a_port_that_is_added_does_not_end_it)
{
	struct shunt_model_service *web;

	cr_assert_eq(set(next(1), "green", 25), 0);
	web = next(1);
	small_port(web, 443, IPPROTO_TCP);
	web->variants[1].weight = 0;
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0);
	cr_expect_eq(small_weight(web, "green"), 25);
}

Test(override, two_services_of_one_name_have_their_own_overrides)
{
	static const struct small_variant both[] = { { "blue", 100, 1, 0 }, { "green", 0, 1, 0 } };

	small_service(&model, "web", 80, 1, both, 2);
	small_service(&model, "web", 443, 1, both, 2);
	cr_assert_eq(set(&model.services[1], "green", 7), 0);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0);
	cr_expect_eq(small_weight(&model.services[0], "green"), 0);
	cr_expect_eq(small_weight(&model.services[1], "green"), 7);
	cr_expect_null(shunt_overrides_get(overrides, &model.services[0]));
}

Test(override, of_a_service_that_is_split_in_two_one_half_keeps_the_override)
{
	static const struct small_variant both[] = { { "blue", 100, 1, 0 }, { "green", 0, 1, 0 } };
	struct shunt_model_service *web = small_service(&model, "web", 80, 1, both, 2);

	small_port(web, 443, IPPROTO_TCP);
	cr_assert_eq(set(web, "green", 7), 0);
	shunt_model_free(&model);
	small_service(&model, "web", 80, 1, both, 2);
	small_service(&model, "web", 443, 1, both, 2);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0);
	cr_expect_eq(small_weight(&model.services[0], "green"), 7);
	cr_expect_eq(small_weight(&model.services[1], "green"), 0);
}

/* ---- drains --------------------------------------------------------------------------- */

Test(override, a_drained_variant_gets_nothing_new_until_its_deadline_is_over)
{
	const struct shunt_drain *drains;
	struct shunt_model_service *web;

	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_assert_eq(drain(next(1), "green"), 0);
	restart(0);
	web = next(1);
	cr_expect(web->variants[1].drained);
	cr_expect_eq(web->variants[1].drain_deadline_s, 30);
	cr_expect_eq(small_weight(web, "green"), 25, "the weight waits for its return");
	cr_expect_not(web->variants[0].drained);
	cr_expect_eq(web->variants[0].drain_deadline_s, 60);
	cr_assert_eq(shunt_overrides_drains(overrides, web, &drains), 1);
	cr_expect_str_eq(drains[0].target, "green");
	cr_expect_eq(drains[0].who_uid, 1000);
	cr_expect_str_eq(drains[0].reason, "canary looks good");
}

Test(override, the_last_variant_with_a_weight_is_not_drained)
{
	cr_expect_eq(drain(next(1), "blue"), -EINVAL);
	cr_expect_eq(drain(next(1), "green"), 0, "it has weight 0, and blue remains");
	cr_expect_eq(set(next(1), "green", 0), 0);
	cr_expect(next(1)->variants[1].drained, "weight 0 does not bring it back");
	cr_expect_eq(set(next(1), "blue", 0), -EINVAL, "green is drained");
}

Test(override, a_weight_or_new_manifest_weights_bring_a_drained_variant_back)
{
	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_assert_eq(drain(next(1), "green"), 0);
	cr_assert_eq(set(next(1), "green", 5), 0);
	cr_expect_not(next(1)->variants[1].drained);

	cr_assert_eq(drain(next(1), "green"), 0);
	cr_assert_eq(set(next(1), "blue", 7), 0);
	cr_expect(next(1)->variants[1].drained, "a weight of another variant does not");
	cr_expect_not(next(2)->variants[1].drained);
}

Test(override, one_drain_can_be_ended_by_name)
{
	struct shunt_model_service *web;

	cr_assert_eq(drain(next(1), "green"), 0);
	cr_assert_eq(drain(next(1), "10.1.0.2:8080"), 0);
	web = next(1);
	cr_expect_eq(shunt_overrides_undrain(overrides, web, "blue", &err), -ENOENT);
	cr_expect_eq(shunt_overrides_undrain(overrides, web, "10.1.0.1:8080", &err), -ENOENT);
	cr_expect_eq(shunt_overrides_undrain(overrides, web, "10.1.0.2:8080", &err), 0);
	restart(0);
	web = next(1);
	cr_expect(web->variants[0].backends[1].usable);
	cr_expect(web->variants[1].drained);
	cr_expect_eq(shunt_overrides_undrain(overrides, web, "green", &err), 0);
	cr_expect_not(next(1)->variants[1].drained);
}

Test(override, a_drained_backend_is_out_of_use)
{
	struct shunt_model_service *web;

	cr_assert_eq(drain(next(1), "10.1.0.2:8080"), 0);
	restart(0);
	web = next(1);
	cr_expect(web->variants[0].backends[0].usable);
	cr_expect_not(web->variants[0].backends[1].usable);
	cr_expect_eq(web->variants[0].backends[1].state, SHUNT_BACKEND_TERMINATING);
	web = next(2);
	cr_expect_not(web->variants[0].backends[1].usable, "weights do not concern it");
	cr_assert_eq(shunt_overrides_clear(overrides, web, &err), 0);
	cr_expect(next(2)->variants[0].backends[1].usable);
}

Test(override, the_drain_of_a_backend_ends_with_the_backend)
{
	struct shunt_model_service *web;

	cr_assert_eq(drain(next(1), "10.1.0.3:8080"), 0);
	web = next(1);
	web->variants[0].n_backends = 2;
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0);
	cr_expect(next(1)->variants[0].backends[2].usable, "another pod has its address now");
}

Test(override, the_last_usable_backend_of_a_share_is_not_drained)
{
	cr_assert_eq(drain(next(1), "10.1.0.1:8080"), 0);
	cr_assert_eq(drain(next(1), "10.1.0.3:8080"), 0);
	cr_expect_eq(drain(next(1), "10.1.0.2:8080"), -EINVAL);
	cr_expect(next(1)->variants[0].backends[1].usable);
	cr_assert_eq(drain(next(1), "10.2.0.1:8080"), 0);
	cr_assert_eq(drain(next(1), "10.2.0.2:8080"), 0);
	cr_expect_eq(drain(next(1), "10.2.0.3:8080"), 0, "green has no share");
}

Test(override, a_drain_of_what_is_not_there_is_refused)
{
	static const char *const targets[] = { "red",	     "10.9.9.9:8080", "10.1.0.1:8081",
					       "10.1.0.1:",  "10.1.0.1",      ":8080",
					       "10.1.0.1:x", "[10.1.0.1",     "" };

	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		cr_expect_eq(drain(next(1), targets[i]), -ENOENT, "%s", targets[i]);
}

Test(override, the_last_backend_of_a_family_is_drained_by_force_alone)
{
	struct shunt_model_service *web = next(1);

	cr_assert_eq(shunt_ip_parse("fd00::2", &web->variants[0].backends[1].ip), 0);
	cr_expect_eq(drain(web, "[fd00::2]:8080"), -EINVAL);
	cr_expect_eq(shunt_overrides_force_drain(overrides, web, "[fd00::2]:8080", 0, &cause, &err),
		     0);
	cr_expect_eq(shunt_overrides_force_drain(overrides, web, "[fd00::3]:8080", 0, &cause, &err),
		     -ENOENT);
}

Test(override, an_ipv6_backend_may_be_spelled_in_any_way)
{
	struct shunt_model_service *web = next(1);

	cr_assert_eq(shunt_ip_parse("fd00::1", &web->variants[0].backends[0].ip), 0);
	cr_assert_eq(shunt_ip_parse("fd00::2", &web->variants[0].backends[1].ip), 0);
	cr_assert_eq(drain(web, "[fd00:0:0::0002]:8080"), 0);
	cr_assert_eq(shunt_overrides_apply(overrides, &model, &err), 0);
	cr_expect_not(web->variants[0].backends[1].usable);
	cr_expect(web->variants[0].backends[0].usable);
}

/* ---- the file ------------------------------------------------------------------------- */

Test(override, the_state_directory_and_its_files_are_for_the_owner_only)
{
	struct stat st;

	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_assert_eq(stat(path_of("overrides.json"), &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_neq(access(path_of("overrides.json.tmp"), F_OK), 0);
	cr_assert_eq(unlink(path_of("overrides.json")), 0);
	cr_assert_eq(rmdir(dir), 0);
	restart(0);
	cr_assert_eq(stat(dir, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0700);
}

Test(override, without_a_state_directory_nothing_is_kept)
{
	shunt_overrides_close(overrides);
	cr_assert_eq(shunt_overrides_open(NULL, &overrides, &err), 0);
	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_expect_eq(small_weight(next(1), "green"), 25);
}

Test(override, a_state_directory_that_cannot_be_is_one_clear_error)
{
	struct shunt_overrides *none = NULL;

	cr_expect_eq(shunt_overrides_open("/proc/nowhere/shunt", &none, &err), -ENOENT);
	cr_expect(strstr(err.text, "/proc/nowhere/shunt"), "%s", err.text);
	cr_expect_null(none);
}

#define SERVICE_BEGIN                                                                              \
	"{\"version\":1,\"services\":[{\"namespace\":\"a\",\"name\":\"b\",\"ports\":\"\","

Test(override, a_damaged_file_is_moved_aside_and_said)
{
	static const char *const texts[] = {
		"",
		"{",
		"[]",
		"{\"version\":2,\"services\":[]}",
		"{\"version\":1,\"services\":{}}",
		"{\"version\":1,\"services\":[{}]}",
		SERVICE_BEGIN "\"digest\":\"x\",\"drains\":[]}]}",
		SERVICE_BEGIN "\"digest\":\"0000000000000000\",\"drains\":[1]}]}",
		SERVICE_BEGIN "\"digest\":\"0000000000000000\",\"drains\":[],\"override\":{}}]}",
	};

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		shunt_overrides_close(overrides);
		write_file("overrides.json", texts[i]);
		cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), 1, "%s", texts[i]);
		cr_expect(strstr(err.text, "overrides.json.broken"), "%s", err.text);
		cr_expect_neq(access(path_of("overrides.json"), F_OK), 0);
		cr_expect_eq(access(path_of("overrides.json.broken"), F_OK), 0);
		cr_expect_eq(small_weight(next(1), "green"), 0);
		restart(0);
	}
}

Test(override, a_file_of_random_damage_never_hurts)
{
	char text[4096];
	size_t size;
	FILE *file;

	cr_assert_eq(set(next(1), "green", 25), 0);
	cr_assert_eq(drain(next(1), "10.1.0.1:8080"), 0);
	file = fopen(path_of("overrides.json"), "r");
	size = fread(text, 1, sizeof(text), file);
	fclose(file);
	srand(20260103);
	for (int round = 0; round < 500; round++) {
		int r;

		shunt_overrides_close(overrides);
		file = fopen(path_of("overrides.json"), "w");
		fwrite(text, 1, rand() % 2 ? rand() % size : size, file);
		if (rand() % 2) {
			fseek(file, rand() % size, SEEK_SET);
			fputc(rand() % 256, file);
		}
		fclose(file);
		r = shunt_overrides_open(dir, &overrides, &err);
		cr_assert(r == 0 || r == 1, "%d", r);
		next(1);
	}
}

/* A disk that takes nothing more: writes beyond @limit bytes of a file fail. */
static void limit_files(rlim_t limit)
{
	const struct rlimit rlimit = { .rlim_cur = limit, .rlim_max = RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &rlimit), 0);
}

Test(override, on_a_full_disk_the_override_holds_and_the_old_file_stays_whole)
{
	CLEANUP(fd_closep) int dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	int r;

	cr_assert_eq(set(next(1), "green", 25), 0);
	limit_files(10);
	r = set(next(1), "green", 50);
	limit_files(RLIM_INFINITY);
	cr_assert_eq(r, 1);
	cr_expect(strstr(err.text, "will not survive a restart"), "%s", err.text);
	cr_expect_eq(small_weight(next(1), "green"), 50);
	cr_expect_neq(access(path_of("overrides.json.tmp"), F_OK), 0);

	/* The agent dies without a chance to write: a copy of the file is all there is. */
	cr_assert_eq(renameat(dir_fd, "overrides.json", dir_fd, "copy"), 0);
	shunt_overrides_close(overrides);
	cr_assert_eq(renameat(dir_fd, "copy", dir_fd, "overrides.json"), 0);
	cr_assert_eq(shunt_overrides_open(dir, &overrides, &err), 0);
	cr_expect_eq(small_weight(next(1), "green"), 25);
}

Test(override, what_did_not_fit_is_written_when_there_is_room_again)
{
	int r;

	limit_files(10);
	r = set(next(1), "green", 50);
	limit_files(RLIM_INFINITY);
	cr_assert_eq(r, 1);
	restart(0);
	cr_expect_eq(small_weight(next(1), "green"), 50);
}
