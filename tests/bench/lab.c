// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "compile/image.h"
#include "dialect/dialect.h"
#include "source/yaml/yaml.h"

void bench_die(const char *fmt, ...)
{
	va_list args;

	fputs("bench: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void die_err(const char *what, const struct shunt_err *err)
{
	char text[1024];

	bench_die("%s: %s", what, shunt_err_str(err, text, sizeof(text)));
}

void bench_lab_as_agent(bool on)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (!getenv("BENCH_AS_AGENT"))
		return;
	if (syscall(SYS_capget, &header, data))
		bench_die("cannot read the capabilities");
	data[0].effective = on ? 1u << CAP_NET_ADMIN : data[0].permitted;
	data[1].effective = on ? 1u << (CAP_BPF - 32) : data[1].permitted;
	if (syscall(SYS_capset, &header, data))
		bench_die("cannot change the capabilities");
}

void bench_lab_open(struct bench_lab *lab, const struct shunt_dp_sizes *sizes)
{
	struct shunt_dp_opts opts = { .sizes = *sizes };
	struct shunt_err err = {};
	char path[96];

	*lab = (struct bench_lab){};
	snprintf(lab->dir, sizeof(lab->dir), "/tmp/shunt-bench-XXXXXX");
	if (!mkdtemp(lab->dir) || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		bench_die("cannot make a mount namespace: run as root");
	if (mount("tmpfs", lab->dir, "tmpfs", 0, NULL))
		bench_die("cannot mount a tmpfs");
	snprintf(path, sizeof(path), "%s/bpf", lab->dir);
	if (mkdir(path, 0700) || mount("bpf", path, "bpf", 0, NULL))
		bench_die("cannot mount a BPF file system");
	snprintf(lab->pins, sizeof(lab->pins), "%s/bpf/shunt", lab->dir);
	snprintf(path, sizeof(path), "%s/state", lab->dir);
	opts.bpffs = lab->pins;
	opts.state_dir = path;
	bench_lab_as_agent(true);
	if (shunt_dp_open(&opts, &lab->dp, &err))
		die_err("open", &err);
	bench_lab_as_agent(false);
	lab->maps = shunt_dp_maps(lab->dp);
	if (shunt_installer_new(lab->dp, &lab->installer, &err))
		die_err("installer", &err);
}

void bench_lab_close(struct bench_lab *lab)
{
	shunt_installer_free(lab->installer);
	shunt_dp_close(lab->dp);
	umount2(lab->dir, MNT_DETACH);
	rmdir(lab->dir);
}

void bench_lab_model(const char *yaml, struct shunt_model *ret_model)
{
	struct shunt_translate_opts opts = { .default_drain_s = 60 };
	struct shunt_objects objects = {};
	struct shunt_err err = {};

	if (shunt_yaml_parse("bench.yaml", yaml, strlen(yaml), &objects, &err))
		die_err("yaml", &err);
	if (shunt_translate(&objects, &opts, ret_model))
		bench_die("translate: out of memory");
	shunt_objects_free(&objects);
}

void bench_lab_install(struct bench_lab *lab, const struct shunt_model *model)
{
	struct shunt_image_service **images = calloc(model->n_services, sizeof(*images));
	struct shunt_install_result result;
	struct shunt_err err = {};

	for (size_t i = 0; images && i < model->n_services; i++)
		if (shunt_compile(&model->services[i], shunt_installer_ids(lab->installer),
				  &images[i]))
			bench_die("compile");
	if (!images ||
	    shunt_install(lab->installer, (const struct shunt_image_service *const *)images,
			  model->n_services, &result, &err))
		die_err("install", &err);
	for (size_t i = 0; i < model->n_services; i++)
		shunt_image_free(images[i]);
	free(images);
}

static double clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

double bench_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

double bench_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double bench_quantile(double *v, unsigned n, double q)
{
	unsigned rank = (unsigned)(q * n);

	qsort(v, n, sizeof(*v), by_value);
	return v[rank < n ? rank : n - 1];
}
