/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_LOG_H
#define SHUNT_BASE_LOG_H

enum shunt_log_level { SHUNT_LOG_ERROR, SHUNT_LOG_WARN, SHUNT_LOG_INFO, SHUNT_LOG_DEBUG };

/* Lines above this level are not printed; default SHUNT_LOG_INFO. */
void shunt_log_set_level(enum shunt_log_level level);

/**
 * shunt_log - one line to stderr: "2026-11-23T07:32:47.123Z INFO text"
 * @fmt: without a newline
 *
 * Only mains, the event loop and the controllers log; everything below returns errors.
 */
void shunt_log(enum shunt_log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) shunt_log(SHUNT_LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  shunt_log(SHUNT_LOG_WARN, __VA_ARGS__)
#define log_info(...)  shunt_log(SHUNT_LOG_INFO, __VA_ARGS__)
#define log_debug(...) shunt_log(SHUNT_LOG_DEBUG, __VA_ARGS__)

#endif
