#include "index/slots.h"

#include <assert.h>
#include <stdlib.h>

#include <roaring/roaring.h>

/* Bitmaps come in and go out by the portable format of CRoaring (its RoaringFormatSpec): whole
 * containers of 65,536 slots, which costs nanoseconds a thousand slots where adding one by one
 * costs microseconds. */
#define COOKIE_PLAIN 12346u
#define COOKIE_RUNS 12347u
#define NO_OFFSETS_BELOW 4u
#define CONTAINER_SLOTS 65536u
#define CONTAINER_BYTES (CONTAINER_SLOTS / 8)
#define ARRAY_MAX 4096u /* containers of fewer slots are arrays */
#define FEW 64u         /* slots that are added one by one */

struct slot_part {
    uint32_t high;
    roaring_bitmap_t *low;
};

static roaring_bitmap_t *made(roaring_bitmap_t *bitmap)
{
    if (bitmap == NULL)
        abort(); /* out of memory, as everywhere */
    return bitmap;
}

void slots_init(struct slots *slots)
{
    *slots = (struct slots){0};
}

void slots_release(struct slots *slots)
{
    for (size_t i = 0; i < slots->count; i++)
        roaring_bitmap_free(slots->parts[i].low);
    free(slots->parts);
    *slots = (struct slots){0};
}

void slots_move(struct slots *to, struct slots *from)
{
    slots_release(to);
    *to = *from;
    *from = (struct slots){0};
}

/* The first part at or behind a high half. */
static size_t part_at(const struct slots *slots, uint32_t high)
{
    size_t low = 0, end = slots->count;
    while (low < end) {
        size_t middle = (low + end) / 2;
        if (slots->parts[middle].high < high)
            low = middle + 1;
        else
            end = middle;
    }
    return low;
}

static roaring_bitmap_t *part_find(const struct slots *slots, uint32_t high)
{
    size_t i = part_at(slots, high);
    return i < slots->count && slots->parts[i].high == high ? slots->parts[i].low : NULL;
}

/* Takes the bitmap. */
static void part_insert(struct slots *slots, uint32_t high, roaring_bitmap_t *low)
{
    size_t i = part_at(slots, high);
    if (slots->count == slots->capacity) {
        slots->capacity = slots->capacity == 0 ? 1 : 2 * slots->capacity;
        slots->parts = grow(slots->parts, size_product(slots->capacity, sizeof *slots->parts));
    }
    memmove(&slots->parts[i + 1], &slots->parts[i], (slots->count - i) * sizeof *slots->parts);
    slots->parts[i] = (struct slot_part){high, low};
    slots->count++;
}

static roaring_bitmap_t *part_need(struct slots *slots, uint32_t high)
{
    roaring_bitmap_t *low = part_find(slots, high);
    if (low == NULL) {
        low = made(roaring_bitmap_create());
        part_insert(slots, high, low);
    }
    return low;
}

void slots_add(struct slots *slots, uint64_t slot)
{
    roaring_bitmap_add(part_need(slots, (uint32_t)(slot >> 32)), (uint32_t)slot);
}

/* ---- postings in ---- */

/* The places of a posting as values of its container, in the portable format's array. */
static void put_array(const struct posting *posting, uint32_t first, uint8_t *out)
{
    if (!posting->bitmap) {
        for (uint32_t i = 0; i < posting->count; i++)
            store16(out + 2 * i, (uint16_t)(first + load16(posting->data + 2 * (size_t)i)));
        return;
    }
    for (uint32_t word = 0; word < POSTING_BITMAP_BYTES / 8; word++) {
        for (uint64_t bits = load64(posting->data + 8 * word); bits != 0; bits &= bits - 1) {
            store16(out, (uint16_t)(first + 64 * word + (uint32_t)__builtin_ctzll(bits)));
            out += 2;
        }
    }
}

