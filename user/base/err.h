/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_ERR_H
#define SHUNT_BASE_ERR_H

/*
 * The error contract: functions return 0 (or a positive result) or -errno, and leave ret_
 * parameters untouched on failure. Where the reason matters to a person, the function also
 * fills a struct shunt_err: where, what, and what to do. Library code never prints.
 */
struct shunt_err {
	char file[256];	 /* "" when not about a file */
	unsigned line;	 /* 1-based; 0 when unknown */
	unsigned column; /* 1-based; 0 when unknown */
	char field[160]; /* path inside the object, "spec.rules[0].backendRefs[1].weight"; may be ""
			  */
	char text[512];
};

/**
 * shunt_err_set - fill @err and return @code
 * @err:  may be NULL: then only @code is passed on
 * @code: -errno that the caller returns
 * @fmt:  one sentence without a newline: what is wrong and what to do
 *
 * Clears file, line, column and field; set them afterwards.
 *
 * Return: @code, so that `return shunt_err_set(err, -EINVAL, "...")` reads well.
 */
int shunt_err_set(struct shunt_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * shunt_err_str - "file:line:column: field: text", without the parts that are unknown
 * @err: filled error; borrowed
 * @buf: at least 1024 bytes
 *
 * Return: @buf.
 */
const char *shunt_err_str(const struct shunt_err *err, char *buf, unsigned long size);

#endif
