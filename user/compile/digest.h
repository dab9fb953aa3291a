/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_COMPILE_DIGEST_H
#define SHUNT_COMPILE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "compile/image.h"

/* Return: a digest of all that @image says, padding and the digest itself left out. */
uint64_t shunt_image_digest(const struct shunt_image_service *image);

#endif
