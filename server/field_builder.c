#include "server/field_builder.h"

#include <stdlib.h>

#include "index/field.h"
#include "server/log.h"

#define RESUME_READER 0 /* of the first worker, which is not there yet */

struct field_build { /* malloc'd, freed by its last step */
    struct write_job job;
    struct service *service;
};

static void build_end(struct field_build *build)
{
    struct service *service = build->service;
    collection_release(build->job.collection);
    free(build);
    atomic_fetch_sub(&service->field_builds, 1);
}

static void build_done(struct write_job *job)
{
    struct field_build *build = (struct field_build *)(void *)job;
    struct service *service = build->service;
    if (job->error == OK && job->more && !atomic_load(&service->draining)) {
        writer_continue(service->writer, job);
        return;
    }
    if (job->error != OK && job->error != ERROR_NOT_FOUND)
        log_write(LOG_LEVEL_ERROR, "payload index not built", "error=\"%s\"",
                  error_text(job->error));
    build_end(build);
}

void field_builder_start(struct service *service, struct span name)
{
    struct field_build *build = allocate_zeroed(1, sizeof *build);
    build->service = service;
    build->job.kind = WRITE_FIELDS;
    build->job.done = build_done;
    atomic_fetch_add(&service->field_builds, 1);
    if (collection_acquire(service->database, name, &build->job.collection) != OK) {
        build->job.collection = NULL; /* deleted meanwhile */
        build_end(build);
        return;
    }
    build->job.name = collection_name(build->job.collection);
    writer_continue(service->writer, &build->job);
}

/* Has the collection something left to build? */
static bool is_pending(struct service *service, struct span name)
{
    struct collection *collection;
    struct view view;
    bool pending = false;
    if (collection_acquire(service->database, name, &collection) != OK)
        return false; /* damaged: who asks for it will be told */
    if (view_open(collection_environment(collection), RESUME_READER, &view) == OK) {
        if (collection_fields_pending(&view, &pending) != OK)
            pending = false;
        view_close(&view);
    }
    collection_release(collection);
    return pending;
}

void field_builder_resume(struct service *service)
{
    struct arena arena;
    struct span *names;
    size_t count;
    arena_init(&arena);
    if (database_names(service->database, &arena, &names, &count) == OK) {
        for (size_t i = 0; i < count; i++)
            if (is_pending(service, names[i]))
                field_builder_start(service, names[i]);
    }
    arena_release(&arena);
}
