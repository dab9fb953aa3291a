// SPDX-License-Identifier: Apache-2.0
#include "mutate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the corpus ----------------------------------------------------------------------------- */

static int no_dots(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int load_file(struct corpus *corpus, const char *directory, const char *name)
{
	uint8_t *data = malloc(65536);
	char path[512];
	size_t len, at = 1;
	struct step step;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "r");
	if (!file || !data || corpus->n_files == CORPUS_MAX)
		return -EIO;
	len = fread(data, 1, 65536, file);
	fclose(file);
	if (!len) {
		free(data);
		return 0;
	}
	snprintf(corpus->files[corpus->n_files].name, sizeof(corpus->files[0].name), "%s", name);
	corpus->files[corpus->n_files].data = data;
	corpus->files[corpus->n_files++].len = len;
	while (step_read(data, len, &at, &step))
		if (step.op == STEP_FRAME && step.len >= 14 && step.len < 1600 &&
		    corpus->n_frames < CORPUS_MAX)
			corpus->frames[corpus->n_frames++] =
				(struct corpus_frame){ step.len, step.frame,
						       !strncmp(name, "made-", 5) };
	return 0;
}

int corpus_load(struct corpus *corpus, const char *directory)
{
	struct dirent **entries;
	int n = scandir(directory, &entries, no_dots, alphasort), r = 0;

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++) {
		if (!r)
			r = load_file(corpus, directory, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return r ? r : corpus->n_frames ? 0 : -ENOENT;
}

/* ---- frames -----------------------------------------------------------------------------------
 */

struct frame {
	uint8_t *data;
	uint32_t len;
};

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

/* Writes an address of the scene over the one at @at. */
static void put_addr(struct rng *rng, struct frame *f, uint32_t at, enum shunt_slot_index family,
		     enum scene_net net, uint32_t n)
{
	struct shunt_addr addr = scene_addr(family, net, rng_draw(rng, n));
	uint32_t len = family == SHUNT_V6 ? 16 : 4;

	if (at + len <= f->len)
		memcpy(f->data + at, (uint8_t *)addr.word_be + 16 - len, len);
}

/* Ports at @l4: of a client, and of what it addresses. */
static void put_ports(struct rng *rng, struct frame *f, uint32_t l4, bool to_backend)
{
	if (l4 + 4 > f->len)
		return;
	put16(f->data + l4, SCENE_CLIENT_PORT + rng_draw(rng, SCENE_CLIENT_PORTS));
	put16(f->data + l4 + 2, to_backend ? SCENE_BACKEND_PORT : SCENE_PORT);
}

/* Where the transport header of the IPv6 packet at @ip begins, behind extension headers. */
static uint32_t find_l4(const struct frame *f, uint32_t ip)
{
	uint8_t next = f->data[ip + 6];
	uint32_t at = ip + 40;

	while (at + 2 < f->len &&
	       (next == 0 || next == 43 || next == 44 || next == 51 || next == 60)) {
		uint32_t len = next == 51 ? f->data[at + 1] * 4u + 8 : f->data[at + 1] * 8u + 8;

		next = f->data[at];
		at += len;
	}
	return next == 6 || next == 17 ? at : f->len;
}

/* Makes the frame one from a client of the scene, or a backend, to a frontend, or to a backend. */
static void address(struct rng *rng, struct frame *f)
{
	enum scene_net from = rng_draw(rng, 8) ? SCENE_CLIENT : SCENE_BACKEND;
	uint32_t n_from = from == SCENE_CLIENT ? SCENE_CLIENTS : SCENE_BACKENDS;
	bool to_backend = !rng_draw(rng, 8), ends = !rng_draw(rng, 16);
	uint32_t n = to_backend ? SCENE_BACKENDS : SCENE_FRONTENDS, at = 12;
	enum scene_net net = to_backend ? SCENE_BACKEND : SCENE_FRONTEND;

	while (at + 6 < f->len && (f->data[at] == 0x81 || f->data[at] == 0x88))
		at += 4;
	if (at + 24 > f->len)
		return;
	if (f->data[at] == 0x08) {
		put_addr(rng, f, at + 14, SHUNT_V4, from, n_from);
		put_addr(rng, f, at + 18, SHUNT_V4, net, n);
		put_ports(rng, f, at + 2 + (f->data[at + 2] & 15) * 4u, to_backend);
		f->data[at + 10] = ends ? 1 : f->data[at + 10]; /* its last hop */
	} else if (f->data[at] == 0x86 && at + 42 <= f->len) {
		put_addr(rng, f, at + 10, SHUNT_V6, from, n_from);
		put_addr(rng, f, at + 26, SHUNT_V6, net, n);
		put_ports(rng, f, find_l4(f, at + 2), to_backend);
		f->data[at + 9] = ends ? 1 : f->data[at + 9];
	}
}

/* Inserts or removes bytes. */
static void shift(struct rng *rng, struct frame *f, uint32_t at)
{
	uint32_t n = 1 + rng_draw(rng, 8);

	if (rng_draw(rng, 2)) {
		if (f->len + n > SHIM_FRAME_MAX)
			return;
		memmove(f->data + at + n, f->data + at, f->len - at);
		f->len += n;
	} else if (f->len > n + 14 && at + n <= f->len) {
		memmove(f->data + at, f->data + at + n, f->len - at - n);
		f->len -= n;
	}
}

static void change(struct rng *rng, struct frame *f)
{
	static const uint8_t values[] = { 0,	1,    2,    3,	  4,	6,    8,    17,
					  0x11, 0x2c, 0x3a, 0x40, 0x45, 0x46, 0x4f, 0x60,
					  0x7f, 0x80, 0x81, 0x86, 0x88, 0xa8, 0xdd, 0xff };
	/* Mostly in the headers. */
	uint32_t at = rng_draw(rng, rng_draw(rng, 4) && f->len > 64 ? 64 : f->len);

	switch (rng_draw(rng, 6)) {
	case 0:
		f->data[at] ^= (uint8_t)(1u << rng_draw(rng, 8));
		break;
	case 1:
		f->data[at] = values[rng_draw(rng, sizeof(values))];
		break;
	case 2:
		f->data[at] = (uint8_t)rng_draw(rng, 256);
		break;
	case 3:
		if (at + 1 < f->len)
			put16(f->data + at, f->len - rng_draw(rng, 64));
		break;
	case 4:
		shift(rng, f, at);
		break;
	default:
		if (at >= 34 && !rng_draw(rng, 4))
			f->len = at;
	}
}

static void mutate_frame(const struct corpus *corpus, struct rng *rng, uint8_t *data,
			 struct step *step)
{
	const struct corpus_frame *from = &corpus->frames[rng_draw(rng, corpus->n_frames)];
	struct frame f = { data, from->len };

	memcpy(data, from->data, from->len);
	if (rng_draw(rng, 8))
		address(rng, &f);
	for (uint32_t n = rng_draw(rng, 4); n; n--)
		change(rng, &f);
	step->op = STEP_FRAME;
	step->where = (uint8_t)(rng_draw(rng, 8) << 1 | !rng_draw(rng, 8));
	if (!rng_draw(rng, 8))
		step->where |= (uint8_t)(rng_draw(rng, 16) << 4);
	step->frame = data;
	step->len = (uint16_t)f.len;
}

void mutate_step(const struct corpus *corpus, struct rng *rng, uint8_t *frame,
		 struct step *ret_step)
{
	static const uint8_t flags[] = { 0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, STEP_NATURAL };
	static const uint8_t types[] = { 1, 2, 3, 3, 4, 5, 11, 12, 137 };
	struct step *s = ret_step;

	*s = (struct step){ .where = (uint8_t)(rng_draw(rng, 256)) };
	switch (rng_draw(rng, 16)) {
	case 0:
		s->op = STEP_TIME;
		s->value = (uint16_t)rng_draw(rng, rng_draw(rng, 8) ? 10 : 1500);
		return;
	case 1:
		s->op = STEP_EDIT;
		s->a = (uint8_t)rng_draw(rng, 256);
		s->value = (uint16_t)rng_draw(rng, 256);
		return;
	case 2:
	case 3:
		s->op = STEP_ERROR;
		s->a = rng_draw(rng, 2) ? STEP_NATURAL : types[rng_draw(rng, sizeof(types))];
		break;
	case 4 ... 9:
		s->op = STEP_ANSWER;
		s->a = rng_draw(rng, 2) ? STEP_NATURAL : flags[rng_draw(rng, sizeof(flags))];
		s->where &= rng_draw(rng, 4) ? 0x3f : 0xff;
		s->where &= rng_draw(rng, 4) ? 0xfe : 0xff;
		break;
	default:
		mutate_frame(corpus, rng, frame, s);
		return;
	}
	if (!rng_draw(rng, 4))
		s->n = (uint8_t)rng_draw(rng, 4);
	for (uint8_t i = 0; i < s->n; i++) {
		s->edit[i].at = (uint8_t)rng_draw(rng, 128);
		s->edit[i].value = (uint8_t)rng_draw(rng, 256);
	}
}
