// SPDX-License-Identifier: Apache-2.0
#include "agent/events.h"

#include <time.h>

#include "base/units.h"

int64_t agent_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

int64_t agent_real_ms(uint64_t mono_ns)
{
	return agent_now_ms() - ((int64_t)shunt_mono_ns() - (int64_t)mono_ns) / 1000000;
}

void agent_tame(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static const char *level_name(enum shunt_log_level level)
{
	return level == SHUNT_LOG_ERROR ? "error" : level == SHUNT_LOG_WARN ? "warn" : "info";
}

json_t *agent_events_add(struct agent_events *events, int64_t when_ms, enum shunt_log_level level,
			 const char *reason, const char *object, const char *text)
{
	json_t **slot = &events->items[events->next % AGENT_EVENTS];
	char stamp[SHUNT_UNIT_STR_LEN];
	json_t *event;

	event = json_pack("{s:s, s:I, s:s, s:s, s:s}", "time", shunt_time_str(when_ms, stamp),
			  "time_ms", (json_int_t)when_ms, "level", level_name(level), "reason",
			  reason, "object", object);
	/* Text may hold bytes of a broken manifest that are no UTF-8. */
	if (event && json_object_set_new(event, "text", json_string(text)) < 0)
		json_object_set_new(event, "text", json_string("(text is not UTF-8)"));
	if (!event)
		return NULL;

	json_decref(*slot);
	*slot = event;
	events->next++;
	return event;
}

json_t *agent_events_last(const struct agent_events *events, size_t n)
{
	size_t have = events->next < AGENT_EVENTS ? events->next : AGENT_EVENTS;
	json_t *array = json_array();

	if (n > have)
		n = have;
	for (size_t i = events->next - n; array && i < events->next; i++)
		json_array_append(array, events->items[i % AGENT_EVENTS]);
	return array;
}

void agent_events_clear(struct agent_events *events)
{
	for (size_t i = 0; i < AGENT_EVENTS; i++) {
		json_decref(events->items[i]);
		events->items[i] = NULL;
	}
	events->next = 0;
}
