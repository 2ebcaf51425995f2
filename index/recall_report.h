/* What queries really got: sampled ones were answered again, through the codes of all points (whose
 * bounds miss less than one neighbour in a thousand), and the answers compared. */
#ifndef KITH_INDEX_RECALL_REPORT_H
#define KITH_INDEX_RECALL_REPORT_H

#include "index/database.h"

#define RECALL_DEFAULT 0.99
#define RECALL_SAMPLE_EVERY 8u
#define RECALL_GROUPS 16u

/* Sampled queries that asked for the same recall. */
struct recall_group {
    float asked;
    uint32_t queries;
    double mean, low, high; /* of the share of their nearest that they got; 95 % interval */
};

struct recall_report {
    bool learnt;    /* what follows is known */
    uint64_t codes; /* in partitions when it was learnt which share gives which recall */
    uint32_t stored, made, live; /* points, shifted copies and queries it was learnt from */
    uint64_t seen;               /* queries since the opening; one in RECALL_SAMPLE_EVERY is kept */
    uint64_t waiting;            /* of those kept: to be answered again */
    struct recall_group groups[RECALL_GROUPS]; /* by recall, ascending; the first that came */
    size_t group_count;
};

/* Of queries answered within the last window_ns, at most the newest 1,000 sampled: searches of a
 * dense vector through its partitions, without a filter. vector: its number. Any thread. */
void recall_report_get(struct collection *collection, uint16_t vector, const struct view *view,
                       uint64_t window_ns, struct recall_report *report);

/* Wilson's interval at 95 % for a mean share over `queries`. */
void recall_interval(double mean, uint64_t queries, double *low, double *high);

#endif
