/* One vector of many points as an NPY file: float32 [n][dim], in the order of ids.
 *
 * With with_ids a second array follows in the same file, as numpy.save makes when it is called
 * twice: uint64 [n] when all ids are numbers, else bytes [n] as long as the longest ('|S36' for
 * UUIDs), UTF-8. Both are written over the same view, so their rows belong together. */
#include "server/export.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "index/point_walk.h"
#include "server/npy.h"

#define SPOOL_BUFFER_BYTES ((size_t)1024 * 1024)
#define SPOOL_CHECK_BYTES ((uint64_t)64 * 1024 * 1024) /* between two looks at the free space */

struct spool {
    int file;
    struct store *store;
    uint8_t *buffer; /* malloc'd */
    size_t used;
    uint64_t bytes;   /* in all */
    uint64_t checked; /* the space at so many of them */
};

/* ---- the file ---- */

static int open_unlinked(const char *directory, char *path, size_t path_bytes)
{
    const int file = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file >= 0)
        return file;
    snprintf(path, path_bytes, "%s/trash/export-XXXXXX", directory); /* emptied at start */
    const int named = mkostemp(path, O_CLOEXEC);
    if (named >= 0)
        (void)unlink(path);
    return named;
}

static enum error spool_flush(struct spool *spool)
{
    size_t done = 0;
    while (done < spool->used) {
        const ssize_t n = write(spool->file, spool->buffer + done, spool->used - done);
        if (n < 0 && errno != EINTR)
            return errno == ENOSPC || errno == EDQUOT ? ERROR_FULL : ERROR_IO;
        done += n > 0 ? (size_t)n : 0;
    }
    spool->used = 0;
    if (spool->bytes - spool->checked < SPOOL_CHECK_BYTES)
        return OK;
    spool->checked = spool->bytes;
    return store_check_space(spool->store);
}

static enum error spool_put(struct spool *spool, const void *data, size_t bytes)
{
    const uint8_t *from = data;
    spool->bytes += bytes;
    while (bytes > 0) {
        const size_t room = SPOOL_BUFFER_BYTES - spool->used;
        const size_t n = bytes < room ? bytes : room;
        memcpy(spool->buffer + spool->used, from, n);
        spool->used += n;
        from += n;
        bytes -= n;
        if (spool->used == SPOOL_BUFFER_BYTES) {
            const enum error error = spool_flush(spool);
            if (error != OK)
                return error;
        }
    }
    return OK;
}

/* ---- rows ---- */

struct rows {
    struct call *call;
    const struct export *export;
    struct spool *spool;
    uint64_t count;
    size_t row_bytes;  /* of a vector, or an id as bytes */
    bool all_numbers;  /* ids seen so far */
    size_t longest_id; /* in bytes as text */
};

typedef enum error put_row(struct rows *rows, uint64_t slot, const struct point_row *row);

static enum error put_vector(struct rows *rows, uint64_t slot, const struct point_row *row)
{
    const struct view *view = &rows->call->view;
    struct vector_row stored;
    enum error error = view_vector(view, rows->export->vector, slot, &stored);
    if (error == OK)
        error = vector_row_check(view, rows->export->vector, &stored);
    if (error != OK)
        return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
    struct text text = {0};
    text_row_id_bare(&text, row);
    rows->longest_id = text.bytes > rows->longest_id ? text.bytes : rows->longest_id;
    rows->all_numbers = rows->all_numbers && row->id.kind == POINT_ID_NUMBER;
    text_release(&text);
    rows->count++;
    return spool_put(rows->spool, stored.vector, rows->row_bytes);
}

static enum error put_id(struct rows *rows, uint64_t slot, const struct point_row *row)
{
    (void)slot;
    if (rows->all_numbers) {
        const uint64_t number = load64_big(row->id.bytes);
        return spool_put(rows->spool, &number, sizeof number);
    }
    static const uint8_t zeros[64];
    struct text text = {0};
    text_row_id_bare(&text, row);
    enum error error = spool_put(rows->spool, text.data, text.bytes);
    for (size_t n, left = rows->row_bytes - text.bytes; left > 0 && error == OK; left -= n) {
        n = left < sizeof zeros ? left : sizeof zeros;
        error = spool_put(rows->spool, zeros, n);
    }
    text_release(&text);
    return error;
}

static enum error each_row(struct rows *rows, put_row *put)
{
    struct call *call = rows->call;
    const struct export *export = rows->export;
    const struct id_slot *item = NULL;
    struct point_walk *walk = allocate(sizeof *walk);
    enum error error = point_walk_begin(walk, call->collection, &call->view, export->filter, NULL,
                                        call->deadline_ns, NULL);
    while (error == OK) {
        struct point_row row;
        error = point_walk_next(walk, &item);
        if (error != OK || item == NULL)
            break;
        error = view_point(&call->view, item->slot, &row);
        if (error == OK && vector_set_has(&row.vectors, export->vector))
            error = put(rows, item->slot, &row);
        error = error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
    }
    point_walk_end(walk);
    free(walk);
    return error;
}

/* ---- both arrays ---- */

static enum error spool_vectors(struct rows *rows, uint32_t dim)
{
    char head[NPY_HEAD_BYTES] = {0}, shape[64];
    enum error error = spool_put(rows->spool, head, sizeof head);
    if (error == OK)
        error = each_row(rows, put_vector);
    if (error == OK)
        error = spool_flush(rows->spool);
    if (error != OK)
        return error;
    snprintf(shape, sizeof shape, "(%" PRIu64 ", %" PRIu32 ")", rows->count, dim);
    npy_head(head, "<f4", shape);
    return pwrite(rows->spool->file, head, sizeof head, 0) == (ssize_t)sizeof head ? OK : ERROR_IO;
}

static enum error spool_ids(struct rows *rows)
{
    char head[NPY_HEAD_BYTES], shape[64], type[32];
    rows->row_bytes = rows->longest_id;
    snprintf(shape, sizeof shape, "(%" PRIu64 ",)", rows->count);
    snprintf(type, sizeof type, "|S%zu", rows->longest_id);
    npy_head(head, rows->all_numbers ? "<u8" : type, shape);
    enum error error = spool_put(rows->spool, head, sizeof head);
    if (error == OK)
        error = each_row(rows, put_id);
    return error == OK ? spool_flush(rows->spool) : error;
}

enum error export_npy_spool(struct call *call, struct export *export)
{
    const struct config *config = call->service->config;
    const size_t path_bytes = strlen(config->data_dir) + 32;
    char *path = arena_allocate(call->arena, path_bytes);
    const uint32_t dim = collection_settings(call->collection)->vectors[export->vector].dim;
    struct spool spool = {.store = database_store(call->service->database)};
    enum error error = store_check_space(spool.store);
    if (error != OK)
        return error;
    spool.file = export->file = open_unlinked(config->data_dir, path, path_bytes);
    if (spool.file < 0)
        return ERROR_IO;
    spool.buffer = allocate(SPOOL_BUFFER_BYTES);
    struct rows rows = {.call = call,
                        .export = export,
                        .spool = &spool,
                        .row_bytes = dim * sizeof(float),
                        .all_numbers = true};
    error = spool_vectors(&rows, dim);
    if (error == OK && export->with_ids)
        error = spool_ids(&rows);
    free(spool.buffer);
    export->file_bytes = spool.bytes;
    return error;
}
