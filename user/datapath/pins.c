// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/cleanup.h"

static void dir_closep(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int shunt_pins_path(char *buf, const char *dir, const char *name)
{
	int n = snprintf(buf, SHUNT_PATH_LEN, "%s/%s", dir, name);

	return n < SHUNT_PATH_LEN ? 0 : -ENAMETOOLONG;
}

/* Cuts the last component off. Return: was there one? */
static bool parent_of(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || slash == path)
		return false;
	*slash = '\0';
	return true;
}

int shunt_pins_check_mount(const char *path, struct shunt_err *err)
{
	char at[SHUNT_PATH_LEN];
	struct statfs fs;

	if (path[0] != '/' || strlen(path) >= SHUNT_BPFFS_LEN)
		return shunt_err_set(err, -EINVAL, "%s: give an absolute path below %d bytes", path,
				     SHUNT_BPFFS_LEN);
	strcpy(at, path);
	while (statfs(at, &fs) < 0) {
		if (errno != ENOENT)
			return shunt_err_set(err, -errno, "%s: %s", at, strerror(errno));
		if (!parent_of(at))
			break;
	}
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	/* Mounting over a directory would hide what is in it, so no other place is named. */
	return shunt_err_set(err, -ENOENT,
			     "%s is not in a BPF file system; run: mount -t bpf bpf /sys/fs/bpf, "
			     "and name a directory below it",
			     path);
}

int shunt_pins_mkdir(const char *path, struct shunt_err *err)
{
	struct stat st;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		int code = -errno;

		return shunt_err_set(err, code,
				     "cannot create %s as uid %u: %s; make it and give it to "
				     "that user",
				     path, geteuid(), strerror(-code));
	}
	if (stat(path, &st) < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (st.st_uid != geteuid() && access(path, R_OK | W_OK | X_OK) < 0)
		return shunt_err_set(err, -EACCES,
				     "%s belongs to uid %u, but this runs as uid %u; run: chown "
				     "-R %u %s",
				     path, st.st_uid, geteuid(), geteuid(), path);
	return 0;
}

/* The process that /proc/locks names for the directory, or 0. */
static int lock_holder(int fd)
{
	CLEANUP(file_closep) FILE *locks = fopen("/proc/locks", "re");
	unsigned major_, minor_;
	unsigned long long inode;
	char line[256], kind[16];
	struct stat st;
	int pid;

	if (!locks || fstat(fd, &st) < 0)
		return 0;
	while (fgets(line, sizeof(line), locks))
		if (sscanf(line, "%*s %15s %*s %*s %d %x:%x:%llu", kind, &pid, &major_, &minor_,
			   &inode) == 5 &&
		    !strcmp(kind, "FLOCK") && inode == st.st_ino && major_ == major(st.st_dev) &&
		    minor_ == minor(st.st_dev))
			return pid;
	return 0;
}

int shunt_pins_lock(const char *bpffs, struct shunt_err *err)
{
	CLEANUP(fd_closep) int fd = open(bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return shunt_err_set(err, -errno, "%s: %s", bpffs, strerror(errno));
	if (!flock(fd, LOCK_EX | LOCK_NB))
		return TAKE_FD(fd);
	if (errno != EWOULDBLOCK)
		return shunt_err_set(err, -errno, "cannot lock %s: %s", bpffs, strerror(errno));
	return shunt_err_set(err, -EBUSY,
			     "another agent (process %d) holds %s; stop it, or give this one its "
			     "own --bpffs",
			     lock_holder(fd), bpffs);
}

int shunt_pins_each(const char *dir, int (*fn)(const char *dir, const char *name, void *arg),
		    void *arg)
{
	CLEANUP(dir_closep) DIR *d = opendir(dir);
	struct dirent *entry;
	int r;

	if (!d)
		return -errno;
	while ((entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		r = fn(dir, entry->d_name, arg);
		if (r < 0)
			return r;
	}
	return 0;
}

static int unlink_entry(const char *dir, const char *name, void *arg)
{
	char path[SHUNT_PATH_LEN];
	int r = shunt_pins_path(path, dir, name);

	(void)arg;
	if (r < 0)
		return r;
	if (!unlink(path))
		return 0;
	return errno == EISDIR || errno == EPERM ? 0 : -errno;
}

static int drop_link(const char *dir, const char *name, void *arg)
{
	char path[SHUNT_PATH_LEN];
	int r = shunt_pins_path(path, dir, name);

	(void)arg;
	return r < 0 ? r : shunt_link_drop(path);
}

int shunt_link_drop(const char *path)
{
	CLEANUP(fd_closep) int fd = bpf_obj_get(path);

	/* The last reference goes later, by a kernel worker; detaching is done on return. */
	if (fd >= 0)
		bpf_link_detach(fd);
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int shunt_pins_unlink_all(const char *dir, bool detach)
{
	char path[SHUNT_PATH_LEN];
	int r;

	/* The settings first: a directory without them is the rest of something. */
	r = unlink_entry(dir, "shunt_settings", NULL);
	if (!r || r == -ENOENT)
		r = shunt_pins_path(path, dir, "links");
	if (!r)
		r = shunt_pins_each(path, detach ? drop_link : unlink_entry, NULL);
	if (r < 0 && r != -ENOENT)
		return r;
	if (rmdir(path) < 0 && errno != ENOENT)
		return -errno;
	r = shunt_pins_each(dir, unlink_entry, NULL);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return rmdir(dir) < 0 ? -errno : 0;
}
