#include "server/bulk_input.h"

#include <stdlib.h>

#define UNPACK_STEP_BYTES ((size_t)256 * 1024)

void bulk_input_begin(struct bulk_input *input, struct http_request *request, enum packing packing)
{
    *input = (struct bulk_input){.request = request, .packing = packing};
    if (packing != PACKING_NONE)
        unpack_begin(&input->unpack, packing, UINT64_MAX);
}

void bulk_input_release(struct bulk_input *input)
{
    if (input->packing != PACKING_NONE)
        unpack_release(&input->unpack);
    free(input->chunk);
    free(input->data);
    input->chunk = input->data = NULL;
}

/* Room for `bytes` behind end: what is consumed goes, then the buffer grows. */
static void make_room(struct bulk_input *input, size_t bytes)
{
    size_t held = input->end - input->begin;
    if (input->capacity - input->end >= bytes)
        return;
    if (held > 0 && input->begin > 0)
        memmove(input->data, input->data + input->begin, held);
    input->begin = 0;
    input->end = held;
    if (input->capacity - held < bytes) {
        input->capacity = held + bytes + held / 2;
        input->data = grow(input->data, input->capacity);
    }
}

/* A chunk becomes the buffer when nothing is left in it: most bytes are never copied. */
static void adopt(struct bulk_input *input, uint8_t *chunk, size_t bytes)
{
    if (input->begin == input->end) {
        free(input->data);
        input->data = chunk;
        input->begin = 0;
        input->end = input->capacity = bytes;
        return;
    }
    make_room(input, bytes);
    memcpy(input->data + input->end, chunk, bytes);
    input->end += bytes;
    free(chunk);
}

/* Take what has come. *chunk NULL: nothing now. */
static enum bulk_input_state take(struct bulk_input *input, uint8_t **chunk, size_t *bytes)
{
    *chunk = NULL;
    *bytes = 0;
    if (input->taken_all)
        return BULK_INPUT_END;
    enum http_stream_state state = http_stream_take(input->request, chunk, bytes);
    input->bytes_taken += *bytes;
    input->taken_all = state == HTTP_STREAM_END;
    if (state == HTTP_STREAM_BROKEN) {
        free(*chunk);
        *chunk = NULL;
        return BULK_INPUT_CUT;
    }
    if (*bytes > 0)
        return BULK_INPUT_MORE;
    free(*chunk);
    *chunk = NULL;
    return input->taken_all ? BULK_INPUT_END : BULK_INPUT_WAIT;
}

static enum bulk_input_state unpack_chunk(struct bulk_input *input, size_t *made)
{
    size_t used;
    make_room(input, UNPACK_STEP_BYTES);
    enum unpack_state state = unpack_step(&input->unpack, input->chunk + input->chunk_next,
                                          input->chunk_bytes - input->chunk_next, &used,
                                          input->data + input->end, UNPACK_STEP_BYTES, made);
    input->chunk_next += used;
    input->end += *made;
    if (state == UNPACK_TOO_LARGE)
        return BULK_INPUT_TOO_LARGE;
    return state == UNPACK_BROKEN ? BULK_INPUT_BROKEN : BULK_INPUT_MORE;
}

static enum bulk_input_state more_packed(struct bulk_input *input)
{
    for (;;) {
        size_t made = 0;
        if (input->chunk != NULL) {
            enum bulk_input_state state = unpack_chunk(input, &made);
            if (state != BULK_INPUT_MORE || made > 0)
                return state;
            if (input->chunk_next < input->chunk_bytes)
                continue; /* between two members, or in a header */
            free(input->chunk);
            input->chunk = NULL;
        }
        input->chunk_next = 0;
        enum bulk_input_state state = take(input, &input->chunk, &input->chunk_bytes);
        if (state == BULK_INPUT_END && !unpack_complete(&input->unpack))
            return BULK_INPUT_BROKEN;
        if (state != BULK_INPUT_MORE)
            return state;
    }
}

enum bulk_input_state bulk_input_more(struct bulk_input *input)
{
    if (input->packing != PACKING_NONE)
        return more_packed(input);
    uint8_t *chunk;
    size_t bytes;
    enum bulk_input_state state = take(input, &chunk, &bytes);
    if (state == BULK_INPUT_MORE)
        adopt(input, chunk, bytes);
    return state;
}
