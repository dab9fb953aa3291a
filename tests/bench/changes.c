// SPDX-License-Identifier: Apache-2.0
/*
 * make bench: how long one weight change takes among many services, from the changed model
 * to the kernel: compile the one service, install, one store.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "compile/image.h"
#include "lab.h"

#define SERVICES 1000
#define BACKENDS 5
#define CHANGES	 500

static char *write_manifests(void)
{
	char *yaml = NULL;
	size_t len;
	FILE *f = open_memstream(&yaml, &len);

	for (int s = 0; s < SERVICES; s++) {
		fprintf(f,
			"apiVersion: v1\nkind: Service\nmetadata: {name: s%d, namespace: bench}\n"
			"spec: {clusterIP: 10.200.%d.%d, ports: [{port: 80}]}\n---\n"
			"apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\n"
			"metadata: {name: s%d, namespace: bench}\nspec:\n"
			"  parentRefs: [{group: '', kind: Service, name: s%d}]\n"
			"  rules: [{backendRefs: [{name: s%d-a, port: 80, weight: 50},"
			" {name: s%d-b, port: 80, weight: 50}]}]\n---\n",
			s, s / 250, s % 250 + 1, s, s, s, s);
		for (int v = 0; v < 2; v++) {
			fprintf(f,
				"apiVersion: v1\nkind: Service\n"
				"metadata: {name: s%d-%c, namespace: bench}\n"
				"spec: {ports: [{port: 80}]}\n---\n"
				"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
				"metadata: {name: s%d-%c, namespace: bench,"
				" labels: {kubernetes.io/service-name: s%d-%c}}\n"
				"addressType: IPv4\nports: [{port: 8080}]\nendpoints:\n",
				s, 'a' + v, s, 'a' + v, s, 'a' + v);
			for (int b = 0; b < BACKENDS; b++)
				fprintf(f, "- addresses: [10.%d.%d.%d]\n", 1 + 4 * v + s / 250,
					s % 250, b + 1);
			fputs("---\n", f);
		}
	}
	fclose(f);
	return yaml;
}

static void change(struct bench_lab *lab, const struct shunt_model *model,
		   struct shunt_image_service **images, size_t which, uint32_t weight,
		   double *ret_ms)
{
	struct shunt_model_service *service = &model->services[which];
	struct shunt_image_service *image = NULL;
	struct shunt_install_result result;
	struct shunt_err err = {};
	double start = bench_wall_ns();

	service->variants[0].weight = weight;
	service->variants[1].weight = 100 - weight;
	if (shunt_compile(service, shunt_installer_ids(lab->installer), &image))
		bench_die("compile");
	shunt_image_free(images[which]);
	images[which] = image;
	if (shunt_install(lab->installer, (const struct shunt_image_service *const *)images,
			  model->n_services, &result, &err))
		bench_die("install: %s", err.text);
	*ret_ms = (bench_wall_ns() - start) / 1e6;
	if (!result.single_store)
		bench_die("one changed weight was not one store");
}

int main(void)
{
	static double ms[CHANGES];
	struct shunt_image_service **images;
	CLEANUP(freep) char *yaml = write_manifests();
	struct shunt_model model = {};
	struct bench_lab lab;
	double start, read_ms, p99;

	bench_lab_open(&lab, &(struct shunt_dp_sizes){ .flows = 1 << 16 });
	start = bench_wall_ns();
	bench_lab_model(yaml, &model);
	read_ms = (bench_wall_ns() - start) / 1e6;
	if (model.n_services != SERVICES)
		bench_die("%zu of %d services came through", model.n_services, SERVICES);

	start = bench_wall_ns();
	bench_lab_install(&lab, &model);
	printf("%d services x 2 variants x %d backends: read %.0f ms, first install %.0f ms\n",
	       SERVICES, BACKENDS, read_ms, (bench_wall_ns() - start) / 1e6);

	images = calloc(model.n_services, sizeof(*images));
	for (size_t i = 0; i < model.n_services; i++)
		if (!images || shunt_compile(&model.services[i], shunt_installer_ids(lab.installer),
					     &images[i]))
			bench_die("compile");
	for (int i = 0; i < CHANGES; i++)
		change(&lab, &model, images, (size_t)i * 7919 % SERVICES, 1 + i % 49, &ms[i]);
	p99 = bench_quantile(ms, CHANGES, 0.99); /* sorts */
	printf("one weight change of %d: p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", CHANGES,
	       ms[CHANGES / 2], p99, ms[CHANGES - 1]);

	for (size_t i = 0; i < model.n_services; i++)
		shunt_image_free(images[i]);
	free(images);
	shunt_model_free(&model);
	bench_lab_close(&lab);
	return 0;
}
