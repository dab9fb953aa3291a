/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_VERSION_H
#define SHUNT_BASE_VERSION_H

#define SHUNT_VERSION "0.1.0"

#endif
