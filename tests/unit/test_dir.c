// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "source/yaml/yaml.h"

static char root[] = "/tmp/shunt-dir-XXXXXX";
static struct shunt_dir *dir;

static void must(int r)
{
	cr_assert(r >= 0, "%s", strerror(errno));
}

/* Runs a shell command inside the watched directory. */
static void sh(const char *fmt, ...)
{
	char command[1024], line[1200];
	va_list args;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	snprintf(line, sizeof(line), "set -e; cd %s; %s", root, command);
	cr_assert_eq(system(line), 0, "%s", line);
}

static void put(const char *file, const char *name)
{
	sh("printf 'apiVersion: v1\\nkind: A\\nmetadata: {name: %s}\\n' > %s", name, file);
}

static bool refresh(void)
{
	struct shunt_err err = { 0 };
	bool changed;

	cr_assert_eq(shunt_dir_refresh(dir, &changed, &err), 0, "%s", err.text);
	return changed;
}

/* Refreshes as the agent does, whenever the descriptor says so, until something changed. */
static bool changes_within(int timeout_ms)
{
	struct pollfd fd = { .fd = shunt_dir_fd(dir), .events = POLLIN };
	struct timespec start, now;
	int left = timeout_ms;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (left > 0 && poll(&fd, 1, left) > 0) {
		if (refresh())
			return true;
		clock_gettime(CLOCK_MONOTONIC, &now);
		left = timeout_ms - (now.tv_sec - start.tv_sec) * 1000 -
		       (now.tv_nsec - start.tv_nsec) / 1000000;
	}
	return false;
}

/* The names of all objects, with a space behind each. */
static const char *names(void)
{
	static char text[256];
	const struct shunt_objects *objects = shunt_dir_objects(dir);

	text[0] = '\0';
	for (size_t i = 0; i < objects->n; i++) {
		strcat(text, objects->items[i]->name);
		strcat(text, " ");
	}
	return text;
}

static const struct shunt_dir_problem *only_problem(void)
{
	size_t n;
	const struct shunt_dir_problem *problems = shunt_dir_problems(dir, &n);

	cr_assert_eq(n, 1, "%zu problems", n);
	return problems;
}

static size_t n_problems(void)
{
	size_t n;

	shunt_dir_problems(dir, &n);
	return n;
}

static void set_up(void)
{
	struct shunt_err err = { 0 };

	cr_assert(mkdtemp(root));
	put("a.yaml", "one");
	cr_assert_eq(shunt_dir_open(root, &dir, &err), 0, "%s", err.text);
	cr_assert(refresh());
	cr_assert_str_eq(names(), "one ");
}

static void tear_down(void)
{
	char command[64];

	shunt_dir_close(dir);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	must(system(command));
}

TestSuite(dir, .init = set_up, .fini = tear_down, .timeout = 30);

Test(dir, nothing_new_is_no_change)
{
	cr_expect(!refresh());
	cr_expect(!changes_within(150));
}

Test(dir, a_changed_file_is_read_again)
{
	put("a.yaml", "two");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "two ");
}

Test(dir, a_touched_file_is_no_change)
{
	sh("touch a.yaml");
	cr_expect(!changes_within(150));
	cr_expect_str_eq(names(), "one ");
}

Test(dir, a_new_file_is_added_and_others_are_not_read)
{
	put("b.yml", "two");
	put("c.json", "three");
	put("d.txt", "four");
	put(".hidden.yaml", "five");
	while (changes_within(300))
		;
	cr_expect_str_eq(names(), "one three two ");
}

Test(dir, a_deleted_file_is_dropped_after_a_moment)
{
	sh("rm a.yaml");
	cr_expect(!refresh(), "not at once: it may be about to be replaced");
	cr_expect_str_eq(names(), "one ");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "");
}

Test(dir, a_file_renamed_over_another_takes_its_place)
{
	put("new.tmp", "two");
	sh("mv new.tmp a.yaml");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "two ");
}

Test(dir, an_editor_that_moves_away_and_writes_anew_drops_nothing)
{
	CLEANUP(freep) char *path = NULL;
	int fd;

	sh("mv a.yaml a.yaml~");
	refresh();
	cr_expect_str_eq(names(), "one ");
	cr_assert(asprintf(&path, "%s/a.yaml", root) > 0);
	fd = open(path, O_WRONLY | O_CREAT, 0644);
	must(fd);
	refresh();
	cr_expect_str_eq(names(), "one ", "it is empty for an instant");
	must(dprintf(fd, "apiVersion: v1\nkind: A\nmetadata: {name: two}\n"));
	close(fd);
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "two ");
}

Test(dir, a_file_is_not_read_while_it_is_written)
{
	static const char more[] = "---\napiVersion: v1\nkind: A\nmetadata: {name: two}\n";
	CLEANUP(freep) char *path = NULL;
	int fd;

	cr_assert(asprintf(&path, "%s/a.yaml", root) > 0);
	fd = open(path, O_WRONLY | O_TRUNC);
	must(fd);
	refresh();
	cr_expect_str_eq(names(), "one ");
	must(write(fd, more, strlen(more)));
	refresh();
	cr_expect_str_eq(names(), "one ");
	close(fd);
	cr_expect(changes_within(500));
	cr_expect_str_eq(names(), "two ");
}

