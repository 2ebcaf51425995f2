/* A timer wheel: one uv_timer for any number of deadlines, each kept to within a tick.
 *
 * Moving a deadline later costs nothing: the entry stays where it is, comes up early and is put
 * back. That is what keep-alive connections do all day. Loop thread only. */
#ifndef KITH_SERVER_HTTP_WHEEL_H
#define KITH_SERVER_HTTP_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define WHEEL_SLOTS 128

struct wheel_entry { /* embedded in what waits; zero before first use */
    struct wheel_entry *next, *previous;
    uint64_t deadline_ms;
    uint64_t tick; /* at which it comes up next */
};

struct wheel {
    uint64_t tick_ms, tick;                /* tick: the last one that was turned to */
    struct wheel_entry slots[WHEEL_SLOTS]; /* list heads */
};

void wheel_init(struct wheel *wheel, uint64_t tick_ms, uint64_t now_ms);
/* Add an entry or move it. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t deadline_ms);
void wheel_remove(struct wheel_entry *entry); /* nothing when it is not in a wheel */
/* Turn to now. Each entry whose deadline has come is taken out and given to expired, which may set
 * or remove any entry. */
void wheel_turn(struct wheel *wheel, uint64_t now_ms,
                void (*expired)(void *context, struct wheel_entry *entry), void *context);
/* Every entry, in no order. visit may remove the entry it is given, no other. */
void wheel_each(struct wheel *wheel, void (*visit)(void *context, struct wheel_entry *entry),
                void *context);

#endif
