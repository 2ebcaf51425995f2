/* Maintenance of collections, beside the writer and behind everything else.
 *
 * One thread of low priority takes the collections that were written to (or opened) in turn, makes
 * the next plan of each (index/plan.h) and hands it to the writer, which applies it between two
 * groups of user writes. A collection that has not been written to for a second is idle: then steps
 * are taken, too, that only make later searches cheaper. A collection is held only while a step of
 * it is made, so that deleting one waits for a step at most. */
#ifndef KITH_SERVER_PLANNER_H
#define KITH_SERVER_PLANNER_H

#include "server/writer.h"

struct planner_options {
    bool enabled; /* planner.enabled, default true: off for measuring what it costs */
    /* planner.measure_percent, default 2: of one core's time, spent on answering sampled queries
     * again to see what recall they got; 0: none are */
    uint32_t measure_percent;
};
struct planner_options planner_options_default(void);

struct planner;
/* reader: the thread's own reader number. Watches the writer's groups. */
struct planner *planner_new(struct database *database, struct writer *writer, uint32_t reader,
                            const struct planner_options *options);
/* There may be something to do for a collection. Any thread. */
void planner_touch(struct planner *planner, struct span name);
void planner_measure(struct planner *planner, struct span name);
/* Give back what the collection's dead points have stored, thoroughly, then hand the job
 * (WRITE_COMPACT, name and collection set) to the writer. Any thread. ERROR_EXISTS: another is
 * under way for it; then, and only then, the job is not done(). */
enum error planner_compact(struct planner *planner, struct write_job *job) MUST_CHECK;
/* Stops at the next step; the writer must still be running. Accepts NULL. */
void planner_free(struct planner *planner);

struct planner_figures {
    uint64_t plans, bytes;   /* applied */
    uint64_t pending;        /* collections with something to do, or to look at */
    double planning_seconds; /* spent */
    double applying_seconds; /* waited for the writer, its queue included */
};
void planner_figures_get(struct planner *planner, struct planner_figures *figures);

#endif
