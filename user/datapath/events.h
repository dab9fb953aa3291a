/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_EVENTS_H
#define SHUNT_DATAPATH_EVENTS_H

#include "datapath/datapath.h"

/*
 * What the programs tell of their own decisions: the ring buffer shunt_events. One reader at a
 * time: what is read is gone. It stays over restarts, so a new agent reads what nobody has read.
 */
struct shunt_events;

/**
 * shunt_events_open - begin to read
 * @maps:       borrowed for the life of the reader
 * @ret_events: written on 0 only; shunt_events_close()
 *
 * Return: 0 or -errno.
 */
int shunt_events_open(const struct shunt_dp_maps *maps, struct shunt_events **ret_events);
void shunt_events_close(struct shunt_events *events); /* NULL is fine */

/* A descriptor that is readable when there are events. Borrowed. */
int shunt_events_fd(const struct shunt_events *events);

/**
 * shunt_events_read - hand over the events that are there, oldest first
 * @most: how many at most; the descriptor stays readable while there are more
 * @each: @event is good for the call only
 *
 * Return: how many were handed over, or -errno.
 */
int shunt_events_read(struct shunt_events *events, unsigned most,
		      void (*each)(void *ctx, const struct shunt_event *event), void *ctx);

/**
 * shunt_events_counters - what was told and lost since the maps were made, of all CPUs
 *
 * Return: 0 or -errno.
 */
int shunt_events_counters(const struct shunt_dp_maps *maps,
			  struct shunt_event_counters *ret_counters);

#endif
