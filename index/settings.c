#include "index/settings.h"

#include <assert.h>
#include <stdlib.h>

#define SETTINGS_FORMAT 2
#define SETTINGS_STRING_IDS 1 /* byte 1 */
#define SETTINGS_HEADER_BYTES 20
#define SETTINGS_VECTOR_BYTES 17 /* without the name */
#define SETTINGS_IDF 1u
#define SETTINGS_CODES_SHIFT 1
#define SETTINGS_CODES_MASK 7u
#define SETTINGS_MSE_SCALE 16u
#define SETTINGS_FLAGS 31u /* all of them */

size_t collection_settings_bytes(const struct collection_settings *settings)
{
    size_t bytes = SETTINGS_HEADER_BYTES + settings->config.bytes;
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        bytes += SETTINGS_VECTOR_BYTES + settings->vectors[i].name.bytes;
    }
    return bytes;
}

/* By their number in the flags. */
static const enum code_bits code_choices[] = {CODE_NONE, CODE_1, CODE_1_5, CODE_2, CODE_4, CODE_8};
#define CODE_CHOICES (sizeof code_choices / sizeof *code_choices)

static uint8_t vector_flags(const struct vector_settings *vector)
{
    unsigned choice = 0;
    while (code_choices[choice] != vector->code_bits) {
        choice++;
        assert(choice < CODE_CHOICES);
    }
    return (uint8_t)((vector->idf ? SETTINGS_IDF : 0u) | choice << SETTINGS_CODES_SHIFT |
                     (vector->code_scale == SCALE_TURBOQUANT_MSE ? SETTINGS_MSE_SCALE : 0u));
}

static uint8_t *vector_encode(const struct vector_settings *vector, uint8_t *data)
{
    data[0] = (uint8_t)vector->kind;
    data[1] = (uint8_t)vector->metric;
    data[2] = (uint8_t)vector->datatype;
    data[3] = vector_flags(vector);
    store32(data + 4, vector->dim);
    store64(data + 8, vector->seed);
    data[16] = (uint8_t)vector->name.bytes;
    if (vector->name.bytes > 0) {
        memcpy(data + SETTINGS_VECTOR_BYTES, vector->name.data, vector->name.bytes);
    }
    return data + SETTINGS_VECTOR_BYTES + vector->name.bytes;
}

uint8_t *collection_settings_encode(const struct collection_settings *settings, size_t *bytes)
{
    *bytes = collection_settings_bytes(settings);
    uint8_t *data = allocate_zeroed(1, *bytes);
    data[0] = SETTINGS_FORMAT;
    data[1] = settings->string_ids ? SETTINGS_STRING_IDS : 0;
    store32(data + 4, settings->vector_count);
    store64(data + 8, settings->first_slot);
    store32(data + 16, (uint32_t)settings->config.bytes);
    uint8_t *next = data + SETTINGS_HEADER_BYTES;
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        next = vector_encode(&settings->vectors[i], next);
    }
    if (settings->config.bytes > 0) {
        memcpy(next, settings->config.data, settings->config.bytes);
    }
    return data;
}

/* Does what is known of one vector make sense? */
static bool vector_is_valid(const struct vector_settings *vector)
{
    const bool codes = vector->kind == VECTOR_DENSE || vector->kind == VECTOR_MULTI;
    return vector->kind <= VECTOR_SPARSE && vector->metric <= METRIC_MANHATTAN &&
           vector->datatype <= DATATYPE_TURBO4 && vector->dim <= CODEC_DIM_MAX &&
           codes == (vector->dim > 0) && vector->name.bytes <= VECTOR_NAME_BYTES_MAX &&
           (codes || (vector->code_bits == CODE_NONE && vector->code_scale == SCALE_EDEN)) &&
           (vector->code_bits != CODE_8 || vector->code_scale == SCALE_EDEN) &&
           (vector->kind != VECTOR_SPARSE || vector->name.bytes > 0);
}

bool collection_settings_valid(const struct collection_settings *settings)
{
    if (settings->vector_count > COLLECTION_VECTORS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        const struct vector_settings *vector = &settings->vectors[i];
        uint16_t first;
        if (!vector_is_valid(vector) ||
            (vector->kind != VECTOR_NONE &&
             (settings_find_vector(settings, vector->name, &first) == NULL || first != i))) {
            return false;
        }
    }
    return true;
}

/* One vector off the front of *rest, its name in there; false when the bytes are none. */
static bool vector_decode(struct span *rest, struct vector_settings *vector)
{
    const uint8_t *data = rest->data;
    if (rest->bytes < SETTINGS_VECTOR_BYTES || rest->bytes - SETTINGS_VECTOR_BYTES < data[16] ||
        (data[3] & ~SETTINGS_FLAGS) != 0) {
        return false;
    }
    const unsigned choice = data[3] >> SETTINGS_CODES_SHIFT & SETTINGS_CODES_MASK;
    if (choice >= CODE_CHOICES) {
        return false;
    }
    *vector = (struct vector_settings){
        .name = {data + SETTINGS_VECTOR_BYTES, data[16]},
        .kind = (enum vector_kind)data[0],
        .metric = (enum metric)data[1],
        .datatype = (enum vector_datatype)data[2],
        .idf = (data[3] & SETTINGS_IDF) != 0,
        .code_bits = code_choices[choice],
        .code_scale = (data[3] & SETTINGS_MSE_SCALE) != 0 ? SCALE_TURBOQUANT_MSE : SCALE_EDEN,
        .dim = load32(data + 4),
        .seed = load64(data + 8),
    };
    rest->data += SETTINGS_VECTOR_BYTES + data[16];
    rest->bytes -= SETTINGS_VECTOR_BYTES + data[16];
    return true;
}

enum error collection_settings_decode(struct span data, struct collection_settings *settings,
                                      struct vector_settings **vectors)
{
    *vectors = NULL;
    if (data.bytes < 1) {
        return ERROR_CORRUPT;
    }
    if (data.data[0] > SETTINGS_FORMAT) {
        return ERROR_NEWER;
    }
    if (data.data[0] != SETTINGS_FORMAT || data.bytes < SETTINGS_HEADER_BYTES ||
        load32(data.data) >> 8 > SETTINGS_STRING_IDS ||
        load32(data.data + 4) > COLLECTION_VECTORS_MAX) {
        return ERROR_CORRUPT;
    }
    const uint32_t count = load32(data.data + 4);
    struct span rest = {data.data + SETTINGS_HEADER_BYTES, data.bytes - SETTINGS_HEADER_BYTES};
    struct vector_settings *decoded = allocate_zeroed(count > 0 ? count : 1, sizeof *decoded);
    bool good = true;
    for (uint32_t i = 0; i < count && good; i++) {
        good = vector_decode(&rest, &decoded[i]);
    }
    *settings = (struct collection_settings){.vectors = decoded,
                                             .vector_count = count,
                                             .first_slot = load64(data.data + 8),
                                             .string_ids = data.data[1] == SETTINGS_STRING_IDS,
                                             .config = rest};
    if (!good || load32(data.data + 16) != rest.bytes || !collection_settings_valid(settings)) {
        *settings = (struct collection_settings){0};
        free(decoded);
        return ERROR_CORRUPT;
    }
    *vectors = decoded;
    return OK;
}
