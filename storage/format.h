/* Everything on disk, byte by byte. Format 0: may change without an upgrade path until the first
 * release. Values are little-endian, keys big-endian so that they sort.
 *
 * DIR/catalog, one table:
 *
 *     key                    value
 *     01                     CATALOG   header, u32 directory format, u32 0
 *     02 name[1..255]        NAME      header, u64 directory number, settings[0..1 MiB]
 *     03                     NEXT      header, u64 next directory number
 *     04 alias[1..255]       ALIAS     header, name of a collection[1..255]
 *
 * DIR/collections/N, tables "ids", "rows", "runs", "blocks", "parts", "fields", "vectors", "lists",
 * and the main table for what is small or few: its leaf is written by every commit anyway. V is the
 * vector's number, u16.
 *
 *     table   key                      value
 *     main    01                       COLLECTION  header, u64 directory number, u32 bits of a
 *                                                  chunk's slots (6 to 14; 14 but in tests), u32 0
 *     main    02                       COUNTERS    header, the u64s of struct counters, u64 id of
 *                                                  the LMDB transaction that wrote it; the u64s of
 *                                                  struct vector_counters for V = 0, 1, ...
 *     main    03 V u64 number          GENERATION  header, u64 code count, u64 value count;
 *                                                  flags: 1 sealed, 2 has a centre
 *     main    04 V u64 number          CENTRE      of a generation, whole pages
 *     main    05 V u64 epoch           EPOCH       its centre, whole pages
 *     main    06 u64 chunk             DEAD        a bit for each of its 16,384 slots, whole pages;
 *                                                  or, flag 1: all are dead and none has anything
 *                                                  stored by slot but in runs that reach beyond
 *                                                  the chunk: header, u64 chunk
 *     main    07 V u64 number          MOVED       lanes of a generation that are in partitions by
 *                                                  now, whole pages; none: no lane
 *     main    08 u32 number            FIELD       header, u64 built, u64 end, u32 name bytes,
 *                                                  u32 0, name, schema (a value); flags: enum
 *                                                  field_state
 *     main    09 V 0                    RECALL      header, u64 codes, u32 stored, u32 made,
 *                                                  u32 live, u32 n, f32 far[n], then twice (base
 *                                                  and in force) f32 share[2][n][7]: for the 10
 *                                                  and the 100 nearest, by distance, by recall
 *     ids     00 u64 number            ID          header, u64 slot
 *     ids     01 UUID[16]              ID          the same
 *     ids     02 hash[16]              ID          the same, of a string
 *     rows    u64 slot                 ROW         header, u64 version, point id[17], u8 n,
 *                                                  u8[n]: the point has vector V if bit V%8 of
 *                                                  byte V/8 is set, of a string id
 *                                                  u16 bytes and the string, payload[0..]
 *     runs    V u64 first slot         RUN         whole pages
 *     blocks  V u64 gen. u64 value     BLOCKS      whole pages
 *     parts   V u64 index              PARTITION   whole pages; flags: index/plan_private.h
 *     vectors V u64 slot               VECTOR      header, u32 dim, u32 count; f32[count][dim] of a
 *                                                  multivector; dim 0: u32 index[count], ascending,
 *                                                  f32 value[count] of a sparse vector
 *     lists   V u32 index u64 slot     LIST        header, u32 count (1 to 240), u32 0;
 *                                                  (u32 slot - the key's slot, f32 value)[count] of
 *                                                  sparse vectors, ascending; the first is 0
 *     fields  u32 field, value's key,  POSTING     header, u32 count, u32 0, then the places of the
 *             u64 chunk                            slots in their chunk of 16,384: u16[count]
 *                                                  ascending, or from 1,025 on 2,048 bytes of bits
 *                                                  (flag 1), place p is bit p%8 of byte p/8
 *
 * A VALUE'S KEY in table fields: one byte, then
 *
 *     01  nothing: the slot has a value that the field's kind can hold
 *     02  nothing: it has a value (no null) that the field's kind cannot hold
 *     03  nothing: what is at the path is not empty, but holds only nulls
 *     04  nothing: at the path is null itself
 *     05  nothing, of a text index: it has more than one text
 *     10  number: u64, the bits of the nearest double (of a negative all inverted, else the
 *         sign), u16 what an integer has beyond it plus 32,768, u8 0 integer or 1 double
 *     11  date-time: u64 microseconds since 1970, the sign bit inverted
 *     12  string: its bytes, 00 as 00 FF, then 00 00; when that would be more than 400 bytes, as
 *         many as fit whole, then 00 01 and a u64 hash of the string
 *     13  UUID[16], of strings in the hyphenated lower-case form
 *     14  bool: u8 0 or 1
 *     16  a token of a text, as a string
 *     20  of numbers, date-times and places, many values: u8 level, u64. Of numbers and date-times
 *         that of 10 and 11 with its last bits zero: 52, 46, 40 by level, and 44, 38, 32. Of
 *         places bits of longitude (even) and latitude (odd) interleaved from the top, each
 *         scaled to 32 bits, the last zero: 56, 52, 48, 44, 40, 36. A value is under each level
 *
 * The header every value begins with:
 *
 *     bytes   field
 *     0       format, 0
 *     1       kind (enum value_kind)
 *     2..3    flags
 *     4..7    CRC32C of the key, of bytes 0..3, and of everything from byte 8 on (RUN: to the end
 *             of its heads). The key belongs to it so that a page in another's place is noticed
 *
 * WHOLE PAGES: values that readers reach by a cached pointer are 4,096 p - 16 bytes, zero at the
 * end. LMDB then gives each its own overflow pages, 16 bytes behind their start, and it moves only
 * when its own key is put; smaller ones share a leaf that a neighbour's change moves. The header is
 * continued to 48 bytes, so that what follows it begins on a 64-byte border:
 *
 *     CENTRE, EPOCH      8..15 u64 number, 16..19 u32 dim, 20..47 zero; f32[dim], rotated
 *
 *     DEAD               8..15 u64 chunk, 16..47 zero; 2,048 bytes, slot s of the chunk is bit s%8
 *                        of byte s/8 (not of those with flag 1: they are 16 bytes)
 *
 *     BLOCKS             8..15 u64 generation, 16..23 u64 value, 24..27 u32 code count,
 *                        28..31 u32 block bytes, 32..35 u32 blocks, 36..47 zero;
 *                        the blocks, as codec_block_put makes them: u8 column[][16], f32 f_mul[32],
 *                        f32 f_add[32], at 2 bits a dim (32 to 256 dims) u8 heavy[32];
 *                        u64 slot[32 * blocks], behind them so that a scan does not touch them
 *
 *     MOVED              8..15 u64 generation, 16..19 u32 bytes, 20..47 zero; u8[bytes], lane i is
 *                        bit i%8 of byte i/8
 *
 *     PARTITION          8..15 u64 index, 16..19 u32 code count, 20..23 u32 block bytes, 24..27 u32
 *                        dim, 28..31 f32 radius, 32..35 u32 CRC32C of the key, bytes 0..3 and
 *                        8..31 and the centre (0: none), 36..47 zero; f32 centre[dim], not rotated,
 * zeros up to the next 64-byte border; blocks of 32 codes, as many as the count needs; u64 slot[32
 * * blocks]
 *
 *     RUN                8..15 u64 first slot, 16..19 u32 count, 20..23 u32 epoch of the codes,
 *                        24..27 u32 dim, 28..31 u32 code bytes, 32..47 zero; heads[count]: f32
 *                        f_mul, f32 f_add, u32 CRC32C of the vector, u8 code[code bytes], zeros up
 *                        to the next multiple of 64 bytes (of 16 if a head takes no more than 32);
 *                        here ends what the header's CRC covers; f32 vector[count][dim].
 *                        So all that a search reads of a point before its vector is side by side:
 *                        at 100 dims one cache line, where three arrays took three pages */
