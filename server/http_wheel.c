/* Slot = tick modulo WHEEL_SLOTS. A deadline further away than the wheel goes round is put into the
 * furthest slot and looked at again there. */
#include "server/http_wheel.h"

#include <stddef.h>

static void list_init(struct wheel_entry *head)
{
    head->next = head->previous = head;
}

void wheel_init(struct wheel *wheel, uint64_t tick_ms, uint64_t now_ms)
{
    wheel->tick_ms = tick_ms;
    wheel->tick = now_ms / tick_ms;
    for (size_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&wheel->slots[i]);
}

void wheel_remove(struct wheel_entry *entry)
{
    if (entry->next == NULL)
        return;
    entry->next->previous = entry->previous;
    entry->previous->next = entry->next;
    entry->next = entry->previous = NULL;
}

void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t deadline_ms)
{
    uint64_t tick = deadline_ms / wheel->tick_ms + 1; /* never before the deadline */
    if (tick <= wheel->tick)
        tick = wheel->tick + 1;
    if (tick > wheel->tick + WHEEL_SLOTS - 1)
        tick = wheel->tick + WHEEL_SLOTS - 1;
    entry->deadline_ms = deadline_ms;
    if (entry->next != NULL && entry->tick <= tick)
        return; /* comes up early and is put back then */
    wheel_remove(entry);
    entry->tick = tick;
    struct wheel_entry *head = &wheel->slots[tick % WHEEL_SLOTS];
    entry->previous = head->previous;
    entry->next = head;
    head->previous->next = entry;
    head->previous = entry;
}

static void turn_slot(struct wheel *wheel, uint64_t now_ms,
                      void (*expired)(void *context, struct wheel_entry *entry), void *context)
{
    struct wheel_entry *head = &wheel->slots[wheel->tick % WHEEL_SLOTS];
    while (head->next != head) {
        struct wheel_entry *entry = head->next;
        wheel_remove(entry);
        if (entry->deadline_ms <= now_ms)
            expired(context, entry);
        else
            wheel_set(wheel, entry, entry->deadline_ms);
    }
}

void wheel_turn(struct wheel *wheel, uint64_t now_ms,
                void (*expired)(void *context, struct wheel_entry *entry), void *context)
{
    uint64_t target = now_ms / wheel->tick_ms;
    /* After a long sleep one round sees every entry. */
    if (target > wheel->tick + WHEEL_SLOTS)
        wheel->tick = target - WHEEL_SLOTS;
    while (wheel->tick < target) {
        wheel->tick++;
        turn_slot(wheel, now_ms, expired, context);
    }
}

void wheel_each(struct wheel *wheel, void (*visit)(void *context, struct wheel_entry *entry),
                void *context)
{
    for (size_t i = 0; i < WHEEL_SLOTS; i++) {
        struct wheel_entry *entry = wheel->slots[i].next;
        while (entry != &wheel->slots[i]) {
            struct wheel_entry *next = entry->next;
            visit(context, entry);
            entry = next;
        }
    }
}
