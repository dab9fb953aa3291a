// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "ctl/line.h"
#include "ctl/server.h"
#include "fake_agent.h"

/* The socket's file, and the client where there is no agent, or a strange one. */

static void handle(void *ctx, const struct shunt_ctl_peer *peer, const char *command, json_t *args,
		   struct shunt_ctl_reply *reply)
{
	(void)ctx;
	(void)peer;
	(void)command;
	shunt_ctl_reply_ok(reply, json_incref(args));
}

/* ---- the socket's file --------------------------------------------------------------------------
 */

struct place {
	char dir[32], path[64];
	uv_loop_t loop;
};

static void place_make(struct place *place)
{
	strcpy(place->dir, "/tmp/shunt-test-XXXXXX");
	cr_assert(mkdtemp(place->dir));
	snprintf(place->path, sizeof(place->path), "%s/sock", place->dir);
	uv_loop_init(&place->loop);
}

static int start(struct place *place, struct shunt_ctl_server **ret, struct shunt_err *err)
{
	memset(err, 0, sizeof(*err));
	return shunt_ctl_server_start(&place->loop, place->path, handle, NULL, NULL, ret, err);
}

static void stop(struct place *place, struct shunt_ctl_server *server)
{
	shunt_ctl_server_stop(server);
	uv_run(&place->loop, UV_RUN_DEFAULT);
}

static void place_remove(struct place *place)
{
	cr_assert_eq(uv_loop_close(&place->loop), 0);
	unlink(place->path);
	cr_assert_eq(rmdir(place->dir), 0);
}

