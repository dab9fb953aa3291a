// SPDX-License-Identifier: Apache-2.0
#include "install_lab.h"

#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shunt/histogram.h"

/* ---- maps ----------------------------------------------------------------------------------- */

struct shunt_dp_sizes lab_sizes(void)
{
	return (struct shunt_dp_sizes){
		.flows = 256,
		.frontends = 1024,
		.services = 64,
		.variants = 128,
		.backends = 512,
		.ring_entries = 65536,
		.sessions = 64,
		.policies = 64,
		.limit_clients = 512,
		.sources = 64,
		.breakers = 64,
	};
}

static size_t array_bytes(const struct shunt_dp_array *array)
{
	size_t page = sysconf(_SC_PAGESIZE);

	return ((size_t)array->n * array->stride + page - 1) / page * page;
}

static struct shunt_dp_array array_new(const char *name, uint32_t value_size, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	struct shunt_dp_array array = { .n = n, .stride = (value_size + 7) / 8 * 8 };

	array.fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, name, 4, value_size, n, &opts);
	cr_assert_geq(array.fd, 0, "%s: %m (these tests need root)", name);
	array.base =
		mmap(NULL, array_bytes(&array), PROT_READ | PROT_WRITE, MAP_SHARED, array.fd, 0);
	cr_assert_neq(array.base, MAP_FAILED, "%s: %m", name);
	return array;
}

static int map_new(enum bpf_map_type type, const char *name, uint32_t key_size, uint32_t value_size,
		   uint32_t n)
{
	int fd = bpf_map_create(type, name, key_size, value_size, n, NULL);

	cr_assert_geq(fd, 0, "%s: %m (these tests need root)", name);
	return fd;
}

static int trie_new(const char *name, uint32_t key_size, uint32_t n)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, name, key_size, sizeof(struct shunt_source),
				n, &opts);

	cr_assert_geq(fd, 0, "%s: %m (these tests need root)", name);
	return fd;
}

/* What policies need. */
static void policy_maps_new(struct shunt_dp_maps *maps, const struct shunt_dp_sizes *sizes)
{
	maps->policies = array_new("policies", sizeof(struct shunt_policy_record), sizes->policies);
	maps->buckets = array_new("buckets", sizeof(struct shunt_bucket), 4 * sizes->policies);
	maps->bucket_names =
		array_new("bucket_names", sizeof(struct shunt_bucket_name), 4 * sizes->policies);
	maps->client_sets = array_new("client_sets", sizeof(struct shunt_client_set),
				      sizes->limit_clients / SHUNT_LIMIT_WAYS);
	maps->client_active = array_new("client_active", sizeof(struct shunt_client_active),
					sizes->limit_clients);
	maps->service_active =
		array_new("service_active", sizeof(struct shunt_active), sizes->services);
	maps->variant_active =
		array_new("variant_active", sizeof(struct shunt_active), sizes->variants);
	maps->breakers =
		array_new("breakers", sizeof(struct shunt_breaker_rule), 2 * sizes->breakers);
	maps->breaker_states =
		array_new("breaker_states", sizeof(struct shunt_breaker_state), sizes->breakers);
	maps->breaker_words = array_new("breaker_words", sizeof(struct shunt_breaker_word),
					SHUNT_BREAKER_WORDS * sizes->breakers);
	maps->breaker_names =
		array_new("breaker_names", sizeof(struct shunt_breaker_name), sizes->breakers);
	maps->variant_guards =
		array_new("variant_guards", sizeof(struct shunt_variant_guard), sizes->variants);
	maps->backend_guards =
		array_new("backend_guards", sizeof(struct shunt_backend_guard), sizes->backends);
	maps->eject_states =
		array_new("eject_states", sizeof(struct shunt_eject_state), sizes->backends);
	maps->eject_places = array_new("eject_places", sizeof(struct shunt_eject_place),
				       sizes->variants * SHUNT_N_FAMILIES * SHUNT_EJECT_PLACES);
	maps->limit_counters_fd = map_new(BPF_MAP_TYPE_PERCPU_ARRAY, "limit_counters", 4,
					  sizeof(struct shunt_limit_counters), 4 * sizes->policies);
	maps->sources_fd[SHUNT_V4] =
		trie_new("sources_v4", sizeof(struct shunt_source_key_v4), sizes->sources);
	maps->sources_fd[SHUNT_V6] =
		trie_new("sources_v6", sizeof(struct shunt_source_key_v6), sizes->sources);
}

