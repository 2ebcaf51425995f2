/* POST /collections/{c}/compact: give back what deleted points have stored, and shrink the file.
 *
 * The planner first moves what lives among dead points and removes what does not live, a bounded
 * step at a time, while searches and writes go on. Then the writer copies the collection's file
 * without its free pages, 8 MiB a step between the other collections' writes; this collection's own
 * writes wait in the queue meanwhile, its searches do not. The copy takes the file's place behind
 * the gate, once the views that are open have closed. ?wait=true answers at the end, with the
 * sizes; otherwise the call is answered at once and a failure is logged. */
#include <inttypes.h>
#include <stdlib.h>

#include "server/handlers.h"
#include "server/log.h"

/* One that nobody waits for; freed by its end. */
struct background {
    struct write_job job; /* first */
    struct service *service;
};

static void log_sizes(const struct write_job *job)
{
    char quoted[300];
    log_write(LOG_LEVEL_INFO, "compacted",
              "collection=%s bytes_before=%" PRIu64 " bytes_after=%" PRIu64,
              log_quote(job->name, quoted, sizeof quoted), job->bytes_before, job->bytes_after);
}

static void background_done(struct write_job *job)
{
    struct background *background = (struct background *)(void *)job;
    struct service *service = background->service;
    char quoted[300];
    if (job->error == OK)
        log_sizes(job);
    else
        log_write(LOG_LEVEL_ERROR, "not compacted", "collection=%s error=\"%s\"",
                  log_quote(job->name, quoted, sizeof quoted), error_text(job->error));
    collection_release(job->collection);
    free(background);
    atomic_fetch_sub(&service->field_builds, 1);
}

static void waited_done(struct write_job *job)
{
    struct call *call = call_of_job(job);
    if (job->error == ERROR_FULL) {
        call_fail(
            call, 507,
            "Insufficient storage: no room for a copy of what the collection holds; its file is "
            "as it was");
        return;
    }
    if (job->error != OK) {
        call_fail_error(call, job->error);
        return;
    }
    log_sizes(job);
    text_printf(call_result(call),
                "{\"status\":\"completed\",\"bytes_before\":%" PRIu64 ",\"bytes_after\":%" PRIu64
                "}",
                job->bytes_before, job->bytes_after);
    call_ok(call);
}

static enum error start(struct service *service, struct write_job *job)
{
    job->stop = &service->draining;
    if (service->planner != NULL)
        return planner_compact(service->planner, job);
    writer_continue(service->writer, job);
    return OK;
}

static void fail_under_way(struct call *call)
{
    call_fail(call, 409, "Wrong input: the collection is being compacted already");
}

static void start_waited(struct call *call)
{
    call->job = (struct write_job){.kind = WRITE_COMPACT,
                                   .collection = call->collection,
                                   .name = collection_name(call->collection),
                                   .done = waited_done};
    if (start(call->service, &call->job) != OK)
        fail_under_way(call);
}

static void start_background(struct call *call)
{
    struct service *service = call->service;
    struct background *background = allocate_zeroed(1, sizeof *background);
    background->service = service;
    background->job.kind = WRITE_COMPACT;
    background->job.done = background_done;
    enum error error = collection_acquire_unaliased(
        service->database, collection_name(call->collection), &background->job.collection);
    if (error != OK) {
        free(background);
        call_fail_error(call, error);
        return;
    }
    background->job.name = collection_name(background->job.collection);
    atomic_fetch_add(&service->field_builds, 1);
    error = start(service, &background->job);
    if (error != OK) {
        collection_release(background->job.collection);
        atomic_fetch_sub(&service->field_builds, 1);
        free(background);
        fail_under_way(call);
        return;
    }
    text_puts(call_result(call), "{\"status\":\"acknowledged\"}");
    call_ok(call);
}

void api_collection_compact(struct call *call)
{
    if (!call_collection(call))
        return;
    if (call->wait)
        start_waited(call);
    else
        start_background(call);
}