Test(ctl_socket, socket_and_directory_are_closed_to_others)
{
	struct fake_agent *agent = fake_agent_start(handle, NULL, NULL);
	char dir[64];
	struct stat st;

	cr_assert_eq(stat(fake_agent_socket(agent), &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0600, "mode %o", st.st_mode);
	snprintf(dir, sizeof(dir), "%s", fake_agent_socket(agent));
	*strrchr(dir, '/') = '\0';
	cr_assert_eq(stat(dir, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0700, "mode %o", st.st_mode);
	fake_agent_stop(agent);
}

Test(ctl_socket, the_socket_of_a_dead_agent_is_replaced)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct shunt_ctl_server *server;
	struct shunt_err err;
	struct place place;
	int fd;

	place_make(&place);
	strcpy(addr.sun_path, place.path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	cr_assert_eq(start(&place, &server, &err), 0, "%s", err.text);
	stop(&place, server);
	cr_assert_neq(access(place.path, F_OK), 0, "the socket was left behind");
	place_remove(&place);
}

Test(ctl_socket, the_socket_of_a_live_agent_is_left_alone)
{
	struct shunt_ctl_server *server, *second = NULL;
	struct shunt_err err;
	struct place place;

	place_make(&place);
	cr_assert_eq(start(&place, &server, &err), 0, "%s", err.text);
	cr_assert_eq(start(&place, &second, &err), -EADDRINUSE);
	cr_assert(strstr(err.text, "another agent answers on"), "%s", err.text);
	cr_assert_null(second);
	cr_assert_eq(access(place.path, F_OK), 0);
	stop(&place, server);
	place_remove(&place);
}

Test(ctl_socket, a_file_in_the_sockets_place_is_left_alone)
{
	struct shunt_ctl_server *server;
	struct shunt_err err;
	struct place place;

	place_make(&place);
	close(open(place.path, O_CREAT | O_WRONLY, 0600));
	cr_assert_eq(start(&place, &server, &err), -EADDRINUSE);
	cr_assert(strstr(err.text, "is not a socket"), "%s", err.text);
	cr_assert_eq(access(place.path, F_OK), 0);
	place_remove(&place);
}

Test(ctl_socket, stopping_does_not_remove_a_successors_socket)
{
	struct shunt_ctl_server *first, *second;
	struct shunt_err err;
	struct place place;

	place_make(&place);
	cr_assert_eq(start(&place, &first, &err), 0);
	unlink(place.path);
	cr_assert_eq(start(&place, &second, &err), 0, "%s", err.text);
	shunt_ctl_server_stop(first);
	cr_assert_eq(access(place.path, F_OK), 0);
	stop(&place, second);
	place_remove(&place);
}

Test(ctl_socket, a_path_that_is_too_long_is_refused)
{
	struct shunt_ctl_server *server;
	struct shunt_err err = { 0 };
	uv_loop_t loop;
	char path[200];
	json_t *result;
	int exit_code;

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	uv_loop_init(&loop);
	cr_assert_eq(shunt_ctl_server_start(&loop, path, handle, NULL, NULL, &server, &err),
		     -ENAMETOOLONG);
	cr_assert_eq(shunt_ctl_call(path, "echo", NULL, 100, &result, &exit_code, &err),
		     -ENAMETOOLONG);
	cr_assert_eq(exit_code, SHUNT_CTL_USAGE);
	uv_loop_close(&loop);
}

/* ---- the client
 * ---------------------------------------------------------------------------------- */

Test(ctl_socket, without_an_agent_the_client_says_what_to_do)
{
	struct shunt_err err = { 0 };
	json_t *result = NULL;
	int exit_code;

	cr_assert_eq(shunt_ctl_call("/tmp/shunt-no-such/sock", "status", NULL, 100, &result,
				    &exit_code, &err),
		     -ENOENT);
	cr_assert_eq(exit_code, SHUNT_CTL_UNAVAILABLE);
	cr_assert(strstr(err.text, "start shuntd"), "%s", err.text);
}

/* A listener that accepts nothing: the kernel does, and nobody ever answers. */
Test(ctl_socket, a_silent_agent_is_waited_for_no_longer_than_asked)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct shunt_err err = { 0 };
	struct place place;
	json_t *result = NULL;
	int fd, exit_code;

	place_make(&place);
	strcpy(addr.sun_path, place.path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	cr_assert_eq(shunt_ctl_call(place.path, "status", NULL, 100, &result, &exit_code, &err),
		     -ETIMEDOUT);
	cr_assert_eq(exit_code, SHUNT_CTL_UNAVAILABLE);
	cr_assert(strstr(err.text, "100 ms"), "%s", err.text);
	close(fd);
	place_remove(&place);
}

static const struct {
	const char *line;
	int r, exit_code;
} answers[] = {
	{ "{\"ok\":true,\"result\":1}", 0, 0 },
	{ "{\"ok\":true}", 0, 0 },
	{ "{\"ok\":false,\"code\":\"NOT_FOUND\",\"error\":\"x\"}", -EREMOTEIO,
	  SHUNT_CTL_NOT_FOUND },
	{ "{\"ok\":false,\"code\":\"NEWER\",\"error\":\"x\"}", -EREMOTEIO, SHUNT_CTL_INTERNAL },
	{ "{\"ok\":false}", -EREMOTEIO, SHUNT_CTL_INTERNAL },
	{ "{\"ok\":1}", -EBADMSG, SHUNT_CTL_INTERNAL },
	{ "[]", -EBADMSG, SHUNT_CTL_INTERNAL },
	{ "nonsense", -EBADMSG, SHUNT_CTL_INTERNAL },
};

Test(ctl_socket, answers_are_taken_apart_with_care)
{
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		struct shunt_err err = { 0 };
		json_t *result = NULL;
		int exit_code = -1;

		cr_assert_eq(shunt_ctl_answer_parse(answers[i].line, strlen(answers[i].line),
						    &result, &exit_code, &err),
			     answers[i].r, "%s", answers[i].line);
		cr_assert_eq(exit_code, answers[i].exit_code, "%s", answers[i].line);
		cr_assert((result != NULL) == (answers[i].r == 0));
		cr_assert((*err.text != '\0') == (answers[i].r != 0), "%s", answers[i].line);
		json_decref(result);
	}
}

Test(ctl_socket, codes_have_names_texts_and_numbers)
{
	for (int code = SHUNT_CTL_USAGE; code <= SHUNT_CTL_INTERNAL; code++) {
		cr_assert_eq(shunt_ctl_code_parse(shunt_ctl_code_name((enum shunt_ctl_code)code)),
			     code);
		cr_assert(*shunt_ctl_code_text(code));
	}
	cr_assert_eq(shunt_ctl_code_parse("NO_SUCH"), 0);
	cr_assert_str_eq(shunt_ctl_code_text(99), "");
}
