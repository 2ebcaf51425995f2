/* Keys, value headers and the sizes that follow from a vector's shape. */
#include "storage/format.h"

#include <assert.h>

/* ---- keys ---- */

static void key_add8(struct key *key, uint8_t v)
{
    key->bytes[key->count++] = v;
}

static void key_add16(struct key *key, uint16_t v)
{
    store16_big(key->bytes + key->count, v);
    key->count += 2;
}

static void key_add64(struct key *key, uint64_t v)
{
    store64_big(key->bytes + key->count, v);
    key->count += 8;
}

struct key key_main(enum main_key which)
{
    struct key key = {{0}, 0};
    key_add8(&key, (uint8_t)which);
    return key;
}

struct key key_dead(uint64_t chunk)
{
    struct key key = key_main(MAIN_DEAD);
    key_add64(&key, chunk);
    return key;
}

struct key key_centre(enum main_key which, uint16_t vector, uint64_t number)
{
    struct key key = key_main(which);
    key_add16(&key, vector);
    key_add64(&key, number);
    return key;
}

struct key key_id(const struct point_id *id)
{
    struct key key = {{0}, 0};
    const size_t bytes = id->kind == POINT_ID_NUMBER ? 8 : sizeof id->bytes;
    key_add8(&key, id->kind);
    memcpy(key.bytes + 1, id->bytes, bytes);
    key.count += bytes;
    return key;
}

struct key key_row(uint64_t slot)
{
    struct key key = {{0}, 0};
    key_add64(&key, slot);
    return key;
}

struct key key_run(uint16_t vector, uint64_t first_slot)
{
    struct key key = {{0}, 0};
    key_add16(&key, vector);
    key_add64(&key, first_slot);
    return key;
}

struct key key_blocks(uint16_t vector, uint64_t generation, uint64_t value)
{
    struct key key = key_run(vector, generation);
    key_add64(&key, value);
    return key;
}

struct key key_list(uint16_t vector, uint32_t index, uint64_t first_slot)
{
    struct key key = {{0}, 0};
    key_add16(&key, vector);
    store32(key.bytes + key.count, __builtin_bswap32(index));
    key.count += 4;
    key_add64(&key, first_slot);
    return key;
}

bool key_to_id(struct span key, struct point_id *id)
{
    const bool number = key.bytes == 9 && key.data[0] == POINT_ID_NUMBER;
    const bool other =
        key.bytes == 17 && (key.data[0] == POINT_ID_UUID || key.data[0] == POINT_ID_STRING);
    if (!number && !other) {
        return false;
    }
    *id = (struct point_id){.kind = key.data[0]};
    memcpy(id->bytes, key.data + 1, key.bytes - 1);
    return true;
}

/* ---- values ---- */

static uint32_t value_crc(struct span key, const uint8_t *value, size_t covered)
{
    uint32_t crc = crc32c(0, key.data, key.bytes);
    crc = crc32c(crc, value, 4);
    return crc32c(crc, value + FORMAT_HEADER_BYTES, covered - FORMAT_HEADER_BYTES);
}

void value_seal(struct span key, uint8_t *value, size_t covered, enum value_kind kind,
                uint16_t flags)
{
    assert(covered >= FORMAT_HEADER_BYTES);
    value[0] = FORMAT_NUMBER;
    value[1] = (uint8_t)kind;
    store16(value + 2, flags);
    store32(value + 4, value_crc(key, value, covered));
}

enum error stored_check(struct span key, struct span value, enum value_kind kind,
                        size_t least_bytes)
{
    assert(least_bytes >= FORMAT_HEADER_BYTES);
    if (value.bytes < least_bytes ||
        load32(value.data + 4) != value_crc(key, value.data, value.bytes)) {
        return ERROR_CORRUPT;
    }
    /* After the CRC: a flipped bit must not look like a newer kith. */
    if (value.data[0] > FORMAT_NUMBER) {
        return ERROR_NEWER;
    }
    return value.data[1] == kind ? OK : ERROR_CORRUPT;
}

/* ---- sizes ---- */

/* Blocks a value of `pages` pages holds. */
static size_t blocks_in(size_t pages, size_t block_bytes)
{
    const size_t room =
        pages * FORMAT_PAGE_BYTES - FORMAT_PAGE_HEADER_BYTES - FORMAT_PAGED_HEADER_BYTES;
    return room / (block_bytes + FORMAT_BLOCK_LANES * sizeof(uint64_t));
}

/* The fewest pages, 1 to 4, that are filled to 85 % by blocks; else the best filled of them; for
 * large dims as many as one block needs. One block is rewritten per commit, so less is better. */
static size_t choose_blocks_per_value(size_t block_bytes)
{
    const size_t unit = block_bytes + FORMAT_BLOCK_LANES * sizeof(uint64_t);
    size_t best = 1, best_permille = 0;
    for (size_t pages = 1; pages <= 4; pages++) {
        const size_t blocks = blocks_in(pages, block_bytes);
        const size_t permille = blocks * unit * 1000 / (pages * FORMAT_PAGE_BYTES);
        if (permille > best_permille) {
            best = blocks;
            best_permille = permille;
        }
        if (permille >= 850) {
            break;
        }
    }
    return best;
}

struct layout layout_of(const struct vector_shape *shape)
{
    struct layout layout = {
        .dim = shape->dim, .code_bytes = shape->code_bytes, .block_bytes = shape->block_bytes};
    const size_t run_header = FORMAT_PAGE_HEADER_BYTES + FORMAT_PAGED_HEADER_BYTES;
    const size_t head = RUN_HEAD_CODE + layout.code_bytes;
    layout.head_bytes = head <= 32 ? (head + 15) / 16 * 16 : (head + 63) / 64 * 64;
    layout.row_bytes = layout.head_bytes + size_product(layout.dim, sizeof(float));
    layout.run_rows_max = (FORMAT_RUN_BYTES - run_header) / layout.row_bytes;
    if (layout.run_rows_max == 0) {
        layout.run_rows_max = 1;
    }
    layout.tail_rows_max = (FORMAT_TAIL_RUN_BYTES - run_header) / layout.row_bytes;
    layout.blocks_per_value = choose_blocks_per_value(layout.block_bytes);
    layout.value_bytes =
        paged_bytes(block_slots_offset(&layout) +
                    layout.blocks_per_value * FORMAT_BLOCK_LANES * sizeof(uint64_t));
    layout.centre_bytes = paged_bytes(FORMAT_PAGED_HEADER_BYTES + layout.dim * sizeof(float));
    return layout;
}

struct run_layout run_layout_of(const struct layout *layout, size_t count)
{
    struct run_layout run = {.heads = FORMAT_PAGED_HEADER_BYTES};
    run.vectors = run.heads + count * layout->head_bytes;
    run.end = run.vectors + count * layout->dim * sizeof(float);
    return run;
}