#ifndef KITH_STORAGE_FORMAT_H
#define KITH_STORAGE_FORMAT_H

#include "storage/points.h"

#define FORMAT_NUMBER 0
#define FORMAT_HEADER_BYTES 8
#define FORMAT_PAGE_BYTES 4096u
#define FORMAT_PAGE_HEADER_BYTES 16u  /* LMDB's, of the first page of an overflow value */
#define FORMAT_PAGED_HEADER_BYTES 48u /* of a whole-page value */
#define FORMAT_BLOCK_LANES 32u
#define FORMAT_PAGES_MAX 4096u /* of one value: 16 MiB, far above a row or block of 65,536 dims */

/* A run: extended while it stays within the first, never longer than the second unless one row is.
 */
#define FORMAT_TAIL_RUN_BYTES (4u * FORMAT_PAGE_BYTES)
#define FORMAT_RUN_BYTES (64u * FORMAT_PAGE_BYTES)

/* Slots of a chunk, as a power of two: of every collection but those that tests make. */
#define FORMAT_CHUNK_BITS 14u
#define FORMAT_CHUNK_BITS_MIN 6u
/* Of a DEAD value's bits, whatever the collection's chunks are. */
#define FORMAT_DEAD_BYTES (((size_t)1 << FORMAT_CHUNK_BITS) / 8)

#define FORMAT_PARTITIONS_MAX (UINT32_C(1) << 24) /* indexes: 4 billion codes of a vector */

#define FORMAT_NAME_BYTES_MAX 255u
#define FORMAT_SETTINGS_BYTES_MAX ((size_t)1 << 20)

enum value_kind {
    KIND_CATALOG = 1,
    KIND_NAME = 2,
    KIND_NEXT = 3,
    KIND_COLLECTION = 4,
    KIND_COUNTERS = 5,
    KIND_GENERATION = 6,
    KIND_CENTRE = 7,
    KIND_EPOCH = 8,
    KIND_DEAD = 9,
    KIND_ID = 10,
    KIND_ROW = 11,
    KIND_RUN = 12,
    KIND_BLOCKS = 13,
    KIND_PARTITION = 14,
    KIND_MOVED = 15,
    KIND_FIELD = 16,
    KIND_POSTING = 17,
    KIND_VECTOR = 18,
    KIND_LIST = 19,
    KIND_RECALL = 21,
    KIND_ALIAS = 20,
};

