// SPDX-License-Identifier: Apache-2.0
#include "datapath/frontends.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/choose.h"

#define MIN_BUCKETS 1024

static uint32_t bucket_of(const struct shunt_frontends *frontends,
			  const struct shunt_frontend_key *key)
{
	const __be32 *word = key->addr.word_be;
	uint64_t hash = shunt_mix64(shunt_pair(word[0], word[1]));

	hash = shunt_mix64(hash ^ shunt_pair(word[2], word[3]));
	hash = shunt_mix64(hash ^ ((uint64_t)key->port_be << 8 | key->proto));
	return hash & frontends->mask;
}

static struct shunt_fe *find(const struct shunt_frontends *frontends,
			     const struct shunt_frontend_key *key)
{
	struct shunt_fe *fe = frontends->bucket[bucket_of(frontends, key)];

	while (fe && memcmp(&fe->key, key, sizeof(*key)))
		fe = fe->next;
	return fe;
}

struct shunt_fe *shunt_frontends_get(struct shunt_frontends *frontends,
				     const struct shunt_frontend_key *key)
{
	struct shunt_fe *fe = find(frontends, key);
	struct shunt_fe **head;

	if (fe)
		return fe;
	fe = calloc(1, sizeof(*fe));
	if (!fe)
		return NULL;
	head = &frontends->bucket[bucket_of(frontends, key)];
	fe->key = *key;
	fe->next = *head;
	*head = fe;
	return fe;
}

static int read_map(struct shunt_frontends *frontends)
{
	struct shunt_frontend_key key, *after = NULL;
	struct shunt_frontend value;
	struct shunt_fe *fe;

	while (bpf_map_get_next_key(frontends->map_fd, after, &key) == 0) {
		after = &key;
		if (bpf_map_lookup_elem(frontends->map_fd, &key, &value) < 0)
			continue;
		fe = shunt_frontends_get(frontends, &key);
		if (!fe)
			return -ENOMEM;
		fe->written = value;
		fe->written.check = 0;
	}
	return errno == ENOENT ? 0 : -errno;
}

int shunt_frontends_init(struct shunt_frontends *frontends, int map_fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t buckets = MIN_BUCKETS;
	__u32 size = sizeof(info);

	frontends->map_fd = map_fd;
	if (bpf_obj_get_info_by_fd(map_fd, &info, &size) < 0)
		return -errno;
	while (buckets < info.max_entries)
		buckets *= 2;
	frontends->mask = buckets - 1;
	frontends->bucket = calloc(buckets, sizeof(*frontends->bucket));
	if (!frontends->bucket)
		return -ENOMEM;
	return read_map(frontends);
}

void shunt_frontends_done(struct shunt_frontends *frontends)
{
	for (uint32_t i = 0; frontends->bucket && i <= frontends->mask; i++) {
		struct shunt_fe *next;

		for (struct shunt_fe *fe = frontends->bucket[i]; fe; fe = next) {
			next = fe->next;
			free(fe);
		}
	}
	free(frontends->bucket);
	frontends->bucket = NULL;
}

struct shunt_frontend_key shunt_frontend_key(const struct shunt_ip *ip, uint16_t port,
					     uint8_t proto)
{
	return (struct shunt_frontend_key){
		.addr = ip->addr,
		.port_be = htons(port),
		.proto = proto,
	};
}

static bool is_nothing(const struct shunt_frontend *value)
{
	return !value->service[0] && !value->service[1] && !value->flags;
}

int shunt_frontends_write(struct shunt_frontends *frontends, struct shunt_fe *fe,
			  const struct shunt_frontend *value)
{
	struct shunt_frontend checked = *value;
	int r;

	checked.check = shunt_frontend_check(&fe->key);
	if (!memcmp(value, &fe->written, sizeof(*value)))
		return 0;
	if (is_nothing(value))
		r = bpf_map_delete_elem(frontends->map_fd, &fe->key);
	else
		r = bpf_map_update_elem(frontends->map_fd, &fe->key, &checked, BPF_ANY);
	if (r < 0 && !(errno == ENOENT && is_nothing(value)))
		return errno == E2BIG ? -ENOSPC : -errno;
	fe->written = *value;
	return 0;
}

struct shunt_fe *shunt_frontends_next(const struct shunt_frontends *frontends,
				      const struct shunt_fe *fe)
{
	uint32_t bucket = 0;

	if (fe && fe->next)
		return fe->next;
	if (fe)
		bucket = bucket_of(frontends, &fe->key) + 1;
	for (; bucket <= frontends->mask; bucket++)
		if (frontends->bucket[bucket])
			return frontends->bucket[bucket];
	return NULL;
}

void shunt_frontends_trim(struct shunt_frontends *frontends)
{
	for (uint32_t i = 0; i <= frontends->mask; i++) {
		struct shunt_fe **link = &frontends->bucket[i];

		while (*link) {
			struct shunt_fe *fe = *link;

			if (is_nothing(&fe->written) && !fe->n_backends) {
				*link = fe->next;
				free(fe);
			} else {
				link = &fe->next;
			}
		}
	}
}
