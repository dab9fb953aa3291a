// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/atomic_file.h"
#include "base/cleanup.h"
#include "model/override_state.h"

/* The file is rewritten when so many lines more than needed twice over are in it. */
#define SPARE_LINES 1000

/* A service that is gone for so long is forgotten by the next rewrite. */
#define FORGET_MS (30ll * 24 * 3600 * 1000)

static void change_freep(struct shunt_change **change)
{
	shunt_change_free(*change);
}

static void key_freep(struct shunt_service_key *key)
{
	shunt_service_key_free(key);
}

/* ---- the file ------------------------------------------------------------------------- */

/* One line. NULL: out of memory. */
static char *line_of(const struct shunt_record *record, const struct shunt_change *change)
{
	json_t *json = shunt_change_to_json(change);
	char *line = NULL;

	if (json && !shunt_key_to_json(&record->key, json))
		line = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return line;
}

static int print_line(FILE *out, const struct shunt_record *record,
		      const struct shunt_change *change)
{
	CLEANUP(freep) char *line = line_of(record, change);

	if (!line)
		return -ENOMEM;
	return fprintf(out, "%s\n", line) < 0 ? -ENOMEM : 0;
}

/* Takes @change over; oldest of too many goes. Return: 0 or -ENOMEM (@change is freed). */
static int push(struct shunt_record *record, struct shunt_change *change)
{
	if (record->n_history == SHUNT_HISTORY_MAX) {
		shunt_change_free(record->history[SHUNT_HISTORY_MAX - 1]);
	} else if (!shunt_array_add(&record->history, &record->n_history,
				    sizeof(*record->history))) {
		shunt_change_free(change);
		return -ENOMEM;
	}
	memmove(&record->history[1], &record->history[0],
		(record->n_history - 1) * sizeof(*record->history));
	record->history[0] = change;
	return 0;
}

static int load_line(struct shunt_overrides *overrides, const char *line)
{
	CLEANUP(key_freep) struct shunt_service_key key = { 0 };
	CLEANUP(change_freep) struct shunt_change *change = NULL;
	struct shunt_record *record;
	json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	int r = json ? shunt_key_from_json(json, &key) : -EINVAL;

	if (!r)
		r = shunt_change_from_json(json, &change);
	json_decref(json);
	if (r < 0)
		return r;
	record = shunt_record_get_by_key(overrides, &key);
	return record ? push(record, TAKE_PTR(change)) : -ENOMEM;
}

/* Return: number of damaged lines, or -errno. */
static int load_lines(struct shunt_overrides *overrides, FILE *in)
{
	CLEANUP(freep) char *line = NULL;
	size_t size = 0;
	int r, n_damaged = 0;

	while (getline(&line, &size, in) >= 0) {
		r = load_line(overrides, line);
		if (r == -EINVAL)
			n_damaged++;
		else if (r < 0)
			return r;
		overrides->n_history_lines++;
		/* Cut off by a crash at a lucky place: nothing may be appended to it. */
		if (!strchr(line, '\n'))
			overrides->history_unsaved = true;
	}
	return ferror(in) ? -EIO : n_damaged;
}

int shunt_history_load(struct shunt_overrides *overrides, struct shunt_err *err)
{
	CLEANUP(file_closep) FILE *in = fopen(overrides->history_path, "re");
	int r, n_damaged;

	if (!in && errno == ENOENT)
		return 0;
	n_damaged = in ? load_lines(overrides, in) : -errno;
	if (n_damaged < 0)
		return shunt_err_set(err, n_damaged, "cannot read %s: %s", overrides->history_path,
				     strerror(-n_damaged));
	if (!n_damaged)
		return 0;

	r = shunt_file_set_aside(overrides->history_path);
	if (r < 0)
		return shunt_err_set(err, r, "%s is damaged and cannot be moved aside: %s",
				     overrides->history_path, strerror(-r));
	shunt_history_compact(overrides);
	return shunt_err_set(err, 1,
			     "%s had %d damaged lines: moved aside as %s.broken, the rest is kept",
			     overrides->history_path, n_damaged, overrides->history_path);
}

int shunt_history_compact(struct shunt_overrides *overrides)
{
	CLEANUP(freep) char *text = NULL;
	size_t size, n_lines = 0;
	FILE *out = open_memstream(&text, &size);
	int r = out ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < overrides->n_records; i++) {
		const struct shunt_record *record = &overrides->records[i];

		for (size_t j = record->n_history; !r && j-- > 0; n_lines++)
			r = print_line(out, record, record->history[j]);
	}
	if (out && fclose(out))
		r = -ENOMEM;
	if (!r)
		r = shunt_file_replace(overrides->history_path, text, size);
	overrides->history_unsaved = r < 0;
	if (!r)
		overrides->n_history_lines = n_lines;
	return r;
}

/* Adds whole lines, or nothing: a part of a line would damage the next one too. */
static int append(const char *path, const char *text, size_t size)
{
	CLEANUP(fd_closep)
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat before;
	int r;

	if (fd < 0 || fstat(fd, &before) < 0)
		return -errno;
	r = shunt_write_all(fd, text, size);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (r < 0 && ftruncate(fd, before.st_size) < 0)
		return -errno;
	return r;
}

