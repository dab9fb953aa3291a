// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/atomic_file.h"
#include "base/cleanup.h"

/* The file is one line of 48 hexadecimal digits: choice key, then table key. */
#define SECRET_FORMAT "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "\n"
#define SECRET_DIGITS 48

static int secret_path(char *buf, const char *state_dir, struct shunt_err *err)
{
	int r = shunt_pins_path(buf, state_dir, "secret");

	return r < 0 ? shunt_err_set(err, r, "%s: path too long", state_dir) : 0;
}

/* Return: 0, -ENOENT without @err: no file, or -errno with @err. */
static int secret_read(const char *path, struct shunt_secret *ret_secret, struct shunt_err *err)
{
	CLEANUP(file_closep) FILE *file = fopen(path, "re");
	char line[SECRET_DIGITS + 3] = "";
	struct shunt_secret secret;

	if (!file)
		return errno == ENOENT
			       ? -ENOENT
			       : shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!fgets(line, sizeof(line), file) || strspn(line, "0123456789abcdef") != SECRET_DIGITS ||
	    line[SECRET_DIGITS] != '\n' ||
	    sscanf(line, "%16" SCNx64 "%16" SCNx64 "%16" SCNx64, &secret.choice_key[0],
		   &secret.choice_key[1], &secret.table_key) != 3)
		return shunt_err_set(err, -EINVAL,
				     "%s is not a line of 48 hexadecimal digits; remove it to get "
				     "a new secret",
				     path);
	*ret_secret = secret;
	return 0;
}

static int secret_write(const char *state_dir, const struct shunt_secret *secret,
			struct shunt_err *err)
{
	char path[SHUNT_PATH_LEN], line[SECRET_DIGITS + 2];
	int r, n;

	r = secret_path(path, state_dir, err);
	if (r < 0)
		return r;
	n = snprintf(line, sizeof(line), SECRET_FORMAT, secret->choice_key[0],
		     secret->choice_key[1], secret->table_key);
	r = shunt_file_replace(path, line, (size_t)n);
	return r < 0 ? shunt_err_set(err, r, "cannot write %s: %s", path, strerror(-r)) : 0;
}

static int make_state_dir(const char *state_dir, struct shunt_err *err)
{
	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return shunt_err_set(err, -errno, "cannot create the state directory %s: %s",
				     state_dir, strerror(errno));
	return 0;
}

int shunt_secret_load(const char *state_dir, struct shunt_secret *ret_secret, struct shunt_err *err)
{
	struct shunt_secret secret;
	char path[SHUNT_PATH_LEN];
	int r;

	r = make_state_dir(state_dir, err);
	if (!r)
		r = secret_path(path, state_dir, err);
	if (r < 0)
		return r;
	r = secret_read(path, ret_secret, err);
	if (r != -ENOENT)
		return r;

	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return shunt_err_set(err, -EIO, "getrandom: %s", strerror(errno));
	r = secret_write(state_dir, &secret, err);
	if (r < 0)
		return r;
	*ret_secret = secret;
	return 0;
}

int shunt_secret_save(const char *state_dir, const struct shunt_secret *secret,
		      struct shunt_err *err)
{
	struct shunt_secret on_disk;
	char path[SHUNT_PATH_LEN];
	int r;

	r = make_state_dir(state_dir, err);
	if (!r)
		r = secret_path(path, state_dir, err);
	if (r < 0)
		return r;
	if (!secret_read(path, &on_disk, NULL) && !memcmp(&on_disk, secret, sizeof(on_disk)))
		return 0;
	return secret_write(state_dir, secret, err);
}