static void put_bitmap(const struct posting *posting, uint32_t first, uint8_t *out)
{
    memset(out, 0, CONTAINER_BYTES);
    memcpy(out + first / 8, posting->data, POSTING_BITMAP_BYTES);
}

/* What a damaged posting says of itself may be wrong: its bits are counted, not believed. */
static uint32_t posting_count_places(const struct posting *posting)
{
    if (!posting->bitmap)
        return posting->count;
    uint32_t count = 0;
    for (uint32_t word = 0; word < POSTING_BITMAP_BYTES / 8; word++)
        count += (uint32_t)__builtin_popcountll(load64(posting->data + 8 * word));
    return count;
}

void slots_add_posting(struct slots *slots, const struct posting *posting)
{
    const uint64_t first = posting->chunk << POSTING_CHUNK_BITS;
    roaring_bitmap_t *low = part_need(slots, (uint32_t)(first >> 32));
    if (!posting->bitmap && posting->count <= FEW) {
        for (uint32_t i = 0; i < posting->count; i++)
            roaring_bitmap_add(low, (uint32_t)first + load16(posting->data + 2 * (size_t)i));
        return;
    }
    uint8_t buffer[16 + CONTAINER_BYTES];
    const uint32_t count = posting_count_places(posting);
    if (count == 0)
        return;
    store32(buffer, COOKIE_PLAIN);
    store32(buffer + 4, 1);
    store16(buffer + 8, (uint16_t)((uint32_t)first / CONTAINER_SLOTS));
    store16(buffer + 10, (uint16_t)(count - 1));
    store32(buffer + 12, 16);
    if (count > ARRAY_MAX)
        put_bitmap(posting, (uint32_t)first % CONTAINER_SLOTS, buffer + 16);
    else
        put_array(posting, (uint32_t)first % CONTAINER_SLOTS, buffer + 16);
    roaring_bitmap_t *own =
        made(roaring_bitmap_portable_deserialize_safe((const char *)buffer, sizeof buffer));
    roaring_bitmap_or_inplace(low, own);
    roaring_bitmap_free(own);
}

/* ---- gathering ---- */

struct gathered_chunk {
    uint64_t chunk;
    uint8_t *bits; /* [POSTING_BITMAP_BYTES]; malloc'd */
};

void gather_init(struct slot_gather *gather)
{
    *gather = (struct slot_gather){0};
}

static uint8_t *gather_chunk(struct slot_gather *gather, uint64_t chunk)
{
    if (gather->last < gather->count && gather->chunks[gather->last].chunk == chunk)
        return gather->chunks[gather->last].bits;
    size_t low = 0, end = gather->count;
    while (low < end) {
        const size_t middle = (low + end) / 2;
        if (gather->chunks[middle].chunk < chunk)
            low = middle + 1;
        else
            end = middle;
    }
    gather->last = low;
    if (low < gather->count && gather->chunks[low].chunk == chunk)
        return gather->chunks[low].bits;
    if (gather->count == gather->capacity) {
        gather->capacity = gather->capacity == 0 ? 8 : 2 * gather->capacity;
        gather->chunks =
            grow(gather->chunks, size_product(gather->capacity, sizeof *gather->chunks));
    }
    memmove(&gather->chunks[low + 1], &gather->chunks[low],
            (gather->count - low) * sizeof *gather->chunks);
    gather->chunks[low] = (struct gathered_chunk){chunk, allocate_zeroed(POSTING_BITMAP_BYTES, 1)};
    gather->count++;
    return gather->chunks[low].bits;
}

void gather_add(struct slot_gather *gather, const struct posting *posting)
{
    uint8_t *bits = gather_chunk(gather, posting->chunk);
    for (uint32_t i = 0; !posting->bitmap && i < posting->count; i++) {
        const uint32_t place = load16(posting->data + 2 * (size_t)i) % POSTING_CHUNK_SLOTS;
        bits[place / 8] |= (uint8_t)(1u << place % 8);
    }
    for (size_t i = 0; posting->bitmap && i < POSTING_BITMAP_BYTES; i++)
        bits[i] |= posting->data[i];
}

