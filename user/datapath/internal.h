/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_INTERNAL_H
#define SHUNT_DATAPATH_INTERNAL_H

#include <bpf/libbpf.h>

#include "datapath/datapath.h"

/* What the files of the loader share; nobody outside of user/datapath/ includes it. */

#define SHUNT_PATH_LEN	256
#define SHUNT_BPFFS_LEN 192 /* what the user may choose of it; it is also in filters' names */

struct shunt_carry;
struct shunt_clock;

enum shunt_direction { SHUNT_INGRESS, SHUNT_EGRESS };

struct shunt_dp {
	char bpffs[SHUNT_BPFFS_LEN];
	char dir[SHUNT_BPFFS_LEN + 16]; /* <bpffs>/v<ABI> */
	int lock_fd;			/* holds the pins; -EBADF in the CLI */
	bool adopted;
	enum shunt_tc_mode tc_mode;
	struct bpf_object *tc;	/* NULL in the CLI */
	struct bpf_object *xdp; /* NULL in the CLI */
	bool has_xdp_frags;	/* xdp takes packets of any form */
	struct shunt_dp_maps maps;
	struct shunt_clock *clock;
	int grace_outer_fd; /* map of maps: replacing an element waits for running programs */
	int grace_inner_fd;
	char notes[1024];
};

/* ---- pins.c: the directory in the BPF file system -------------------------------------- */

/* Is there a BPF file system at or above @path? Return: 0, or -ENOENT with @err. */
int shunt_pins_check_mount(const char *path, struct shunt_err *err);

/* Makes @path (0700) unless it is there. Return: 0 or -errno with @err. */
int shunt_pins_mkdir(const char *path, struct shunt_err *err);

/**
 * shunt_pins_lock - hold the pins of @bpffs until the descriptor is closed
 *
 * The lock is on the directory itself, so that whoever names the same pins meets it, and it
 * ends with its holder, kill -9 included.
 *
 * Return: the descriptor, or -EBUSY (who holds it is in @err) or -errno.
 */
int shunt_pins_lock(const char *bpffs, struct shunt_err *err);

/*
 * Unlinks every pin of a version's directory, and the directories. @detach: the links end
 * at once; otherwise those that are pinned elsewhere too live on. None there is fine.
 */
int shunt_pins_unlink_all(const char *dir, bool detach);

/* Detaches a pinned link, at once, and unlinks it. None there is fine. */
int shunt_link_drop(const char *path);

/* Calls @fn for each entry of a directory but . and ..; stops at a negative result. */
int shunt_pins_each(const char *dir, int (*fn)(const char *dir, const char *name, void *arg),
		    void *arg);

/* snprintf of "<dir>/<name>" to a buffer of SHUNT_PATH_LEN. Return: 0, or -ENAMETOOLONG. */
int shunt_pins_path(char *buf, const char *dir, const char *name);

/* ---- maps.c ---------------------------------------------------------------------------- */

/*
 * Creates what is not pinned in dp->dir and pins it; what is pinned keeps its size. Maps that
 * something is carried over to (@carry, may be NULL) are not smaller than the old ones.
 */
int shunt_maps_create(struct shunt_dp *dp, const struct shunt_dp_sizes *sizes,
		      const struct shunt_carry *carry, struct shunt_err *err);

/* Maps the array of array->fd into memory. Return: 0 or -errno. */
int shunt_array_map(struct shunt_dp_array *array, bool writable);
void shunt_array_unmap(struct shunt_dp_array *array); /* leaves the descriptor open */

/* Opens the pins of dp->dir and maps the arrays into memory. */
int shunt_maps_open(struct shunt_dp *dp, bool writable, struct shunt_err *err);
void shunt_maps_close(struct shunt_dp_maps *maps);

/* Makes a not yet loaded object use the maps that are pinned in @dir. */
int shunt_maps_reuse(struct bpf_object *obj, const char *dir, struct shunt_err *err);

/* ---- settings.c and secret.c ----------------------------------------------------------- */

struct shunt_secret {
	uint64_t choice_key[2];
	uint64_t table_key;
};

/* Reads <state_dir>/secret, or makes one. Return: 0 or -errno with @err. */
int shunt_secret_load(const char *state_dir, struct shunt_secret *ret_secret,
		      struct shunt_err *err);

/* Writes <state_dir>/secret (0600), unless it says so already. */
int shunt_secret_save(const char *state_dir, const struct shunt_secret *secret,
		      struct shunt_err *err);

