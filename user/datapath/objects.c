// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "skel/probe.skel.h"
#include "skel/tc.skel.h"
#include "skel/tc_trace.skel.h"
#include "skel/xdp.skel.h"
#include "skel/xdp_frags.skel.h"
#include "skel/xdp_frags_trace.skel.h"
#include "skel/xdp_trace.skel.h"

/* What libbpf said while a load ran: its first complaint, and the verifier's last word. */
static struct {
	char first[256];
	char verifier[256];
} said;

/* The line before "processed N insns" is the one that names the fault. */
static void keep_verifier_line(const char *log)
{
	const char *end = strstr(log, "\nprocessed ");
	const char *start;

	if (!end)
		return;
	for (start = end; start > log && start[-1] != '\n'; start--)
		;
	snprintf(said.verifier, sizeof(said.verifier), "%.*s", (int)(end - start), start);
}

/* libbpf hands out format and arguments: the verifier's log is one of them, and long. */
static int hear(enum libbpf_print_level level, const char *format, va_list args)
{
	CLEANUP(freep) char *text = NULL;

	if (level != LIBBPF_WARN || vasprintf(&text, format, args) < 0)
		return 0;
	keep_verifier_line(text);
	if (!said.first[0]) {
		const char *line = strncmp(text, "libbpf: ", 8) ? text : text + 8;

		snprintf(said.first, sizeof(said.first), "%.*s", (int)strcspn(line, "\n"), line);
	}
	return 0;
}

static int load_failed(const struct bpf_object *obj, int code, struct shunt_err *err)
{
	/* Older verifiers also watch parts of stack slots, but not of who may read pointers. */
	const char *remedy = strstr(said.verifier, "spilled pointer")
				     ? "this kernel asks for CAP_PERFMON, too"
				     : "Shunt needs 5.15 or newer";
	struct utsname host;

	uname(&host);
	if (said.verifier[0])
		return shunt_err_set(err, code, "kernel %s refuses a program of %s: %s (%s)",
				     host.release, bpf_object__name(obj), said.verifier, remedy);
	return shunt_err_set(err, code, "kernel %s cannot load %s: %s (Shunt needs 5.15 or newer)",
			     host.release, bpf_object__name(obj),
			     said.first[0] ? said.first : strerror(-code));
}

int shunt_object_open(enum shunt_object which, struct bpf_object **ret_obj, struct shunt_err *err)
{
	static const struct {
		const char *name;
		const void *(*bytes)(size_t *size);
	} built_in[] = {
		[SHUNT_OBJ_TC] = { "shunt_tc", shunt_tc__elf_bytes },
		[SHUNT_OBJ_XDP] = { "shunt_xdp", shunt_xdp__elf_bytes },
		[SHUNT_OBJ_XDP_FRAGS] = { "shunt_xdp_frags", shunt_xdp_frags__elf_bytes },
		[SHUNT_OBJ_TC_TRACE] = { "shunt_tc_trace", shunt_tc_trace__elf_bytes },
		[SHUNT_OBJ_XDP_TRACE] = { "shunt_xdp_trace", shunt_xdp_trace__elf_bytes },
		[SHUNT_OBJ_XDP_FRAGS_TRACE] = { "shunt_xdp_frags_trace",
						shunt_xdp_frags_trace__elf_bytes },
		[SHUNT_OBJ_PROBE] = { "shunt_probe", shunt_probe__elf_bytes },
	};
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = built_in[which].name);
	libbpf_print_fn_t before = libbpf_set_print(hear);
	struct bpf_object *obj;
	const void *bytes;
	size_t size;
	int r = 0;

	memset(&said, 0, sizeof(said));
	bytes = built_in[which].bytes(&size);
	obj = bpf_object__open_mem(bytes, size, &opts);
	if (!obj) {
		r = -errno;
		shunt_err_set(err, r, "cannot open the built-in object %s: %s",
			      built_in[which].name, said.first[0] ? said.first : strerror(-r));
	}
	libbpf_set_print(before);
	if (obj)
		*ret_obj = obj;
	return r;
}

int shunt_object_load(struct bpf_object *obj, struct shunt_err *err)
{
	libbpf_print_fn_t before = libbpf_set_print(hear);
	int r;

	memset(&said, 0, sizeof(said));
	r = bpf_object__load(obj);
	libbpf_set_print(before);
	return r < 0 ? load_failed(obj, r, err) : 0;
}

int shunt_object_open_on(enum shunt_object which, const char *dir, struct bpf_object **ret_obj,
			 struct shunt_err *err)
{
	struct bpf_object *obj;
	int r;

	r = shunt_object_open(which, &obj, err);
	if (r < 0)
		return r;
	r = shunt_maps_reuse(obj, dir, err);
	if (r < 0) {
		bpf_object__close(obj);
		return r;
	}
	*ret_obj = obj;
	return 0;
}

int shunt_object_load_on(enum shunt_object which, const char *dir, struct bpf_object **ret_obj,
			 struct shunt_err *err)
{
	struct bpf_object *obj;
	int r;

	r = shunt_object_open_on(which, dir, &obj, err);
	if (r < 0)
		return r;
	r = shunt_object_load(obj, err);
	if (r < 0) {
		bpf_object__close(obj);
		return r;
	}
	*ret_obj = obj;
	return 0;
}

int shunt_object_prog(const struct bpf_object *obj, const char *name, uint32_t *ret_id)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, name);
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);
	int fd;

	if (!prog)
		return -ENOENT;
	fd = bpf_program__fd(prog);
	if (ret_id) {
		if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
			return -errno;
		*ret_id = info.id;
	}
	return fd;
}