void gather_end(struct slot_gather *gather, struct slots *slots)
{
    for (size_t i = 0; i < gather->count; i++) {
        const struct posting posting = {
            .chunk = gather->chunks[i].chunk, .bitmap = true, .data = gather->chunks[i].bits};
        slots_add_posting(slots, &posting);
        free(gather->chunks[i].bits);
    }
    free(gather->chunks);
    gather_init(gather);
}

/* ---- sets ---- */

void slots_copy(struct slots *to, const struct slots *from)
{
    slots_release(to);
    slots_or(to, from);
}

void slots_and(struct slots *slots, const struct slots *other)
{
    size_t kept = 0;
    for (size_t i = 0; i < slots->count; i++) {
        struct slot_part part = slots->parts[i];
        const roaring_bitmap_t *low = part_find(other, part.high);
        if (low != NULL)
            roaring_bitmap_and_inplace(part.low, low);
        if (low == NULL || roaring_bitmap_is_empty(part.low))
            roaring_bitmap_free(part.low);
        else
            slots->parts[kept++] = part;
    }
    slots->count = kept;
}

void slots_or(struct slots *slots, const struct slots *other)
{
    for (size_t i = 0; i < other->count; i++) {
        const struct slot_part *part = &other->parts[i];
        roaring_bitmap_t *low = part_find(slots, part->high);
        if (low != NULL)
            roaring_bitmap_or_inplace(low, part->low);
        else
            part_insert(slots, part->high, made(roaring_bitmap_copy(part->low)));
    }
}

void slots_and_not(struct slots *slots, const struct slots *other)
{
    for (size_t i = 0; i < slots->count; i++) {
        const roaring_bitmap_t *low = part_find(other, slots->parts[i].high);
        if (low != NULL)
            roaring_bitmap_andnot_inplace(slots->parts[i].low, low);
    }
}

uint64_t slots_count(const struct slots *slots)
{
    uint64_t count = 0;
    for (size_t i = 0; i < slots->count; i++)
        count += roaring_bitmap_get_cardinality(slots->parts[i].low);
    return count;
}

size_t slots_bytes(const struct slots *slots)
{
    size_t bytes = 0;
    for (size_t i = 0; i < slots->count; i++)
        bytes += roaring_bitmap_portable_size_in_bytes(slots->parts[i].low);
    return bytes;
}

bool slots_have(const struct slots *slots, uint64_t slot)
{
    const roaring_bitmap_t *low = part_find(slots, (uint32_t)(slot >> 32));
    return low != NULL && roaring_bitmap_contains(low, (uint32_t)slot);
}

uint64_t slots_count_posting(const struct slots *slots, const struct posting *posting)
{
    const uint64_t first = posting->chunk << POSTING_CHUNK_BITS;
    const roaring_bitmap_t *low = part_find(slots, (uint32_t)(first >> 32));
    uint64_t count = 0;
    if (low == NULL)
        return 0;
    if (!posting->bitmap && posting->count <= FEW) {
        for (uint32_t i = 0; i < posting->count; i++)
            count += roaring_bitmap_contains(low, (uint32_t)first +
                                                      load16(posting->data + 2 * (size_t)i));
        return count;
    }
    struct slots own = {0};
    slots_add_posting(&own, posting);
    count = own.count > 0 ? roaring_bitmap_and_cardinality(own.parts[0].low, low) : 0;
    slots_release(&own);
    return count;
}

/* ---- out ---- */

