// SPDX-License-Identifier: Apache-2.0
#include "cli/top.h"

#include <curses.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FIRST_LINE 3 /* of the rows */

static SCREEN *terminal;

static const struct {
	const char *keys, *text;
} help[] = {
	{ "q", "quit" },
	{ "< >, left right", "sort by another column" },
	{ "r", "turn the order round" },
	{ "/", "filter: part of a service's or variant's name; Enter takes it, Esc drops it" },
	{ "up down, j k, PgUp PgDn, Home End", "scroll" },
	{ "p", "pause" },
	{ "space", "ask the agent now" },
	{ "h ?", "this help; any key ends it" },
};

int top_screen_begin(const struct cli *cli)
{
	setlocale(LC_CTYPE, "");
	terminal = newterm(NULL, cli->out, stdin);
	if (!terminal)
		return cli_fail(cli, SHUNT_CTL_USAGE,
				"the terminal '%s' is not known here: set TERM, or use --plain",
				getenv("TERM") ? getenv("TERM") : "");
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	set_escdelay(50);
	curs_set(0);
	if (cli->is_colour && has_colors()) {
		start_color();
		use_default_colors();
		init_pair(1, COLOR_RED, -1);
		init_pair(2, COLOR_YELLOW, -1);
	}
	return 0;
}

