/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_INSTALL_LAB_H
#define SHUNT_TESTS_INSTALL_LAB_H

#include "datapath/explain.h"
#include "datapath/installer.h"

/*
 * Real maps without programs and without the loader, an installer on them, and models built
 * by hand. Needs root (maps), no BPF file system. A call that fails fails the test.
 */
struct install_lab {
	struct shunt_dp_maps maps;
	struct shunt_installer *installer;
	uint32_t now;		     /* jiffies; the test moves it */
	unsigned graces;	     /* grace periods asked for */
	int grace_result;	     /* what the next ones return */
	void (*on_grace)(void *arg); /* NULL: nothing */
	void *grace_arg;
};

#define LAB_HZ 100

struct shunt_dp_sizes lab_sizes(void); /* small ones, to change and pass to lab_open() */
void lab_open(struct install_lab *lab, const struct shunt_dp_sizes *sizes);
void lab_close(struct install_lab *lab);
void lab_restart(struct install_lab *lab); /* another agent on the same maps */

/* One model service with one TCP port 80 at 10.255.<number / 250>.<number % 250 + 1>. */
struct lab_service {
	struct shunt_model_service model;
	struct shunt_port ports[2];
	struct shunt_frontend_addr frontends[4];
	struct shunt_model_variant variants[SHUNT_MAX_VARIANTS];
	char name[SHUNT_NAME_LEN];
};

void lab_service(struct lab_service *service, const char *name, unsigned number);
void lab_service_free(struct lab_service *service);

/* Adds a variant; @n ready backends 10.<net>.<i / 250>.<i % 250 + 1>:8080. In name order. */
struct shunt_model_variant *lab_variant(struct lab_service *service, const char *name,
					uint32_t weight, unsigned net, unsigned n);

/* One more backend, ready, at @text. Return: it, until the next is added. */
struct shunt_model_backend *lab_backend(struct shunt_model_variant *variant, const char *text);

/* A second way in, of either family. */
void lab_frontend(struct lab_service *service, const char *text);

/* Compiles with the lab's ids. Freed with shunt_image_free(). */
struct shunt_image_service *lab_compile(struct install_lab *lab, struct lab_service *service);

/* Compiles and installs all of @services as the whole state. Return: as shunt_install(). */
int lab_install(struct install_lab *lab, struct lab_service *const *services, size_t n,
		struct shunt_install_result *ret_result, struct shunt_err *err);

/* The same for those that must succeed. */
struct shunt_install_result lab_install_ok(struct install_lab *lab,
					   struct lab_service *const *services, size_t n);

/* A client of service @number: @client chooses source address and port. */
struct shunt_tuple lab_tuple(unsigned number, uint32_t client);

/* What a new flow of @client gets. */
struct shunt_choice lab_choose(const struct install_lab *lab, unsigned number, uint32_t client);

/* Ids by name; 0: none. Backends by "10.1.0.1" and port 8080. */
uint32_t lab_service_id(const struct install_lab *lab, const char *name);
uint32_t lab_variant_id(const struct install_lab *lab, const char *service, const char *variant);
uint32_t lab_backend_id(const struct install_lab *lab, const char *service, const char *variant,
			const char *text);

#endif