Test(dir, a_file_whose_writer_never_closes_is_read_after_a_second)
{
	static const char text[] = "apiVersion: v1\nkind: A\nmetadata: {name: two}\n";
	CLEANUP(freep) char *path = NULL;
	int fd;

	cr_assert(asprintf(&path, "%s/a.yaml", root) > 0);
	fd = open(path, O_WRONLY | O_TRUNC);
	must(write(fd, text, strlen(text)));
	cr_expect(!changes_within(500));
	cr_expect(changes_within(3000));
	cr_expect_str_eq(names(), "two ");
	close(fd);
}

/* Writes @file anew, in place, as a shell's > and cp do; @marks makes its length differ. */
static void rewrite(const char *file, const char *name, int marks)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	dprintf(fd, "apiVersion: v1\nkind: A\nmetadata: {name: %s}\n#%*s\n", name, marks, "");
	dprintf(fd, "---\napiVersion: v1\nkind: B\nmetadata: {name: %s}\n", name);
	close(fd);
}

Test(dir, files_that_are_rewritten_in_place_lose_nothing)
{
	struct pollfd fd = { .fd = shunt_dir_fd(dir), .events = POLLIN };
	size_t lost = 0;
	int status;
	pid_t pid;

	must(chdir(root));
	put("b.yaml", "two");
	rewrite("a.yaml", "one", 0);
	rewrite("b.yaml", "two", 0);
	while (changes_within(300))
		;
	cr_assert_str_eq(names(), "one two one two ");
	pid = fork();
	must(pid);
	if (!pid) {
		for (int i = 0; i < 6000; i++) {
			rewrite(i & 1 ? "a.yaml" : "b.yaml", i & 1 ? "one" : "two", i % 7);
			usleep(300);
		}
		_exit(0);
	}
	while (!waitpid(pid, &status, WNOHANG)) {
		if (poll(&fd, 1, 10) > 0)
			refresh();
		lost += strcmp(names(), "one two one two ") != 0;
	}
	cr_expect_eq(lost, 0, "%zu times", lost);
	cr_expect_eq(n_problems(), 0);
	rewrite("a.yaml", "six", 0);
	while (changes_within(300))
		;
	cr_expect_str_eq(names(), "six two six two ", "the last word of each writer counts");
}

Test(dir, a_file_that_is_cut_short_for_good_counts_after_a_second)
{
	sh(": > a.yaml");
	cr_expect(!changes_within(500), "its writer may be a truncation before the next write");
	cr_expect_str_eq(names(), "one ");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "");
}

Test(dir, a_broken_file_keeps_its_last_good_objects)
{
	sh("echo 'kind: [' > a.yaml");
	cr_expect(!changes_within(300));
	cr_expect_str_eq(names(), "one ");
	cr_expect_eq(only_problem()->err.line, 2);
	cr_expect(strstr(only_problem()->err.file, "/a.yaml"));

	put("a.yaml", "two");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "two ");
	cr_expect_eq(n_problems(), 0);
}

/* The first object is @first, as YAML has it; the second has the name two. */
static void put_pair(const char *file, const char *first)
{
	sh("printf 'apiVersion: v1\\nkind: A\\nmetadata: {name: %s}\\n---\\n"
	   "apiVersion: v1\\nkind: B\\nmetadata: {name: two}\\n' > %s",
	   first, file);
}

Test(dir, a_name_of_a_wrong_type_does_not_hide_the_others_of_a_new_file)
{
	put_pair("b.yaml", "5");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), " one two ");
	cr_expect_eq(n_problems(), 0, "whoever reads the object refuses it");
	put_pair("b.yaml", "[six]");
	cr_expect(changes_within(2000), "it has hidden nothing, so it may be another one");
	put_pair("b.yaml", "five");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "five one two ");
}

Test(dir, a_name_that_becomes_of_a_wrong_type_keeps_the_last_good_objects)
{
	put_pair("b.yaml", "five");
	cr_expect(changes_within(2000));
	put_pair("b.yaml", "5");
	cr_expect(!changes_within(300));
	cr_expect_str_eq(names(), "five one two ");
	cr_expect_eq(only_problem()->err.line, 3);
	cr_expect_eq(only_problem()->err.column, 18);
	cr_expect_str_eq(only_problem()->err.field, "metadata.name");
}

Test(dir, a_problem_is_new_once)
{
	sh("echo 'kind: [' > b.yaml");
	refresh();
	cr_expect(only_problem()->is_new);
	put("c.yaml", "three");
	cr_expect(changes_within(2000));
	cr_expect(!only_problem()->is_new);
	refresh();
	cr_expect(!only_problem()->is_new);
	sh("echo 'a: b: c' > b.yaml");
	refresh();
	cr_expect(only_problem()->is_new);
}