static size_t n_needed_lines(const struct shunt_overrides *overrides)
{
	size_t n = 0;

	for (size_t i = 0; i < overrides->n_records; i++)
		n += overrides->records[i].n_history;
	return n;
}

/* Drops the services that are gone for long; only their history is left of them. */
static void forget_gone(struct shunt_overrides *overrides, int64_t now_ms)
{
	size_t kept = 0;

	for (size_t i = 0; i < overrides->n_records; i++) {
		struct shunt_record *record = &overrides->records[i];
		int64_t last_ms = record->seen_ms;

		if (record->n_history && record->history[0]->when_ms > last_ms)
			last_ms = record->history[0]->when_ms;
		if (!record->override && !record->n_drains && now_ms - last_ms > FORGET_MS)
			shunt_record_free(record);
		else
			overrides->records[kept++] = *record;
	}
	overrides->n_records = kept;
}

/* Return: 0, or 1 with @err. */
static int save(struct shunt_overrides *overrides, const char *lines, size_t size, size_t n_lines,
		int64_t now_ms, struct shunt_err *err)
{
	int r;

	if (!overrides->history_path)
		return 0;
	if (overrides->history_unsaved ||
	    overrides->n_history_lines + n_lines > 2 * n_needed_lines(overrides) + SPARE_LINES) {
		forget_gone(overrides, now_ms);
		r = shunt_history_compact(overrides);
	} else {
		r = append(overrides->history_path, lines, size);
		overrides->history_unsaved = r < 0;
		overrides->n_history_lines += r < 0 ? 0 : n_lines;
	}
	if (!r)
		return 0;
	return shunt_err_set(err, 1, "the change is not in the saved history: cannot write %s: %s",
			     overrides->history_path, strerror(-r));
}

/* ---- what has changed ----------------------------------------------------------------- */

static uint32_t in_force(const struct shunt_model_variant *variant)
{
	return variant->drained ? 0 : variant->weight;
}

static const struct shunt_weight *find(const struct shunt_weight *weights, size_t n,
				       const char *variant)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(weights[i].variant, variant))
			return &weights[i];
	return NULL;
}

static bool is_unchanged(const struct shunt_record *record,
			 const struct shunt_model_service *service)
{
	const struct shunt_change *last = record->n_history ? record->history[0] : NULL;

	if (!last || last->n_to != service->n_variants)
		return false;
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_weight *before =
			find(last->to, last->n_to, service->variants[i].name);

		if (!before || before->weight != in_force(&service->variants[i]))
			return false;
	}
	return true;
}

static const struct shunt_drain *drain_find(const struct shunt_record *record, const char *variant)
{
	for (size_t i = 0; i < record->n_drains; i++)
		if (!record->drains[i].is_backend && !strcmp(record->drains[i].target, variant))
			return &record->drains[i];
	return NULL;
}

/* Does @service stand as the override asks, but for drained variants? */
static bool is_as_overridden(const struct shunt_change *override,
			     const struct shunt_model_service *service)
{
	if (!override)
		return false;
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];
		const struct shunt_weight *asked =
			find(override->to, override->n_to, variant->name);

		if (!variant->drained && (!asked || asked->weight != variant->weight))
			return false;
	}
	return true;
}

/*
 * Who has brought @service to where it stands, if no command has just now: an operator's wish
 * that the guard let in later, or else the manifest.
 */
static struct shunt_cause cause_of(const struct shunt_record *record,
				   const struct shunt_model_service *service)
{
	const struct shunt_change *last = record->n_history ? record->history[0] : NULL;
	const struct shunt_change *override = record->override;

	for (size_t i = 0; last && i < service->n_variants; i++) {
		const char *name = service->variants[i].name;
		const struct shunt_weight *before = find(last->to, last->n_to, name);
		const struct shunt_drain *drain = drain_find(record, name);

		if (drain && service->variants[i].drained && before && before->weight)
			return (struct shunt_cause){ .who_uid = drain->who_uid,
						     .command = "drain",
						     .reason = drain->reason };
	}
	if (is_as_overridden(override, service))
		return (struct shunt_cause){ .who_uid = override->who_uid,
					     .command = override->command,
					     .reason = override->reason };
	return (struct shunt_cause){ .who_uid = -1, .command = "manifest" };
}

static int fill(struct shunt_change *change, const struct shunt_record *record,
		const struct shunt_model_service *service)
{
	const struct shunt_change *last = record->n_history ? record->history[0] : NULL;

	change->to = calloc(service->n_variants + 1, sizeof(*change->to));
	change->from = calloc(last ? last->n_to + 1 : 1, sizeof(*change->from));
	if (!change->to || !change->from)
		return -ENOMEM;
	for (size_t i = 0; i < service->n_variants; i++) {
		struct shunt_weight *to = &change->to[change->n_to++];

		snprintf(to->variant, sizeof(to->variant), "%s", service->variants[i].name);
		to->weight = in_force(&service->variants[i]);
	}
	if (last) {
		memcpy(change->from, last->to, last->n_to * sizeof(*change->from));
		change->n_from = last->n_to;
	}
	return 0;
}

