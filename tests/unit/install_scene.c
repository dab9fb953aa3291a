// SPDX-License-Identifier: Apache-2.0
#include "install_scene.h"

#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

struct install_lab lab;
struct lab_service web, api;
struct lab_service *const only_web[] = { &web };
struct lab_service *const both[] = { &api, &web };

void setup(void)
{
	lab_open(&lab, NULL);
	lab_service(&web, "web", 1);
	lab_variant(&web, "blue", 90, 1, 3);
	lab_variant(&web, "green", 10, 2, 3);
	lab_service(&api, "api", 2);
	lab_variant(&api, "v1", 1, 3, 2);
	lab_variant(&api, "v2", 1, 4, 2);
}

void teardown(void)
{
	lab_service_free(&web);
	lab_service_free(&api);
	lab_close(&lab);
}

uint32_t epoch(void)
{
	return AT(settings, struct shunt_settings, 0)->epoch;
}

struct shunt_frontend frontend_at(const char *text, uint16_t port)
{
	struct shunt_frontend value = { 0 };
	struct shunt_frontend_key key;
	struct shunt_ip ip;

	cr_assert_eq(shunt_ip_parse(text, &ip), 0);
	key = shunt_frontend_key(&ip, port, IPPROTO_TCP);
	bpf_map_lookup_elem(lab.maps.frontends_fd, &key, &value);
	return value;
}

void tick(void)
{
	cr_assert_eq(shunt_installer_tick(lab.installer), 0);
}

void put_flow(uint32_t way, uint32_t service, uint32_t backend, uint32_t state)
{
	struct shunt_flow *flow = AT(flows, struct shunt_flow, way);

	flow->service = service;
	flow->backend = backend;
	flow->life = 0x100 | state;
	flow->seen_jiffies = lab.now;
	AT(flow_sets, struct shunt_flow_set, 0)->tag[way] = 0x10 | 2;
	if (state != SHUNT_F_CLOSED)
		AT(backend_active, struct shunt_active, backend)->connections++;
}

void drop_flow(uint32_t way)
{
	struct shunt_flow *flow = AT(flows, struct shunt_flow, way);

	if (SHUNT_LIFE_STATE(flow->life) != SHUNT_F_CLOSED)
		AT(backend_active, struct shunt_active, flow->backend)->connections--;
	flow->life = 0x200;
	AT(flow_sets, struct shunt_flow_set, 0)->tag[way] = 0;
}
