// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_LEVELS 16

struct walk {
	const struct shunt_walk_ops *ops;
	void *context;
	struct shunt_err *err;
	struct { /* the directories above, to see circles of links */
		dev_t dev;
		ino_t ino;
	} above[MAX_LEVELS];
	unsigned level;
};

int shunt_file_err(struct shunt_err *err, int code, const char *path, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	shunt_err_set(err, code, "%s", text);
	if (err)
		snprintf(err->file, sizeof(err->file), "%s", path);
	return code;
}

int shunt_files_is_manifest(const char *name)
{
	const char *dot = strrchr(name, '.');

	return name[0] != '.' && dot &&
	       (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json"));
}

static int not_hidden(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static bool is_circle(const struct walk *walk, const struct stat *st)
{
	for (unsigned i = 0; i < walk->level; i++)
		if (walk->above[i].dev == st->st_dev && walk->above[i].ino == st->st_ino)
			return true;
	return false;
}

static int walk_directory(struct walk *walk, const char *path, const struct stat *st);

static int walk_entry(struct walk *walk, const char *directory, const char *name)
{
	CLEANUP(freep) char *path = NULL;
	struct stat st;

	if (asprintf(&path, "%s/%s", directory, name) < 0) {
		path = NULL;
		return shunt_err_set(walk->err, -ENOMEM, "not enough memory to read %s", directory);
	}
	if (stat(path, &st) < 0) {
		if (errno != ENOENT && errno != ELOOP)
			return shunt_file_err(walk->err, -errno, path, "cannot be read: %s",
					      strerror(errno));
		/* A link to nothing is a file that cannot be read; anything else is gone again. */
		if (lstat(path, &st) < 0 || !S_ISLNK(st.st_mode) || !shunt_files_is_manifest(name))
			return 0;
		return walk->ops->file(walk->context, path, &st);
	}
	if (S_ISDIR(st.st_mode))
		return walk_directory(walk, path, &st);
	if (!S_ISREG(st.st_mode) || !shunt_files_is_manifest(name))
		return 0;
	return walk->ops->file(walk->context, path, &st);
}

static int walk_directory(struct walk *walk, const char *path, const struct stat *st)
{
	struct dirent **entries;
	int n, r = 0;

	if (walk->level == MAX_LEVELS || is_circle(walk, st))
		return 0;
	if (walk->ops->directory)
		r = walk->ops->directory(walk->context, path);
	if (r < 0)
		return r;
	n = scandir(path, &entries, not_hidden, alphasort);
	if (n < 0) {
		if (errno == ENOENT && walk->level)
			return 0;
		return shunt_file_err(walk->err, -errno, path, "cannot be read: %s",
				      strerror(errno));
	}

	walk->above[walk->level].dev = st->st_dev;
	walk->above[walk->level++].ino = st->st_ino;
	for (int i = 0; i < n; i++) {
		if (!r)
			r = walk_entry(walk, path, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	walk->level--;
	return r;
}

int shunt_files_walk(const char *path, const struct shunt_walk_ops *ops, void *context,
		     struct shunt_err *err)
{
	struct walk walk = { .ops = ops, .context = context, .err = err };
	struct stat st;

	if (stat(path, &st) < 0)
		return shunt_file_err(err, -errno, path, "cannot be read: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return walk_directory(&walk, path, &st);
	if (!S_ISREG(st.st_mode))
		return shunt_file_err(err, -EINVAL, path, "is neither a file nor a directory");
	return ops->file(context, path, &st);
}

static int read_all(int fd, char *text, size_t size, size_t *ret_len)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, text + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		len += n;
	}
	*ret_len = len;
	return 0;
}

/* Why the file could not be opened. */
static int open_err(struct shunt_err *err, const char *path)
{
	int r = -errno;
	char target[256];
	ssize_t n = r == -ENOENT || r == -ELOOP ? readlink(path, target, sizeof(target)) : -1;

	if (n >= 0)
		return shunt_file_err(err, r, path, "is a link to %.*s, which is not there", (int)n,
				      target);
	return shunt_file_err(err, r, path, "cannot be read: %s", strerror(-r));
}

int shunt_file_read(const char *path, size_t max, char **ret_text, size_t *ret_len,
		    struct shunt_err *err)
{
	CLEANUP(fd_closep) int fd = -EBADF;
	CLEANUP(freep) char *text = NULL;
	struct stat st;
	size_t len = 0;
	int r;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return open_err(err, path);
	if (!S_ISREG(st.st_mode))
		return shunt_file_err(err, -EINVAL, path, "is not a regular file");
	if ((size_t)st.st_size > max)
		return shunt_file_err(err, -EFBIG, path, "is larger than %zu MiB: split it",
				      max >> 20);

	/* One byte more than it has, to see that it did not grow. */
	text = malloc(st.st_size + 2);
	if (!text)
		return shunt_err_set(err, -ENOMEM, "not enough memory to read %s", path);
	r = read_all(fd, text, st.st_size + 1, &len);
	if (r < 0)
		return shunt_file_err(err, r, path, "cannot be read: %s", strerror(-r));
	if (len > (size_t)st.st_size)
		return shunt_file_err(err, -EAGAIN, path, "grows while it is read");
	text[len] = '\0';
	*ret_text = TAKE_PTR(text);
	*ret_len = len;
	return 0;
}