/* Return: 1 with a line in @out if something changed, 0, -ENOMEM. */
static int note(struct shunt_record *record, const struct shunt_model_service *service,
		const struct shunt_cause *given, int64_t now_ms, FILE *out)
{
	CLEANUP(change_freep) struct shunt_change *change = NULL;
	struct shunt_cause cause;
	int r;

	record->seen_ms = now_ms;
	if (is_unchanged(record, service))
		return 0;
	cause = given ? *given : cause_of(record, service);
	change = shunt_change_new(&cause, given ? given->when_ms : now_ms);
	if (!change || fill(change, record, service) < 0)
		return -ENOMEM;
	r = print_line(out, record, change);
	if (!r)
		r = push(record, TAKE_PTR(change));
	return r < 0 ? r : 1;
}

static bool is_among(struct shunt_model_service *const *services, size_t n,
		     const struct shunt_model_service *service)
{
	for (size_t i = 0; i < n; i++)
		if (services[i] == service)
			return true;
	return false;
}

static int note_all(struct shunt_overrides *overrides, const struct shunt_model *model,
		    struct shunt_model_service *const *changed, size_t n_changed,
		    const struct shunt_cause *cause, int64_t now_ms, FILE *out, size_t *ret_n)
{
	for (size_t i = 0; i < model->n_services; i++) {
		const struct shunt_model_service *service = &model->services[i];
		struct shunt_record *record;
		int r = shunt_record_claim(overrides, service, true, &record);

		if (r < 0)
			return r;
		r = note(record, service, is_among(changed, n_changed, service) ? cause : NULL,
			 now_ms, out);
		if (r < 0)
			return r;
		*ret_n += r;
	}
	return 0;
}

int shunt_history_record(struct shunt_overrides *overrides, const struct shunt_model *model,
			 struct shunt_model_service *const *changed, size_t n_changed,
			 const struct shunt_cause *cause, int64_t now_ms, struct shunt_err *err)
{
	CLEANUP(freep) char *lines = NULL;
	size_t size, n_lines = 0;
	FILE *out = open_memstream(&lines, &size);
	int r;

	if (!out)
		return -ENOMEM;
	r = note_all(overrides, model, changed, n_changed, cause, now_ms, out, &n_lines);
	if (fclose(out))
		r = -ENOMEM;
	if (r < 0) {
		/* Some may be noted and not written. */
		overrides->history_unsaved = overrides->history_path != NULL;
		return r;
	}
	return n_lines ? save(overrides, lines, size, n_lines, now_ms, err) : 0;
}

size_t shunt_history_get(const struct shunt_overrides *overrides,
			 const struct shunt_model_service *service,
			 const struct shunt_change *const **ret_changes)
{
	const struct shunt_record *record = shunt_record_find(overrides, service);

	*ret_changes = record ? (const struct shunt_change *const *)record->history : NULL;
	return record ? record->n_history : 0;
}

static bool is_named(const struct shunt_service_key *key, const char *name)
{
	const char *slash = strchr(name, '/');
	size_t len = strlen(key->namespace_);

	if (!slash)
		return !strcmp(key->name, name);
	return (size_t)(slash - name) == len && !strncmp(name, key->namespace_, len) &&
	       !strcmp(key->name, slash + 1);
}

void shunt_history_each(const struct shunt_overrides *overrides, const char *name,
			void (*fn)(void *ctx, const struct shunt_history_of *of), void *ctx)
{
	for (size_t i = 0; i < overrides->n_records; i++) {
		const struct shunt_record *record = &overrides->records[i];
		struct shunt_history_of of = {
			.namespace_ = record->key.namespace_,
			.name = record->key.name,
			.ports = record->key.ports,
			.changes = (const struct shunt_change *const *)record->history,
			.n = record->n_history,
		};

		if (of.n && is_named(&record->key, name))
			fn(ctx, &of);
	}
}

int shunt_history_previous(const struct shunt_overrides *overrides,
			   const struct shunt_model_service *service,
			   struct shunt_weight ret_weights[SHUNT_MAX_VARIANTS], size_t *ret_n)
{
	const struct shunt_record *record = shunt_record_find(overrides, service);
	const struct shunt_change *last = record && record->n_history ? record->history[0] : NULL;
	struct shunt_weight weights[SHUNT_MAX_VARIANTS] = { 0 };
	size_t i, sum = 0;

	for (i = 0; last && i < service->n_variants && i < SHUNT_MAX_VARIANTS; i++) {
		const char *name = service->variants[i].name;
		const struct shunt_weight *before = find(last->from, last->n_from, name);

		snprintf(weights[i].variant, sizeof(weights[i].variant), "%s", name);
		weights[i].weight = before ? before->weight : 0;
		sum += weights[i].weight;
	}
	if (!sum)
		return -ENOENT;
	memcpy(ret_weights, weights, sizeof(weights));
	*ret_n = i;
	return 0;
}