static void maps_new(struct shunt_dp_maps *maps, const struct shunt_dp_sizes *sizes)
{
	uint32_t sets = sizes->flows / SHUNT_FLOW_WAYS;

	*maps = (struct shunt_dp_maps){
		.settings = array_new("settings", sizeof(struct shunt_settings), 1),
		.services = array_new("services", sizeof(struct shunt_service), sizes->services),
		.service_names = array_new("service_names", sizeof(struct shunt_service_name),
					   sizes->services),
		.rules = array_new("rules", sizeof(struct shunt_rule), sizes->services),
		.splits = array_new("splits", sizeof(struct shunt_split), 2 * sizes->services),
		.rings =
			array_new("rings", sizeof(struct shunt_ring_word), sizes->ring_entries / 4),
		.members = array_new("members", sizeof(__u32), 4 * sizes->backends),
		.variants = array_new("variants", sizeof(struct shunt_variant), sizes->variants),
		.variant_names = array_new("variant_names", sizeof(struct shunt_variant_name),
					   sizes->variants),
		.overlay = array_new("overlay", sizeof(struct shunt_overlay), sizes->variants),
		.dead_man_counts = array_new("dead_man_counts",
					     sizeof(struct shunt_dead_man_counts), sizes->variants),
		.response_times = array_new("response_times", sizeof(struct shunt_response_time),
					    sizes->variants * SHUNT_TIME_BUCKETS),
		.connect_times = array_new("connect_times", sizeof(struct shunt_connect_time),
					   sizes->variants * SHUNT_TIME_BUCKETS),
		.backends = array_new("backends", sizeof(struct shunt_backend), sizes->backends),
		.clients = array_new("clients", sizeof(struct shunt_client), 64),
		.backend_active = array_new("active", sizeof(struct shunt_active), sizes->backends),
		.flow_sets = array_new("flow_sets", sizeof(struct shunt_flow_set), sets),
		.flows = array_new("flows", sizeof(struct shunt_flow), sizes->flows),
		.reply_sets = array_new("reply_sets", sizeof(struct shunt_reply_set), 2 * sets),
		.frontends_fd =
			map_new(BPF_MAP_TYPE_HASH, "frontends", sizeof(struct shunt_frontend_key),
				sizeof(struct shunt_frontend), sizes->frontends),
		.sessions_fd =
			map_new(BPF_MAP_TYPE_LRU_HASH, "sessions", sizeof(struct shunt_session_key),
				sizeof(struct shunt_session), sizes->sessions),
		.backend_counters_fd = map_new(BPF_MAP_TYPE_PERCPU_ARRAY, "backend_counters", 4,
					       sizeof(struct shunt_counters), sizes->backends),
		.variant_counters_fd = map_new(BPF_MAP_TYPE_PERCPU_ARRAY, "variant_counters", 4,
					       sizeof(struct shunt_counters), sizes->variants),
		.reasons_fd = map_new(BPF_MAP_TYPE_PERCPU_ARRAY, "reasons", 4, sizeof(__u64),
				      SHUNT_R_MAX),
	};
	policy_maps_new(maps, sizes);
}

static void settings_fill(struct install_lab *lab)
{
	struct shunt_settings *settings = SHUNT_DP_AT(lab->maps.settings, struct shunt_settings, 0);

	*settings = (struct shunt_settings){
		.abi_version = SHUNT_ABI_VERSION,
		.choice_key = { 0x0123456789abcdefull, 0xfedcba9876543210ull },
		.table_key = 7,
		.flow_set_mask = lab->maps.flow_sets.n - 1,
		.reply_set_mask = lab->maps.reply_sets.n - 1,
	};
	for (int i = 0; i < SHUNT_N_TIMEOUTS; i++)
		settings->timeout_jiffies[i] = 1000;
}

