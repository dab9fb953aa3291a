// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "source/yaml/dir_view.h"
#include "source/yaml/files.h"
#include "source/yaml/yaml.h"

/*
 * Editors and tools replace a file in several steps: written in place, moved away and made
 * anew, deleted and made anew. Between the steps it must not count as changed or gone, or a
 * split would vanish for an instant. So a file that somebody writes is read when it is closed,
 * or after WRITE_HOLD_MS without another write; one that vanished is dropped after
 * GONE_HOLD_MS. What was written to while it was read is read again.
 */
#define WRITE_HOLD_MS  1000
#define CREATE_HOLD_MS 100
#define GONE_HOLD_MS   100
#define RETRY_MS       1000 /* while the directory itself cannot be read */

#define WATCH_MASK                                                                                 \
	(IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO |        \
	 IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

struct watched_file {
	char *path;
	struct stat st; /* when it was read; st_nlink 0: not read yet */
	struct shunt_objects objects;
	struct shunt_err problem;
	bool has_problem;
	bool has_nameless;     /* some object of @objects has names of a wrong type */
	bool seen;	       /* by the present walk */
	bool touched;	       /* by somebody since the present walk began to read it */
	int64_t write_hold_ms; /* not read before; 0: at once */
	int64_t gone_hold_ms;  /* not dropped before; 0: it is there */
};

struct watch {
	int wd;
	char *path;
};

struct shunt_dir {
	char *path;
	int epoll_fd; /* what the caller polls: the two below it */
	int inotify_fd;
	int timer_fd; /* the next hold that ends */
	struct watch *watches;
	size_t n_watches;
	struct watched_file **files; /* sorted by path */
	size_t n_files;
	struct shunt_dir_view view;

	/* of the refresh that runs */
	int64_t now_ms;
	int64_t wake_ms; /* 0: no hold */
	bool reloaded;	 /* some objects were replaced */
	bool changed;	 /* and they differ */
	struct shunt_err *err;
};

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static void file_free(struct watched_file *file)
{
	free(file->path);
	shunt_objects_free(&file->objects);
	free(file);
}

/* Index of the first file that is not before @path. */
static size_t file_place(const struct shunt_dir *dir, const char *path)
{
	size_t low = 0, high = dir->n_files;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(dir->files[middle]->path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct watched_file *file_find(const struct shunt_dir *dir, const char *path)
{
	size_t i = file_place(dir, path);

	return i < dir->n_files && !strcmp(dir->files[i]->path, path) ? dir->files[i] : NULL;
}

/* Return: the entry of @path, a new one if need be; NULL: no memory. */
static struct watched_file *file_get(struct shunt_dir *dir, const char *path)
{
	struct watched_file *file = file_find(dir, path);
	size_t i = file_place(dir, path);

	if (file)
		return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->path = strdup(path);
	if (!file->path || !shunt_array_add(&dir->files, &dir->n_files, sizeof(file))) {
		file_free(file);
		return NULL;
	}
	memmove(dir->files + i + 1, dir->files + i, (dir->n_files - 1 - i) * sizeof(file));
	dir->files[i] = file;
	return file;
}

/* ---- inotify ---------------------------------------------------------------------------- */

static int add_watch(void *context, const char *path)
{
	struct shunt_dir *dir = context;
	int wd = inotify_add_watch(dir->inotify_fd, path, WATCH_MASK);
	struct watch *watch = NULL;
	char *copy;

	if (wd < 0)
		return errno == ENOENT
			       ? 0
			       : shunt_file_err(
					 dir->err, -errno, path,
					 "cannot be watched: %s (fs.inotify.max_user_watches)",
					 strerror(errno));
	for (size_t i = 0; i < dir->n_watches; i++)
		if (dir->watches[i].wd == wd || (!watch && dir->watches[i].wd < 0))
			watch = &dir->watches[i];
	if (watch && watch->wd == wd && !strcmp(watch->path, path))
		return 0;

	copy = strdup(path);
	if (copy && !watch)
		watch = shunt_array_add(&dir->watches, &dir->n_watches, sizeof(*watch));
	if (!copy || !watch) {
		free(copy);
		return -ENOMEM;
	}
	free(watch->path); /* a directory that was moved keeps its watch */
	watch->path = copy;
	watch->wd = wd;
	return 0;
}

static void forget_watch(struct shunt_dir *dir, int wd)
{
	for (size_t i = 0; i < dir->n_watches; i++)
		if (dir->watches[i].wd == wd) {
			free(dir->watches[i].path);
			dir->watches[i].path = NULL;
			dir->watches[i].wd = -1;
		}
}

/* A link or a second name is complete at once; a new, empty file is about to be written. */
static bool is_being_made(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISREG(st.st_mode) && st.st_nlink == 1;
}

static int note_event(struct shunt_dir *dir, const char *path, uint32_t mask)
{
	struct watched_file *file;

	if (mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) {
		file = file_find(dir, path);
		if (file) {
			file->touched = true;
			file->write_hold_ms = 0;
			file->st.st_nlink = 0; /* its stamps are too coarse to show every write */
		}
		return 0;
	}
	if (!(mask & IN_MODIFY) && !(mask & IN_CREATE && is_being_made(path)))
		return 0;
	file = file_get(dir, path);
	if (!file)
		return -ENOMEM;
	file->touched = true;
	file->write_hold_ms = dir->now_ms + (mask & IN_MODIFY ? WRITE_HOLD_MS : CREATE_HOLD_MS);
	return 0;
}

static int handle_event(struct shunt_dir *dir, const struct inotify_event *event)
{
	CLEANUP(freep) char *path = NULL;

	if (event->mask & IN_Q_OVERFLOW) /* what we missed may have been the end of a write */
		for (size_t i = 0; i < dir->n_files; i++)
			dir->files[i]->write_hold_ms = 0;
	if (event->mask & IN_IGNORED)
		forget_watch(dir, event->wd);
	if (!event->len || event->mask & IN_ISDIR || !shunt_files_is_manifest(event->name))
		return 0;
	for (size_t i = 0; i < dir->n_watches; i++)
		if (dir->watches[i].wd == event->wd) {
			if (asprintf(&path, "%s/%s", dir->watches[i].path, event->name) < 0) {
				path = NULL;
				return -ENOMEM;
			}
			return note_event(dir, path, event->mask);
		}
	return 0;
}

/* Return: were there any; -ENOMEM. */
static int drain_events(struct shunt_dir *dir)
{
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool any = false;
	ssize_t n;
	int r = 0;

	while ((n = read(dir->inotify_fd, buf, sizeof(buf))) > 0)
		for (char *pos = buf; pos < buf + n && !r;) {
			const struct inotify_event *event = (const void *)pos;

			any = true;
			r = handle_event(dir, event);
			pos += sizeof(*event) + event->len;
		}
	return r < 0 ? r : any;
}

/* ---- files ------------------------------------------------------------------------------ */

static void wake_at(struct shunt_dir *dir, int64_t when_ms)
{
	if (!dir->wake_ms || when_ms < dir->wake_ms)
		dir->wake_ms = when_ms;
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_nlink && a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool same_objects(const struct shunt_objects *a, const struct shunt_objects *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (a->items[i]->line != b->items[i]->line ||
		    !json_equal(a->items[i]->json, b->items[i]->json))
			return false;
	return true;
}

static bool has_nameless(const struct shunt_objects *objects, struct shunt_err *err)
{
	for (size_t i = 0; i < objects->n; i++)
		if (shunt_object_check_names(objects->items[i], err) < 0)
			return true;
	return false;
}

/*
 * Has nobody written to @file since @before? Its stamps are too coarse to show every write, and
 * the event of a truncation comes after it: both are asked. An empty file was truncated a
 * moment ago, most likely, and counts when it has been empty for a while.
 * Return: 1, 0 (then it is read again) or -ENOMEM.
 */
static int is_whole(struct shunt_dir *dir, struct watched_file *file, const struct stat *before,
		    bool was_held)
{
	struct stat after;
	int r = drain_events(dir);

	if (r < 0)
		return r;
	if (r) /* some may be of files that this walk has passed */
		wake_at(dir, dir->now_ms);
	if (!file->touched &&
	    (!stat(file->path, &after) || !lstat(file->path, &after)) && /* a link to nothing */
	    same_stat(before, &after)) {
		if (before->st_size || was_held || !file->objects.n)
			return 1;
		file->write_hold_ms = dir->now_ms + WRITE_HOLD_MS;
	}
	wake_at(dir, file->write_hold_ms ? file->write_hold_ms : dir->now_ms);
	return 0;
}

/*
 * Takes the text of @file, or @r, why it could not be read; then its last good objects stay.
 * An object without a proper name may be any of those: they stay too. Where there are none, it
 * is refused alone.
 */
static int take_text(struct shunt_dir *dir, struct watched_file *file, int r, const char *text,
		     size_t len)
{
	struct shunt_objects objects = { 0 };
	bool nameless = false;

	if (!r)
		r = shunt_yaml_parse(file->path, text, len, &objects, &file->problem);
	if (r == -ENOMEM)
		return r;
	if (!r) {
		nameless = has_nameless(&objects, &file->problem);
		if (nameless && file->objects.n && !file->has_nameless)
			r = -EINVAL;
	}
	file->has_problem = r < 0;
	dir->reloaded = true;
	if (r < 0) {
		shunt_objects_free(&objects);
		return 0;
	}

	file->has_nameless = nameless;
	dir->changed |= !same_objects(&file->objects, &objects);
	shunt_objects_free(&file->objects);
	file->objects = objects;
	return 0;
}

static int reload(struct shunt_dir *dir, struct watched_file *file, const struct stat *st,
		  bool was_held)
{
	CLEANUP(freep) char *text = NULL;
	struct shunt_err problem = { 0 };
	size_t len = 0;
	int r, whole;

	file->touched = false;
	r = shunt_file_read(file->path, SHUNT_YAML_MAX_BYTES, &text, &len, &problem);
	whole = is_whole(dir, file, st, was_held);
	if (whole <= 0)
		return whole;
	if (r < 0)
		file->problem = problem;
	r = take_text(dir, file, r, text, len);
	if (!r)
		file->st = *st;
	return r;
}

static int visit_file(void *context, const char *path, const struct stat *st)
{
	struct shunt_dir *dir = context;
	struct watched_file *file = file_get(dir, path);
	bool was_held;

	if (!file)
		return -ENOMEM;
	file->seen = true;
	file->gone_hold_ms = 0;
	if (file->write_hold_ms > dir->now_ms) {
		wake_at(dir, file->write_hold_ms);
		return 0;
	}
	was_held = file->write_hold_ms;
	file->write_hold_ms = 0;
	if (same_stat(&file->st, st))
		return 0;
	return reload(dir, file, st, was_held);
}

/* Drops the files that the walk did not see, once that has lasted. */
static void drop_vanished(struct shunt_dir *dir)
{
	size_t kept = 0;

	for (size_t i = 0; i < dir->n_files; i++) {
		struct watched_file *file = dir->files[i];

		if (!file->seen && !file->gone_hold_ms)
			file->gone_hold_ms = dir->now_ms + GONE_HOLD_MS;
		if (file->seen || file->gone_hold_ms > dir->now_ms) {
			if (!file->seen)
				wake_at(dir, file->gone_hold_ms);
			dir->files[kept++] = file;
			continue;
		}
		dir->reloaded = true;
		dir->changed |= file->objects.n > 0;
		file_free(file);
	}
	dir->n_files = kept;
}

/* ---- what the caller sees ---------------------------------------------------------------- */

/* Builds objects and problems anew from all files. */
static int merge(struct shunt_dir *dir)
{
	struct shunt_dir_view view = { 0 };
	int r = 0;

	for (size_t i = 0; i < dir->n_files && !r; i++) {
		const struct watched_file *file = dir->files[i];

		r = shunt_dir_view_add(&view, &file->objects,
				       file->has_problem ? &file->problem : NULL);
	}
	if (!r)
		r = shunt_dir_view_finish(&view, &dir->view);
	if (r < 0) {
		shunt_dir_view_clear(&view);
		return r;
	}
	shunt_dir_view_clear(&dir->view);
	dir->view = view;
	return 0;
}

static void set_timer(const struct shunt_dir *dir)
{
	int64_t wait_ms = dir->wake_ms - monotonic_ms();
	struct itimerspec when = { 0 };

	if (dir->wake_ms) {
		if (wait_ms < 1)
			wait_ms = 1;
		when.it_value.tv_sec = wait_ms / 1000;
		when.it_value.tv_nsec = wait_ms % 1000 * 1000000;
	}
	timerfd_settime(dir->timer_fd, 0, &when, NULL);
}

int shunt_dir_refresh(struct shunt_dir *dir, bool *ret_changed, struct shunt_err *err)
{
	static const struct shunt_walk_ops ops = { .directory = add_watch, .file = visit_file };
	uint64_t expirations;
	int r;

	dir->now_ms = monotonic_ms();
	dir->wake_ms = 0;
	dir->err = err;
	for (size_t i = 0; i < dir->view.n_problems; i++)
		dir->view.problems[i].is_new = false;
	for (size_t i = 0; i < dir->n_files; i++)
		dir->files[i]->seen = false;

	if (read(dir->timer_fd, &expirations, sizeof(expirations)) < 0)
		expirations = 0; /* nobody waited */
	r = drain_events(dir);
	if (r >= 0)
		r = shunt_files_walk(dir->path, &ops, dir, err);
	if (!r)
		drop_vanished(dir);
	else
		wake_at(dir, dir->now_ms + RETRY_MS);
	set_timer(dir);
	if (dir->reloaded && merge(dir) < 0) {
		dir->view.objects.n = 0; /* they may be freed already; the next call tries again */
		r = -ENOMEM;
	}
	if (r == -ENOMEM)
		return shunt_err_set(err, r, "not enough memory to read %s", dir->path);
	*ret_changed = dir->changed;
	dir->reloaded = false;
	dir->changed = false;
	return r;
}

int shunt_dir_open(const char *path, struct shunt_dir **ret_dir, struct shunt_err *err)
{
	struct shunt_dir *dir = calloc(1, sizeof(*dir));
	struct epoll_event event = { .events = EPOLLIN };
	struct stat st;
	int r;

	if (!dir)
		return shunt_err_set(err, -ENOMEM, "not enough memory to watch %s", path);
	dir->path = strdup(path);
	dir->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	dir->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	dir->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!dir->path || dir->inotify_fd < 0 || dir->timer_fd < 0 || dir->epoll_fd < 0 ||
	    epoll_ctl(dir->epoll_fd, EPOLL_CTL_ADD, dir->inotify_fd, &event) < 0 ||
	    epoll_ctl(dir->epoll_fd, EPOLL_CTL_ADD, dir->timer_fd, &event) < 0)
		r = shunt_file_err(err, dir->path ? -errno : -ENOMEM, path, "cannot be watched: %s",
				   strerror(errno));
	else if (stat(path, &st) < 0)
		r = shunt_file_err(err, -errno, path, "cannot be read: %s", strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		r = shunt_file_err(err, -ENOTDIR, path, "is not a directory");
	else
		r = add_watch(dir, path);
	if (r < 0) {
		shunt_dir_close(dir);
		return r;
	}
	*ret_dir = dir;
	return 0;
}

void shunt_dir_close(struct shunt_dir *dir)
{
	if (!dir)
		return;
	for (size_t i = 0; i < dir->n_files; i++)
		file_free(dir->files[i]);
	for (size_t i = 0; i < dir->n_watches; i++)
		free(dir->watches[i].path);
	fd_closep(&dir->inotify_fd);
	fd_closep(&dir->timer_fd);
	fd_closep(&dir->epoll_fd);
	free(dir->files);
	free(dir->watches);
	shunt_dir_view_clear(&dir->view);
	free(dir->path);
	free(dir);
}

int shunt_dir_fd(const struct shunt_dir *dir)
{
	return dir->epoll_fd;
}

const struct shunt_objects *shunt_dir_objects(const struct shunt_dir *dir)
{
	return &dir->view.objects;
}

const struct shunt_dir_problem *shunt_dir_problems(const struct shunt_dir *dir, size_t *ret_n)
{
	*ret_n = dir->view.n_problems;
	return dir->view.problems;
}
