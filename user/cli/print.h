/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CLI_PRINT_H
#define SHUNT_CLI_PRINT_H

#include "cli/cli.h"

/* Text for people: aligned columns, a few colours, nothing that a terminal would obey. */

enum print_style { PRINT_PLAIN, PRINT_BOLD, PRINT_DIM, PRINT_GOOD, PRINT_WARN, PRINT_BAD };

#define PRINT_MAX_COLUMNS 24

struct print_column {
	const char *title;
	bool is_right; /* numbers */
};

struct print_cell {
	char *text;
	enum print_style style;
};

/* Rows of cells; columns in which every cell is empty are not printed. */
struct print_grid {
	const struct print_column *columns;
	int n_columns;
	struct print_cell *cells; /* n_rows * n_columns */
	size_t n_cells;
};

#define PRINT_GRID(columns_)                                                                       \
	{                                                                                          \
		.columns = (columns_), .n_columns = (int)ARRAY_LEN(columns_)                       \
	}

/* Names and reasons come from manifests and other users: control characters become '?'. */
void print_tame(char *text);

/* Adds the next cell, row by row. Out of memory, the cell is empty. */
void print_cell(struct print_grid *grid, enum print_style style, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints with @indent blanks before each line, and frees the cells. */
void print_grid(const struct cli *cli, struct print_grid *grid, int indent);

/* Text without a newline of its own, tamed. */
void print_text(const struct cli *cli, enum print_style style, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * print_wrapped - the first paragraph of @text, wrapped
 * @at:     columns that the first line has already; at most @indent
 * @indent: column where each line begins
 *
 * Return: the paragraph behind it, "" if there is none.
 */
const char *print_wrapped(FILE *out, const char *text, int at, int indent, int width);

#endif