/* ---- the installer ----------------------------------------------------------------------------
 */

static int grace(void *ctx)
{
	struct install_lab *lab = ctx;

	lab->graces++;
	if (lab->on_grace)
		lab->on_grace(lab->grace_arg);
	return lab->grace_result;
}

static uint32_t jiffies(void *ctx)
{
	return ((struct install_lab *)ctx)->now;
}

static void installer_new(struct install_lab *lab)
{
	struct shunt_installer_env env = {
		.maps = &lab->maps,
		.grace = grace,
		.jiffies = jiffies,
		.hz = LAB_HZ,
		.ctx = lab,
	};
	struct shunt_err err = { 0 };

	cr_assert_eq(shunt_installer_create(&env, &lab->installer, &err), 0, "%s", err.text);
}

void lab_open(struct install_lab *lab, const struct shunt_dp_sizes *sizes)
{
	struct shunt_dp_sizes small = lab_sizes();

	memset(lab, 0, sizeof(*lab));
	/* Just before jiffies wrap, so that every deadline crosses it. */
	lab->now = -1000;
	maps_new(&lab->maps, sizes ? sizes : &small);
	settings_fill(lab);
	installer_new(lab);
}

void lab_restart(struct install_lab *lab)
{
	shunt_installer_free(lab->installer);
	installer_new(lab);
}

void lab_close(struct install_lab *lab)
{
	const int fds[] = { lab->maps.frontends_fd, lab->maps.sessions_fd,
			    lab->maps.backend_counters_fd, lab->maps.variant_counters_fd,
			    lab->maps.reasons_fd };

	shunt_installer_free(lab->installer);
#define CLOSE_ARRAY(name)                                                                          \
	munmap(lab->maps.name.base, array_bytes(&lab->maps.name));                                 \
	close(lab->maps.name.fd);
	SHUNT_DP_ARRAYS(CLOSE_ARRAY)
#undef CLOSE_ARRAY
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		close(fds[i]);
}

/* ---- models
 * -------------------------------------------------------------------------------------- */

static struct shunt_ip parse_ip(const char *text)
{
	struct shunt_ip ip;

	cr_assert_eq(shunt_ip_parse(text, &ip), 0, "%s", text);
	return ip;
}

void lab_service(struct lab_service *service, const char *name, unsigned number)
{
	char text[32];

	memset(service, 0, sizeof(*service));
	strcpy(service->name, name);
	service->model.namespace_ = (char *)"shop";
	service->model.name = service->name;
	service->model.ports = service->ports;
	service->model.frontends = service->frontends;
	service->model.variants = service->variants;
	service->model.affinity =
		(struct shunt_affinity_spec){ SHUNT_AFFINITY_CONNECTION, 10800, 32, 128 };
	service->ports[service->model.n_ports++] =
		(struct shunt_port){ .name = (char *)"", .port = 80, .proto = IPPROTO_TCP };
	snprintf(text, sizeof(text), "10.255.%u.%u", number / 250, number % 250 + 1);
	lab_frontend(service, text);
}

void lab_service_free(struct lab_service *service)
{
	for (size_t v = 0; v < service->model.n_variants; v++) {
		free(service->variants[v].name);
		free(service->variants[v].backends);
	}
}

void lab_frontend(struct lab_service *service, const char *text)
{
	service->frontends[service->model.n_frontends++] =
		(struct shunt_frontend_addr){ .ip = parse_ip(text) };
}

struct shunt_model_backend *lab_backend(struct shunt_model_variant *variant, const char *text)
{
	struct shunt_model_backend *backend;

	variant->backends = reallocarray(variant->backends, variant->n_backends + 1,
					 sizeof(*variant->backends));
	cr_assert_not_null(variant->backends);
	backend = &variant->backends[variant->n_backends++];
	*backend = (struct shunt_model_backend){
		.ip = parse_ip(text),
		.port = 8080,
		.weight = 1,
		.state = SHUNT_BACKEND_READY,
		.usable = true,
	};
	return backend;
}

