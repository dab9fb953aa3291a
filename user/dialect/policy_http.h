/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_POLICY_HTTP_H
#define SHUNT_DIALECT_POLICY_HTTP_H

#include "dialect/request.h"
#include "model/model.h"

/**
 * shunt_policy_say_blind - limits of requests where none are seen
 *
 * They hold on ports whose plaintext HTTP is looked at. If @service has no such port, the objects
 * that its limits of requests come from have RequestsNotSeen=True. Return: 0 or -ENOMEM.
 */
int shunt_policy_say_blind(struct shunt_translation *t, const struct shunt_model_service *service);

#endif