/* Reads the settings of a directory. Return: 1, 0: not there or never filled, or -errno. */
int shunt_settings_read(const char *dir, struct shunt_settings *ret_settings,
			struct shunt_err *err);

/* Fills the settings of new maps, or brings those of adopted ones to @opts. */
int shunt_settings_fill(struct shunt_dp *dp, const struct shunt_dp_opts *opts,
			struct shunt_err *err);

/* ---- clock.c --------------------------------------------------------------------------- */

int shunt_clock_new(struct shunt_clock **ret_clock, struct shunt_err *err);
void shunt_clock_free(struct shunt_clock *clock);
uint32_t shunt_clock_jiffies(struct shunt_clock *clock);
uint32_t shunt_clock_hz(const struct shunt_clock *clock);

/* ---- objects.c: libbpf objects ----------------------------------------------------------- */

enum shunt_object {
	SHUNT_OBJ_TC,
	SHUNT_OBJ_XDP,
	SHUNT_OBJ_XDP_FRAGS,
	SHUNT_OBJ_PROBE,
	SHUNT_OBJ_TC_TRACE,
	SHUNT_OBJ_XDP_TRACE,
	SHUNT_OBJ_XDP_FRAGS_TRACE,
};

/* Opens one of the objects that are built in; close it with bpf_object__close(). */
int shunt_object_open(enum shunt_object which, struct bpf_object **ret_obj, struct shunt_err *err);

/* As shunt_object_open(), on the maps that are pinned in @dir. */
int shunt_object_open_on(enum shunt_object which, const char *dir, struct bpf_object **ret_obj,
			 struct shunt_err *err);

/* bpf_object__load() that turns libbpf's words about a failure into one line of @err. */
int shunt_object_load(struct bpf_object *obj, struct shunt_err *err);

/* shunt_object_open_on(), and loads. */
int shunt_object_load_on(enum shunt_object which, const char *dir, struct bpf_object **ret_obj,
			 struct shunt_err *err);

/* Descriptor and kernel id of a program by its name; borrowed from @obj. */
int shunt_object_prog(const struct bpf_object *obj, const char *name, uint32_t *ret_id);

/* ---- attach.c and the hooks -------------------------------------------------------------- */

/* Replaces the programs of all gates of an earlier agent and forgets vanished interfaces. */
int shunt_gates_adopt(struct shunt_dp *dp, struct shunt_err *err);

/* gates.c: makes a plain record of shunt_gates if there is none; removes one, if it is there. */
int shunt_dp_gate_add(struct shunt_dp *dp, uint32_t ifindex);
int shunt_dp_gate_del(struct shunt_dp *dp, uint32_t ifindex);

/* "<dir>/links/<ifindex>-<what>" */
int shunt_gate_pin(char *buf, const char *dir, uint32_t ifindex, const char *what);

/* What a pinned link is attached to: ifindex (0: to nothing any more) and program id. */
int shunt_link_info(int link_fd, uint32_t *ret_ifindex, uint32_t *ret_prog_id);

/*
 * tcx.c. Return: 0, -EOPNOTSUPP: this kernel has no tcx, or -errno with @err. Puts our
 * program at the first place of the hook, also if somebody came before since.
 */
int shunt_tcx_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
		     enum shunt_direction direction, struct shunt_err *err);

/*
 * clsact.c: filter of priority 1 and handle 1. Its name holds @bpffs, so that an agent
 * knows its own from another installation's.
 */
int shunt_clsact_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
			enum shunt_direction direction, struct shunt_err *err);

/* Return: 1 if our filter is there and runs @prog_id (0: any), 0 if not, or -errno. */
int shunt_clsact_is_ours(const char *bpffs, uint32_t ifindex, enum shunt_direction direction,
			 uint32_t prog_id);
/* Removes our filter, and the qdisc if it is empty then. No filter is fine. */
int shunt_clsact_detach(const char *bpffs, uint32_t ifindex, enum shunt_direction direction);

/* xdp.c: native mode. */
int shunt_xdp_attach(struct shunt_dp *dp, uint32_t ifindex, const char *ifname,
		     struct shunt_err *err);

#define SHUNT_PROG_INGRESS "shunt_tc_ingress"
#define SHUNT_PROG_EGRESS  "shunt_tc_egress"
#define SHUNT_PROG_XDP	   "shunt_xdp_ingress"

static inline const char *shunt_tc_prog(enum shunt_direction direction)
{
	return direction == SHUNT_INGRESS ? SHUNT_PROG_INGRESS : SHUNT_PROG_EGRESS;
}

#endif