struct shunt_model_variant *lab_variant(struct lab_service *service, const char *name,
					uint32_t weight, unsigned net, unsigned n)
{
	struct shunt_model_variant *variant = &service->variants[service->model.n_variants++];
	char text[32];

	*variant = (struct shunt_model_variant){
		.name = strdup(name),
		.weight = weight,
		.drain_deadline_s = 10,
	};
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.%u", net, i / 250, i % 250 + 1);
		lab_backend(variant, text);
	}
	return variant;
}

/* ---- installs
 * --------------------------------------------------------------------------------------- */

struct shunt_image_service *lab_compile(struct install_lab *lab, struct lab_service *service)
{
	struct shunt_image_service *image = NULL;
	int r = shunt_compile(&service->model, shunt_installer_ids(lab->installer), &image);

	cr_assert_eq(r, 0, "compiling %s: %s", service->name, strerror(-r));
	return image;
}

int lab_install(struct install_lab *lab, struct lab_service *const *services, size_t n,
		struct shunt_install_result *ret_result, struct shunt_err *err)
{
	struct shunt_image_service **images = calloc(n + 1, sizeof(struct shunt_image_service *));
	int r;

	cr_assert_not_null(images);
	for (size_t i = 0; i < n; i++)
		images[i] = lab_compile(lab, services[i]);
	r = shunt_install(lab->installer, (const struct shunt_image_service *const *)images, n,
			  ret_result, err);
	for (size_t i = 0; i < n; i++)
		shunt_image_free(images[i]);
	free(images);
	return r;
}

struct shunt_install_result lab_install_ok(struct install_lab *lab,
					   struct lab_service *const *services, size_t n)
{
	struct shunt_install_result result = { 0 };
	struct shunt_err err = { 0 };
	int r = lab_install(lab, services, n, &result, &err);

	cr_assert_eq(r, 0, "%s: %s", strerror(-r), err.text);
	return result;
}

/* ---- questions
 * ----------------------------------------------------------------------------------------- */

struct shunt_tuple lab_tuple(unsigned number, uint32_t client)
{
	struct shunt_tuple tuple = { .proto = IPPROTO_TCP, .family = SHUNT_V4 };
	uint64_t mixed = shunt_mix64(client + 1);

	tuple.src.word_be[3] = htonl(0x0a800000 | (mixed & 0x3fffff));
	tuple.dst.word_be[3] = htonl(0x0aff0001 + number / 250 * 256 + number % 250);
	tuple.sport_be = htons(1024 + (mixed >> 32) % 60000);
	tuple.dport_be = htons(80);
	return tuple;
}

struct shunt_choice lab_choose(const struct install_lab *lab, unsigned number, uint32_t client)
{
	struct shunt_tuple tuple = lab_tuple(number, client);
	struct shunt_choice choice;

	shunt_choose(&lab->maps, &tuple, lab->now, &choice);
	return choice;
}

uint32_t lab_service_id(const struct install_lab *lab, const char *name)
{
	char key[SHUNT_ID_KEY_LEN];

	shunt_id_service_key(key, "shop", name, 80, IPPROTO_TCP);
	return shunt_ids_find(lab->installer->ids, SHUNT_ID_SERVICE, key);
}

uint32_t lab_variant_id(const struct install_lab *lab, const char *service, const char *variant)
{
	char key[SHUNT_ID_KEY_LEN];

	shunt_id_variant_key(key, "shop", service, 80, IPPROTO_TCP, variant);
	return shunt_ids_find(lab->installer->ids, SHUNT_ID_VARIANT, key);
}

uint32_t lab_backend_id(const struct install_lab *lab, const char *service, const char *variant,
			const char *text)
{
	struct shunt_ip ip = parse_ip(text);
	char key[SHUNT_ID_KEY_LEN];

	shunt_id_backend_key(key, lab_variant_id(lab, service, variant), &ip, 8080, IPPROTO_TCP);
	return shunt_ids_find(lab->installer->ids, SHUNT_ID_BACKEND, key);
}