void top_screen_end(void)
{
	if (!terminal)
		return;
	endwin();
	delscreen(terminal);
	terminal = NULL;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static int width_of(const struct top_rows *rows, enum top_column column)
{
	int width = (int)strlen(top_column_title(column));
	char buf[STATUS_LABEL_LEN];

	for (size_t i = 0; i < rows->n; i++) {
		int w = (int)strlen(top_cell(&rows->row[i], column, buf, sizeof(buf)));

		width = w > width ? w : width;
	}
	return width;
}

static attr_t row_style(const struct top_row *row, enum top_column column)
{
	if (column == TOP_READY && row->ready < row->backends)
		return row->ready ? COLOR_PAIR(2) : COLOR_PAIR(1) | A_BOLD;
	return column == TOP_REJECTS && row->rejects_s > 0 ? COLOR_PAIR(1) : A_NORMAL;
}

/* @row: NULL for the titles. */
static void draw_line(int y, const struct top_row *row, const int width[TOP_N_COLUMNS],
		      enum top_column sort)
{
	char buf[STATUS_LABEL_LEN];
	int x = 0;

	for (enum top_column c = 0; c < TOP_N_COLUMNS && x < COLS; c++) {
		const char *text = row ? top_cell(row, c, buf, sizeof(buf)) : top_column_title(c);
		attr_t style = row ? row_style(row, c) : c == sort ? A_REVERSE | A_BOLD : A_BOLD;

		attrset(style);
		mvprintw(y, x, top_column_is_right(c) ? "%*s" : "%-*s", width[c], text);
		x += width[c] + 2;
	}
	attrset(A_NORMAL);
}

static void draw_help(void)
{
	for (size_t i = 0; i < ARRAY_LEN(help); i++)
		mvprintw(FIRST_LINE + (int)i, 2, "%-36s %s", help[i].keys, help[i].text);
}

static void draw_rows(struct top_screen *screen, const struct top_view *view,
		      const struct top_rows *rows)
{
	size_t room = LINES > FIRST_LINE ? (size_t)(LINES - FIRST_LINE) : 0;
	int width[TOP_N_COLUMNS];

	for (enum top_column c = 0; c < TOP_N_COLUMNS; c++)
		width[c] = width_of(rows, c);
	if (screen->first + room > rows->n)
		screen->first = rows->n > room ? rows->n - room : 0;
	draw_line(FIRST_LINE - 1, NULL, width, view->sort);
	for (size_t i = 0; i < room && screen->first + i < rows->n; i++)
		draw_line(FIRST_LINE + (int)i, &rows->row[screen->first + i], width, view->sort);
}

void top_screen_draw(struct top_screen *screen, const struct top_view *view, const json_t *status,
		     const struct top_rows *rows, const char *note)
{
	char line[512];

	erase();
	top_headline(status, rows, line, sizeof(line));
	mvaddnstr(0, 0, line, COLS);
	if (screen->is_typing)
		mvprintw(1, 0, "filter: %s_", screen->typed);
	else if (*note)
		mvprintw(1, 0, "%.*s", COLS, note);
	else
		mvprintw(1, 0, "%s%s%s%s%zu of %zu variants, h for help",
			 screen->is_paused ? "paused, " : "", *view->filter ? "filter " : "",
			 view->filter, *view->filter ? ", " : "", rows->n,
			 rows->n + rows->n_hidden);
	if (screen->is_help)
		draw_help();
	else
		draw_rows(screen, view, rows);
	refresh();
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* A key while the filter is being typed. */
static enum top_key type(struct top_screen *screen, struct top_view *view, int key)
{
	size_t len = strlen(screen->typed);

	if (key == '\n' || key == '\r' || key == KEY_ENTER) {
		snprintf(view->filter, sizeof(view->filter), "%s", screen->typed);
		screen->is_typing = false;
		screen->first = 0;
	} else if (key == 27) {
		screen->is_typing = false;
	} else if ((key == KEY_BACKSPACE || key == 127 || key == 8) && len) {
		screen->typed[len - 1] = '\0';
	} else if (key >= ' ' && key < 127 && len + 1 < sizeof(screen->typed)) {
		screen->typed[len] = (char)key;
		screen->typed[len + 1] = '\0';
	}
	return TOP_KEY_VIEW;
}

static void scroll_by(struct top_screen *screen, long lines)
{
	/* The lower end is for the drawing: it knows how many rows there are. */
	screen->first =
		lines < 0 && screen->first < (size_t)-lines ? 0 : screen->first + (size_t)lines;
}

static enum top_key command(struct top_screen *screen, struct top_view *view, int key)
{
	int page = LINES > FIRST_LINE + 1 ? LINES - FIRST_LINE - 1 : 1;

	switch (key) {
	case 'q':
	case 'Q':
		return TOP_KEY_QUIT;
	case '<':
	case KEY_LEFT:
		view->sort = (view->sort + TOP_N_COLUMNS - 1) % TOP_N_COLUMNS;
		break;
	case '>':
	case KEY_RIGHT:
		view->sort = (view->sort + 1) % TOP_N_COLUMNS;
		break;
	case 'r':
		view->is_reverse = !view->is_reverse;
		break;
	case 'p':
		screen->is_paused = !screen->is_paused;
		break;
	case 'h':
	case '?':
		screen->is_help = true;
		break;
	case '/':
		screen->is_typing = true;
		snprintf(screen->typed, sizeof(screen->typed), "%s", view->filter);
		break;
	case 'j':
	case KEY_DOWN:
		scroll_by(screen, 1);
		break;
	case 'k':
	case KEY_UP:
		scroll_by(screen, -1);
		break;
	case KEY_NPAGE:
		scroll_by(screen, page);
		break;
	case KEY_PPAGE:
		scroll_by(screen, -page);
		break;
	case KEY_HOME:
		screen->first = 0;
		break;
	case KEY_END:
		screen->first = SIZE_MAX / 2;
		break;
	case ' ':
		return TOP_KEY_SAMPLE;
	}
	return TOP_KEY_VIEW; /* also after the terminal's size has changed */
}

enum top_key top_screen_key(struct top_screen *screen, struct top_view *view, int wait_ms)
{
	int key;

	timeout(wait_ms);
	key = getch();
	if (key == ERR)
		return TOP_KEY_NONE;
	if (screen->is_typing)
		return type(screen, view, key);
	if (screen->is_help) {
		screen->is_help = false;
		return TOP_KEY_VIEW;
	}
	return command(screen, view, key);
}