#define FLAG_SEALED 1u     /* GENERATION */
#define FLAG_HAS_CENTRE 2u /* GENERATION */
#define FLAG_BITMAP 1u     /* POSTING */
#define FLAG_ALL_DEAD 1u   /* DEAD */

/* ---- keys ---- */

enum main_key {
    MAIN_COLLECTION = 1,
    MAIN_COUNTERS = 2,
    MAIN_GENERATION = 3,
    MAIN_CENTRE = 4,
    MAIN_EPOCH = 5,
    MAIN_DEAD = 6,
    MAIN_MOVED = 7,
    MAIN_FIELD = 8,
    MAIN_RECALL = 9,
};
enum catalog_key { CATALOG_FORMAT = 1, CATALOG_NAME = 2, CATALOG_NEXT = 3, CATALOG_ALIAS = 4 };

#define FORMAT_KEY_BYTES_MAX (1 + FORMAT_NAME_BYTES_MAX)
struct key {
    uint8_t bytes[20];
    size_t count;
};

/* main: one byte; one byte and a u64; one byte, a vector and a u64. */
struct key key_main(enum main_key which);
struct key key_dead(uint64_t chunk);
struct key key_centre(enum main_key which, uint16_t vector, uint64_t number);
struct key key_id(const struct point_id *id);
struct key key_row(uint64_t slot);
struct key key_run(uint16_t vector, uint64_t first_slot);
struct key key_blocks(uint16_t vector, uint64_t generation, uint64_t value);
struct key key_list(uint16_t vector, uint32_t index, uint64_t first_slot);

/* A key of table ids; false when it is none. */
bool key_to_id(struct span key, struct point_id *id);

static inline struct span key_span(const struct key *key)
{
    return span_of(key->bytes, key->count);
}

/* ---- values ---- */

/* The header for value[bytes], CRC over the first `covered` of them (all but for runs). */
void value_seal(struct span key, uint8_t *value, size_t covered, enum value_kind kind,
                uint16_t flags);
/* OK; ERROR_NEWER for a format above ours; ERROR_CORRUPT for another kind, a value shorter than
 * least_bytes or a CRC that does not hold. Reads value.data[0..covered). */
enum error stored_check(struct span key, struct span value, enum value_kind kind,
                        size_t least_bytes) MUST_CHECK;
static inline uint16_t value_flags(const uint8_t *value)
{
    return load16(value + 2);
}

/* Bytes of a whole-page value that holds at least `bytes`. */
static inline size_t paged_bytes(size_t bytes)
{
    const size_t whole = bytes + FORMAT_PAGE_HEADER_BYTES + FORMAT_PAGE_BYTES - 1;
    return whole / FORMAT_PAGE_BYTES * FORMAT_PAGE_BYTES - FORMAT_PAGE_HEADER_BYTES;
}

#define COUNTERS_BYTES (FORMAT_HEADER_BYTES + sizeof(struct counters) + 8) /* without vectors */
#define COLLECTION_BYTES (FORMAT_HEADER_BYTES + 16)
#define ALL_DEAD_BYTES (FORMAT_HEADER_BYTES + 8)
#define GENERATION_BYTES (FORMAT_HEADER_BYTES + 16)
#define ID_BYTES (FORMAT_HEADER_BYTES + 8)
#define FIELD_BYTES (FORMAT_HEADER_BYTES + 24)
#define POSTING_BYTES (FORMAT_HEADER_BYTES + 8)
#define ROW_ID_OFFSET 16u
#define ROW_SET_OFFSET 33u /* its count of bytes; at least 34 bytes are a row */
#define NAME_SETTINGS_OFFSET 16u

/* Sizes that follow from a vector's shape. */
struct layout {
    size_t dim, code_bytes, block_bytes;
    size_t head_bytes;       /* factors, CRC and code of one row of a run */
    size_t row_bytes;        /* the same with its vector */
    size_t run_rows_max;     /* rows a run holds */
    size_t tail_rows_max;    /* rows up to which a tail run is extended; may be 0 */
    size_t blocks_per_value; /* at least 1 */
    size_t value_bytes;      /* of a block value */
    size_t centre_bytes;
};
struct layout layout_of(const struct vector_shape *shape);

/* Offsets inside a run of `count` rows. */
struct run_layout {
    size_t heads, vectors, end;
};
struct run_layout run_layout_of(const struct layout *layout, size_t count);
/* Offsets inside a head. */
#define RUN_HEAD_FACTORS 0u
#define RUN_HEAD_CRC 8u
#define RUN_HEAD_CODE 12u

/* Where the slots of a block value begin. */
static inline size_t block_slots_offset(const struct layout *layout)
{
    return FORMAT_PAGED_HEADER_BYTES + layout->blocks_per_value * layout->block_bytes;
}

#endif