size_t slots_list(const struct slots *slots, uint64_t from, uint64_t *out, size_t max)
{
    size_t count = 0;
    uint32_t low_from = (uint32_t)from;
    for (size_t i = part_at(slots, (uint32_t)(from >> 32)); i < slots->count && count < max; i++) {
        const struct slot_part *part = &slots->parts[i];
        roaring_uint32_iterator_t at;
        roaring_init_iterator(part->low, &at);
        if (part->high == (uint32_t)(from >> 32) && low_from > 0)
            roaring_move_uint32_iterator_equalorlarger(&at, low_from);
        for (; at.has_value && count < max; roaring_advance_uint32_iterator(&at))
            out[count++] = (uint64_t)part->high << 32 | at.current_value;
    }
    return count;
}

struct bits {
    uint8_t *bits;
    uint64_t base, count;
};

static void set_bit(const struct bits *bits, uint64_t slot)
{
    if (slot >= bits->base && slot - bits->base < bits->count)
        bits->bits[(slot - bits->base) / 8] |= (uint8_t)(1u << (slot - bits->base) % 8);
}

/* A container's bits; by bytes where they lie as they do in the output. */
static void copy_bits(const struct bits *bits, uint64_t first, const uint8_t *data)
{
    bool aligned = bits->base % 8 == 0 && first >= bits->base &&
                   first - bits->base + CONTAINER_SLOTS <= bits->count;
    if (aligned) {
        uint8_t *out = bits->bits + (first - bits->base) / 8;
        for (size_t i = 0; i < CONTAINER_BYTES; i++)
            out[i] |= data[i];
        return;
    }
    for (uint32_t word = 0; word < CONTAINER_BYTES / 8; word++)
        for (uint64_t left = load64(data + 8 * word); left != 0; left &= left - 1)
            set_bit(bits, first + 64 * word + (uint32_t)__builtin_ctzll(left));
}

/* One container of the portable format; returns its bytes. */
static size_t container_to_bits(const struct bits *bits, uint64_t first, uint32_t cardinality,
                                bool runs, const uint8_t *data)
{
    if (runs) {
        const uint32_t count = load16(data);
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t begin = load16(data + 2 + 4 * i), more = load16(data + 4 + 4 * i);
            for (uint32_t j = 0; j <= more; j++)
                set_bit(bits, first + begin + j);
        }
        return 2 + 4 * (size_t)count;
    }
    if (cardinality > ARRAY_MAX) {
        copy_bits(bits, first, data);
        return CONTAINER_BYTES;
    }
    for (uint32_t i = 0; i < cardinality; i++)
        set_bit(bits, first + load16(data + 2 * i));
    return 2 * (size_t)cardinality;
}

static void part_to_bits(const struct slot_part *part, const struct bits *bits)
{
    uint8_t *buffer = allocate(roaring_bitmap_portable_size_in_bytes(part->low) + 8);
    (void)roaring_bitmap_portable_serialize(part->low, (char *)buffer);
    const uint32_t cookie = load32(buffer);
    const bool runs = (cookie & 0xffff) == COOKIE_RUNS;
    const uint32_t count = runs ? (cookie >> 16) + 1 : load32(buffer + 4);
    const uint8_t *flags = buffer + 4, *keys = runs ? flags + (count + 7) / 8 : buffer + 8;
    const uint8_t *data = keys + 4 * (size_t)count;
    assert(runs || (cookie & 0xffff) == COOKIE_PLAIN);
    if (!runs || count >= NO_OFFSETS_BELOW)
        data += 4 * (size_t)count;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t first =
            ((uint64_t)part->high << 32) + (uint64_t)load16(keys + 4 * i) * CONTAINER_SLOTS;
        data += container_to_bits(bits, first, (uint32_t)load16(keys + 4 * i + 2) + 1,
                                  runs && (flags[i / 8] >> i % 8 & 1) != 0, data);
    }
    free(buffer);
}

void slots_to_bits(const struct slots *slots, uint64_t base, uint8_t *bits, uint64_t bit_count)
{
    const struct bits out = {bits, base, bit_count};
    for (size_t i = 0; i < slots->count; i++)
        part_to_bits(&slots->parts[i], &out);
}
