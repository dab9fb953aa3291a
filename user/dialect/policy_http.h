/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_POLICY_HTTP_H
#define SHUNT_DIALECT_POLICY_HTTP_H

#include "dialect/request.h"
#include "model/model.h"

/**
 * shunt_policy_say_blind - parts that are about requests where none are seen
 *
 * Limits of requests hold, and codes and times are known, on ports whose plaintext HTTP is looked
 * at. If @service has no such port, the objects that such a limit or expression comes from have
 * RequestsNotSeen=True; likewise what judges where not even connections are looked at. If one of
 * them is of HTTP/2, what needs more of it than can be told has Http2PartlySeen=True. Return: 0 or
 * -ENOMEM.
 */
int shunt_policy_say_blind(struct shunt_translation *t, const struct shunt_model_service *service);

#endif
