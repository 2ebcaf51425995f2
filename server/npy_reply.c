#include "server/npy_reply.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "server/npy.h"

bool npy_reply_wanted(const struct http_request *request)
{
    const char *at = (const char *)request->accept.data;
    const char *end = at + request->accept.bytes;
    const size_t bytes = strlen(NPY_TYPE);
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma == NULL ? end : comma;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        const size_t left = (size_t)(stop - at);
        if (left >= bytes && strncasecmp(at, NPY_TYPE, bytes) == 0 &&
            (left == bytes || at[bytes] == ';' || at[bytes] == ' '))
            return true;
        at = comma == NULL ? end : comma + 1;
    }
    return false;
}

/* Which of the dense vectors; *count how many there are to choose from. */
static uint16_t choose_vector(const struct collection_settings *settings,
                              const struct selectors *selectors, size_t *count)
{
    uint16_t chosen = 0;
    *count = 0;
    for (uint16_t i = 0; i < settings->vector_count; i++) {
        const struct vector_settings *vector = &settings->vectors[i];
        if (vector->kind == VECTOR_NONE ||
            (selectors->vector == SELECT_INCLUDE && !vector_set_has(&selectors->vectors, i)))
            continue;
        if (selectors->vector != SELECT_INCLUDE && vector->name.bytes == 0 &&
            vector->kind == VECTOR_DENSE) { /* the default one goes before all others */
            *count = 1;
            return i;
        }
        chosen = i;
        ++*count;
    }
    return chosen;
}

bool npy_reply_begin(struct npy_reply *reply, struct call *call, const struct selectors *selectors,
                     bool scored)
{
    const struct collection_settings *settings = collection_settings(call->collection);
    size_t count;
    *reply = (struct npy_reply){.scored = scored, .all_numbers = true};
    reply->vector = choose_vector(settings, selectors, &count);
    if (count != 1) {
        call_fail(call, 400,
                  "Bad request: a reply of " NPY_TYPE " holds one vector of each point, here are "
                  "%zu: name one in with_vector",
                  count);
        return false;
    }
    if (settings->vectors[reply->vector].kind != VECTOR_DENSE) {
        call_fail(call, 400,
                  "Bad request: vector `%.*s` is not dense: its rows make no matrix; take "
                  "application/json",
                  (int)settings->vectors[reply->vector].name.bytes,
                  (const char *)settings->vectors[reply->vector].name.data);
        return false;
    }
    reply->dim = settings->vectors[reply->vector].dim;
    static const char blank[NPY_HEAD_BYTES];
    text_put(&call->out, blank, sizeof blank); /* until the count is known */
    return true;
}

static void put_missing(struct text *out, uint32_t dim)
{
    const float missing = NAN;
    for (uint32_t i = 0; i < dim; i++)
        text_put(out, &missing, sizeof missing);
}

enum error npy_reply_put(struct npy_reply *reply, struct call *call, uint64_t slot,
                         const struct point_row *row, const float *score)
{
    if (vector_set_has(&row->vectors, reply->vector)) {
        struct vector_row stored;
        enum error error = view_vector(&call->view, reply->vector, slot, &stored);
        if (error == OK)
            error = vector_row_check(&call->view, reply->vector, &stored);
        if (error != OK)
            return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
        text_put(&call->out, stored.vector, reply->dim * sizeof(float));
    } else {
        put_missing(&call->out, reply->dim);
    }
    struct text id = {0};
    text_row_id_bare(&id, row);
    const uint16_t id_bytes = (uint16_t)id.bytes; /* at most POINT_ID_TEXT_BYTES_MAX */
    reply->longest_id = id.bytes > reply->longest_id ? id.bytes : reply->longest_id;
    reply->all_numbers = reply->all_numbers && row->id.kind == POINT_ID_NUMBER;
    text_put(&reply->ids, &id_bytes, sizeof id_bytes);
    text_put(&reply->ids, id.data, id.bytes);
    text_release(&id);
    if (reply->scored)
        text_put(&reply->scores, score, sizeof *score);
    reply->count++;
    return OK;
}

static void put_head(struct text *out, const char *type, uint64_t count)
{
    char head[NPY_HEAD_BYTES], shape[64];
    snprintf(shape, sizeof shape, "(%" PRIu64 ",)", count);
    npy_head(head, type, shape);
    text_put(out, head, sizeof head);
}

static void put_ids(const struct npy_reply *reply, struct text *out)
{
    char type[32];
    const size_t longest = reply->longest_id == 0 ? 1 : reply->longest_id;
    snprintf(type, sizeof type, "|S%zu", longest);
    put_head(out, reply->all_numbers ? "<u8" : type, reply->count);
    const char *next = reply->ids.data;
    for (uint64_t i = 0; i < reply->count; i++) {
        const size_t bytes = load16(next);
        const struct span id = span_of(next + sizeof(uint16_t), bytes);
        uint64_t number;
        next += sizeof(uint16_t) + bytes;
        if (reply->all_numbers && parse_u64(id, &number)) {
            text_put(out, &number, sizeof number);
            continue;
        }
        text_put(out, id.data, id.bytes);
        for (size_t at = id.bytes; at < longest; at++)
            text_put(out, "", 1); /* a NUL */
    }
}

void npy_reply_end(struct npy_reply *reply, struct call *call)
{
    char head[NPY_HEAD_BYTES], shape[64];
    struct text *out = &call->out;
    snprintf(shape, sizeof shape, "(%" PRIu64 ", %" PRIu32 ")", reply->count, reply->dim);
    npy_head(head, "<f4", shape);
    memcpy(out->data, head, sizeof head);
    put_ids(reply, out);
    if (reply->scored) {
        put_head(out, "<f4", reply->count);
        text_put(out, reply->scores.data, reply->scores.bytes);
    }
    call_bytes(call, NPY_TYPE);
}

void npy_reply_release(struct npy_reply *reply)
{
    text_release(&reply->ids);
    text_release(&reply->scores);
}
