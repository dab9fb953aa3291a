// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "agent/events.h"

static struct agent_events events;

static void teardown(void)
{
	agent_events_clear(&events);
}

TestSuite(events, .fini = teardown);

static const char *text_at(const json_t *array, size_t i)
{
	return json_string_value(json_object_get(json_array_get(array, i), "text"));
}

Test(events, a_line_of_the_log_stays_one_line)
{
	char text[] = "by uid 0: x\nfake\x1b[31m\x7f caf\xc3\xa9";

	agent_tame(text);
	cr_expect_str_eq(text, "by uid 0: x?fake?[31m? caf\xc3\xa9");
}

Test(events, an_event_has_the_members_of_the_protocol)
{
	json_t *event = agent_events_add(&events, 1795419167123, SHUNT_LOG_WARN, "GateFailed",
					 "eth0", "no right");
	char *text = json_dumps(event, JSON_COMPACT | JSON_SORT_KEYS);

	cr_assert_str_eq(text, "{\"level\":\"warn\",\"object\":\"eth0\",\"reason\":\"GateFailed\","
			       "\"text\":\"no right\",\"time\":\"2026-11-23T07:32:47.123Z\","
			       "\"time_ms\":1795419167123}");
	free(text);
}

Test(events, the_last_ones_come_oldest_first)
{
	json_t *last;

	agent_events_add(&events, 1, SHUNT_LOG_INFO, "A", "", "one");
	agent_events_add(&events, 2, SHUNT_LOG_INFO, "A", "", "two");
	agent_events_add(&events, 3, SHUNT_LOG_INFO, "A", "", "three");
	last = agent_events_last(&events, 2);
	cr_assert_eq(json_array_size(last), 2);
	cr_assert_str_eq(text_at(last, 0), "two");
	cr_assert_str_eq(text_at(last, 1), "three");
	json_decref(last);
	last = agent_events_last(&events, 0);
	cr_assert_eq(json_array_size(last), 0);
	json_decref(last);
}

Test(events, the_ring_forgets_the_oldest)
{
	char text[16];
	json_t *last;

	for (int i = 0; i < AGENT_EVENTS + 5; i++) {
		snprintf(text, sizeof(text), "%d", i);
		agent_events_add(&events, i, SHUNT_LOG_INFO, "A", "", text);
	}
	last = agent_events_last(&events, 5000);
	cr_assert_eq(json_array_size(last), AGENT_EVENTS);
	cr_assert_str_eq(text_at(last, 0), "5");
	cr_assert_str_eq(text_at(last, AGENT_EVENTS - 1), "1004");
	json_decref(last);
}

Test(events, bytes_that_are_no_text_do_not_lose_the_event)
{
	json_t *event = agent_events_add(&events, 1, SHUNT_LOG_INFO, "A", "", "\xff\xfe");

	cr_assert_not_null(event);
	cr_assert_str_eq(json_string_value(json_object_get(event, "text")), "(text is not UTF-8)");
}