Test(dir, an_object_in_two_files_belongs_to_the_first)
{
	put("b.yaml", "one");
	refresh();
	cr_expect_str_eq(names(), "one ");
	cr_expect(strstr(shunt_dir_objects(dir)->items[0]->file, "/a.yaml"));
	cr_expect(strstr(only_problem()->err.file, "/b.yaml"));
	cr_expect(strstr(only_problem()->err.text, "A default/one is already in "));

	sh("rm a.yaml");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "one ");
	cr_expect_eq(n_problems(), 0);
}

Test(dir, subdirectories_are_followed_as_they_come)
{
	sh("mkdir -p x/y");
	refresh();
	put("x/y/b.yaml", "two");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "one two ");
	put("x/y/b.yaml", "three");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "one three ");
	sh("mv x z");
	cr_expect(!changes_within(50) || !strcmp(names(), "one three "));
	put("z/y/b.yaml", "four");
	while (changes_within(500))
		;
	cr_expect_str_eq(names(), "four one ");
}

Test(dir, a_config_map_is_swapped_as_a_whole)
{
	sh("rm a.yaml; mkdir ..1; ln -s ..1 ..data");
	put("..1/m.yaml", "two");
	sh("ln -s ..data/m.yaml m.yaml");
	while (changes_within(300))
		;
	cr_expect_str_eq(names(), "two ");

	sh("mkdir ..2");
	put("..2/m.yaml", "three");
	sh("ln -s ..2 ..tmp; mv -T ..tmp ..data; rm -r ..1");
	cr_expect(changes_within(2000));
	cr_expect_str_eq(names(), "three ");
}

Test(dir, links_in_circles_end)
{
	sh("mkdir x; ln -s .. x/up; ln -s nowhere z");
	refresh();
	cr_expect_str_eq(names(), "one ");
	cr_expect_eq(n_problems(), 0);
}

Test(dir, a_link_to_nothing_is_said_and_what_stood_there_stays)
{
	sh("mkdir elsewhere; mv a.yaml elsewhere/a; ln -s elsewhere/a a.yaml; ln -s b.yaml b.yaml");
	cr_expect(!changes_within(300));
	cr_expect_str_eq(names(), "one ");
	cr_expect(strstr(only_problem()->err.text, "is a link to b.yaml, which is not there"));
	cr_expect(strstr(only_problem()->err.file, "/b.yaml"));
	sh("rm b.yaml elsewhere/a");
	cr_expect(!changes_within(300));
	cr_expect_str_eq(names(), "one ");
	cr_expect(strstr(only_problem()->err.text, "is a link to elsewhere/a, which is not there"));

	put("elsewhere/a", "two");
	cr_expect(changes_within(3000));
	cr_expect_str_eq(names(), "two ");
	cr_expect_eq(n_problems(), 0);
	sh("rm a.yaml");
	cr_expect(changes_within(3000));
	cr_expect_str_eq(names(), "");
}

Test(dir, when_the_directory_is_gone_the_objects_stay)
{
	struct shunt_err err;
	bool changed = true;
	char command[128];

	sh("mv ../$(basename %s) %s.away", root, root);
	cr_expect_eq(shunt_dir_refresh(dir, &changed, &err), -ENOENT);
	cr_expect(!changed);
	cr_expect_str_eq(names(), "one ");
	cr_expect(strstr(err.text, "cannot be read"));

	snprintf(command, sizeof(command), "mv %s.away %s", root, root);
	must(system(command));
	put("a.yaml", "two");
	cr_expect(changes_within(3000), "without an event of its own");
	cr_expect_str_eq(names(), "two ");
}

Test(dir, a_directory_that_is_made_anew_is_found)
{
	struct shunt_err err;
	bool changed;

	sh("rm -rf %s", root);
	cr_expect_eq(shunt_dir_refresh(dir, &changed, &err), -ENOENT);
	cr_expect_str_eq(names(), "one ");

	must(mkdir(root, 0755));
	put("a.yaml", "two");
	cr_expect(changes_within(3000), "nothing but the retry tells of it");
	cr_expect_str_eq(names(), "two ");
	put("a.yaml", "three");
	cr_expect(changes_within(2000), "and it is watched again");
}

Test(dir, what_is_no_directory_is_refused)
{
	struct shunt_dir *other;
	struct shunt_err err;

	cr_expect_eq(shunt_dir_open("/dev/null", &other, &err), -ENOTDIR);
	cr_expect_eq(shunt_dir_open("/nowhere", &other, &err), -ENOENT);
	cr_expect_str_eq(err.file, "/nowhere");
}

Test(dir, a_file_above_16_mib_is_a_problem_and_not_read)
{
	sh("truncate -s 17M b.yaml");
	refresh();
	while (changes_within(1200))
		;
	cr_expect_str_eq(only_problem()->err.text, "is larger than 16 MiB: split it");
	cr_expect_str_eq(names(), "one ");
}
