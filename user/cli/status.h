/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_STATUS_H
#define SHUNT_CLI_STATUS_H

#include "cli/print.h"

/* The parts of `shunt status`; @status is the agent's result, borrowed. */
void status_print_agent(const struct cli *cli, const json_t *status);
void status_print_overview(const struct cli *cli, const json_t *status);
void status_print_service(const struct cli *cli, const char *label, const json_t *service);
void status_print_policy(const struct cli *cli, const json_t *policy); /* of a service; or null */
void status_print_breakers(const struct cli *cli, const json_t *service);
void status_print_reasons(const struct cli *cli, const json_t *status);
void status_print_problems(const struct cli *cli, const json_t *status);

/*
 * "shop/api" of the @i-th of @services, or "shop/api:53/udp" if its neighbour has the same name.
 * @buf: STATUS_LABEL_LEN bytes. Return: @buf.
 */
#define STATUS_LABEL_LEN 256
const char *status_label(const json_t *services, size_t i, char *buf);

/* Does a condition say that something is wrong? */
bool status_condition_is_bad(const json_t *condition);

/* Of the phase of one of "breakers". */
enum print_style status_phase_style(const json_t *instance);

/*
 * "breaker open": the worst state of the breakers of @variant; "": of the service's. "" if all are
 * closed. Return: @buf.
 */
const char *status_breaker_remark(const json_t *service, const char *variant, char *buf,
				  size_t size);

/*
 * "12 connections remain" of a variant that gets no share of the new ones; "" if none do, or it
 * does. @buf: STATUS_REMAIN_LEN bytes. Return: @buf.
 */
#define STATUS_REMAIN_LEN 64
const char *status_remain(const json_t *variant, char *buf);

/* Ready backends of a variant, and all that have an address. */
void status_count_backends(const json_t *variant, int *ret_ready, int *ret_all);

#endif
