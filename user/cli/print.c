// SPDX-License-Identifier: Apache-2.0
#include "cli/print.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const char *const style_codes[] = {
	[PRINT_PLAIN] = "",	   [PRINT_BOLD] = "\033[1m",  [PRINT_DIM] = "\033[2m",
	[PRINT_GOOD] = "\033[32m", [PRINT_WARN] = "\033[33m", [PRINT_BAD] = "\033[31m",
};

void print_tame(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

/* Columns that a UTF-8 text takes: every byte but the continuations. */
static int text_width(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void put(const struct cli *cli, enum print_style style, const char *text)
{
	bool styled = cli->is_colour && style != PRINT_PLAIN && *text;

	fprintf(cli->out, "%s%s%s", styled ? style_codes[style] : "", text,
		styled ? "\033[0m" : "");
}

void print_text(const struct cli *cli, enum print_style style, const char *fmt, ...)
{
	CLEANUP(freep) char *text = NULL;
	va_list args;

	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (!text)
		return;
	print_tame(text);
	put(cli, style, text);
}

void print_cell(struct print_grid *grid, enum print_style style, const char *fmt, ...)
{
	struct print_cell *cells;
	char *text = NULL;
	va_list args;

	cells = realloc(grid->cells, (grid->n_cells + 1) * sizeof(*cells));
	if (!cells)
		return;
	va_start(args, fmt);
	if (vasprintf(&text, fmt, args) < 0)
		text = NULL;
	va_end(args);
	if (text)
		print_tame(text);
	grid->cells = cells;
	grid->cells[grid->n_cells++] = (struct print_cell){ .text = text, .style = style };
}

static const char *cell_text(const struct print_grid *grid, size_t row, int column)
{
	const char *text = grid->cells[row * grid->n_columns + column].text;

	return text ? text : "";
}

/* Width of a column; 0: no cell has a text. */
static int column_width(const struct print_grid *grid, size_t n_rows, int column)
{
	int width = 0, title = text_width(grid->columns[column].title);

	for (size_t row = 0; row < n_rows; row++) {
		int w = text_width(cell_text(grid, row, column));

		width = w > width ? w : width;
	}
	return width && width < title ? title : width;
}

/* The blanks before a cell are owed, so that no line ends with blanks. */
static void put_cell(const struct cli *cli, const struct print_column *column,
		     enum print_style style, const char *text, int width, int *owed)
{
	int pad = width - text_width(text);

	if (column->is_right)
		*owed += pad;
	if (*text) {
		fprintf(cli->out, "%*s", *owed, "");
		put(cli, style, text);
		*owed = 0;
	} else {
		*owed += column->is_right ? 0 : width;
		pad = 0;
	}
	*owed += 2 + (column->is_right ? 0 : pad);
}

void print_grid(const struct cli *cli, struct print_grid *grid, int indent)
{
	size_t n_rows = grid->n_cells / grid->n_columns;
	int width[PRINT_MAX_COLUMNS], owed;

	for (int c = 0; c < grid->n_columns; c++)
		width[c] = column_width(grid, n_rows, c);

	for (size_t line = 0; line < n_rows + 1; line++) {
		owed = indent;
		for (int c = 0; c < grid->n_columns; c++) {
			const struct print_column *column = &grid->columns[c];

			if (!width[c])
				continue;
			if (line == 0)
				put_cell(cli, column, PRINT_DIM, column->title, width[c], &owed);
			else
				put_cell(cli, column,
					 grid->cells[(line - 1) * grid->n_columns + c].style,
					 cell_text(grid, line - 1, c), width[c], &owed);
		}
		fputc('\n', cli->out);
	}

	for (size_t i = 0; i < grid->n_cells; i++)
		free(grid->cells[i].text);
	free(grid->cells);
	grid->cells = NULL;
	grid->n_cells = 0;
}

const char *print_wrapped(FILE *out, const char *text, int at, int indent, int width)
{
	bool is_first = true;
	int len;

	while (*text && strncmp(text, "\n\n", 2)) {
		if (*text == ' ' || *text == '\n') {
			text++;
			continue;
		}
		len = (int)strcspn(text, " \n");
		if (!is_first && at + 1 + len > width) {
			fputc('\n', out);
			at = 0;
			is_first = true;
		}
		fprintf(out, "%*s%.*s", is_first ? indent - at : 1, "", len, text);
		at = (is_first ? indent : at + 1) + len;
		is_first = false;
		text += len;
	}
	fputc('\n', out);
	return text + strspn(text, "\n");
}
