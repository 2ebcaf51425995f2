/* Vectors to codes and back.
 *
 * A code keeps a vector in a few bits a dimension, so that the inner product with any query can be
 * estimated from it, and tells how far off the estimate may be. A search scans codes and looks at a
 * vector itself only where the bound says that it may be among the best, so codes make searches
 * fast and never wrong by more than a bound that errs. What follows is all there is to it.
 *
 * ROTATION (rotate.h). Coordinates of real vectors are unlike each other: some large, many near 0.
 * A random rotation R, the same for all vectors and drawn from a seed, spreads every vector evenly:
 * of whatever x, the coordinates of z = Rx sqrt(d)/|x| look like d draws from N(0,1). Inner
 * products are those of the unrotated: <Rq,Rx> = <q,x>. R is three rounds of random signs, a fixed
 * permutation and Walsh-Hadamard transforms: d log d additions and no matrix. One round does not
 * mix chunks, two leave sparse vectors up to 2.8 times worse than average, three within 6 % (64
 * dims) to 2 % (384 on).
 *
 * LEVELS (codebook.h). As every coordinate is N(0,1), one set of levels serves all data, and
 * nothing is learnt: Lloyd and Max's 2^b levels, each the mean of what rounds to it, have the least
 * mean squared error D_b of any (.363, .117, .0095 at b = 1, 2, 4; no code whatever can go below
 * 4^-b). They are small integers times a unit, so that ip = <Rq, c> is summed in integers, alike on
 * every CPU. At 4 bits five sizes of z are tried and the code c with the largest cosine to it kept,
 * which saves 4 to 16 % of the error.
 *
 * SCALE. The code has a direction; the length S to give it is one float. What comes nearest to x is
 * not what is wanted: it makes every estimate too small, each vector's by another share, and that
 * ranks near neighbours wrongly. EDEN's
 *
 *     S = |r|^2 / <Rr, c>        so that x^ = S R'c has <x^, r> = |r|^2 exactly
 *
 * puts all of the error across r. So the estimate S <Rq, c> of <q, r> is unbiased, and its noise
 * vanishes as q turns towards r, where it matters. This alone is 7 to 13 times less noise at cosine
 * .9 than with the scale that TurboQuant takes, at the same 2 to 4 bits. (By estimates alone, with
 * no bounds and nothing scored again, codes of small rho are overrated among many candidates: there
 * S rho, the matched norm, finds up to .03 more of SIFT's neighbours at 1 bit and .01 at 2, from
 * the same codes. No search here ends with estimates.)
 *
 * CENTRES. r = x - m is coded and not x: m is the mean of what lies near x, so |r| is small, and
 * with it the error. Two floats stored with each code make up for m under each metric, so that
 * one scan over codes of any centre is one multiplication and one addition a code:
 *
 *     estimated key = A(q,m) + f_add + f_mul * ip
 *
 *                   A(q,m)       f_mul   f_add
 *     Cosine, Dot   <q,m>        S       <r,m> - S <c,Rm>
 *     Euclid        -|q-m|^2     2 S     -|r|^2 - 2 S <c,Rm>
 *
 * A KEY is larger for better, under every metric: the inner product, minus the squared distance,
 * minus the distance (Manhattan, which no codes help: exact scans). Clients see metric_score(key).
 *
 * BOUNDS. With rho the cosine of r and c, the error is that of one coordinate of a random direction
 * across r, so it is as good as normal with standard deviation, the HALF WIDTH,
 *
 *     |r| |g_| sqrt((1/rho^2 - 1) / (d - 1)),    g_ the part of q - m across r
 *
 * (Gao and Long's bound, with g_ for |q - m|). Nothing more is stored for it: |r| and rho follow
 * from S, |c| and one byte, 1 - rho^2, in the low byte of f_mul; g_ from |q - m|^2 = along^2 +
 * g_^2, along = <q - m, r>/|r| by the estimate itself. A scan first allows each code what the mean
 * code of its bits would need with all of |q - m|, one constant per query, then looks at what
 * passes.
 *
 * CALIBRATION. A code is dropped when estimate + epsilon half widths is below the k-th best key so
 * far. Errors of true neighbours, in half widths, have mean 0 and deviation .97 to 1.02 on words,
 * sentences, digits and SIFT at every number of bits, so epsilon is one number for all dims and
 * data; CODEC_EPSILON_* says what it costs and finds. Two things had to be right for that. |r| must
 * be the code's own: told from S and D_b alone it is off by some 2 % at 128 dims, and where q lies
 * nearly along r, as SIFT's neighbours do, g_ is the small difference of two large squares: it came
 * out as next to nothing, and .8 to 2.5 % of SIFT's neighbours at 1 bit erred by more than 3 such
 * "half widths", by rotation (.12 % with the true |r|). That is what the byte is for; a slack of
 * 1.2 % of |q - m|^2 (.1 % at 4 bits) covers its rounding, and under Euclid and Cosine <q - m, r>
 * is told from the lengths as well, where errors of |r| cancel. And the integers of a rounded query
 * are scaled as codes are, EDEN's way: plainly rounded, sparse queries were biased.
 * tests/unit/codec_stats_test.c and `make codec-epsilon` hold all of this.
 *
 * STAGES. Blocks of 1 or 2 bits are scanned (32 codes at a time by table look-ups in registers:
 * FastScan), what passes is looked at by its 4-bit code, what still passes by its float32 vector,
 * exactly. Fewer bits cost more exact scores, not recall.
 *
 * The same vector gives the same bytes on every CPU and compiler. Libc and libm only; no allocation
 * after codec_new; no call here can fail. Everything is thread-safe except writing to one query or
 * buffer from two threads.
 *
 * Sources: Max (1960), Lloyd (1982), levels; Ailon and Chazelle, the fast Johnson-Lindenstrauss
 * transform (STOC 2006), rotations of this kind; Vargaftik et al., DRIVE (NeurIPS 2021) and EDEN
 * (ICML 2022), the unbiased scale; Gao and Long, RaBitQ (SIGMOD 2024), residuals and bounds; Andre,
 * Kermarrec and Le Scouarnec, Quick ADC (ICMR 2017) and faiss, FastScan; Zandieh et al.,
 * TurboQuant (arXiv 2504.19874), compared in tests/family.h.
 */
#ifndef KITH_CODEC_CODEC_H
#define KITH_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CODEC_DIM_MAX 65536u
#define CODEC_BLOCK_LANES 32u /* codes in a FastScan block */
/* Half widths to allow: a point is missed when its error is larger, on the side that hides it. Of
 * the true ten, at 2.5 GloVe and sentences find .9988 and .9987; at 2.75 those, SIFT and digits
 * find .9995 or more and take 12 to 27.2 exact keys a query; at 3 .9997 or more and up to 29.7.
 * Asked for are .999 and 30, on every set and whatever rotation is drawn. */
#define CODEC_EPSILON_1BIT 2.75f
#define CODEC_EPSILON_4BIT 2.75f
/* Up to here the first stage has two bits a dim: codes are so short that what a second bit costs
 * the scan is less than what it saves in candidates (GloVe, 100 dims: 13 times fewer). */
#define CODEC_TWO_BIT_DIM_MAX 256u
#define CODEC_SCAN_DIM_MIN 32u /* below this the bounds are too loose: search is an exact scan */

enum metric { METRIC_COSINE = 0, METRIC_DOT = 1, METRIC_EUCLID = 2, METRIC_MANHATTAN = 3 };

/* What a client sees for a key: Cosine, Dot: key; Euclid: sqrt(-key); Manhattan: -key. */
float metric_score(enum metric metric, float key);
/* The inverse, for score thresholds (Euclid: -(score*score), rounded so that order is kept). */
float metric_key(enum metric metric, float score);
/* "Cosine", "Dot", "Euclid", "Manhattan". metric_parse returns false for any other text. */
const char *metric_name(enum metric metric);
bool metric_parse(const char *text, size_t text_bytes, enum metric *metric);

/* Bits a dim of a code. CODE_1_5: one bit of each of ceil(1.5 dim) dims that the rotated vector is
 * spread over by a rotation more. */
enum code_bits { CODE_NONE = 0, CODE_1 = 1, CODE_2 = 2, CODE_4 = 4, CODE_8 = 8, CODE_1_5 = 15 };

/* The scale S stored with a code. EDEN's |r|^2/<Rr,c> makes every estimate unbiased.
 * TurboQuant_mse's |r|/sqrt(d) is there for those who ask for it by name: without a look at the
 * code (nor the search for a better one at 4 bits), it shrinks estimates by some 36 % at 1 bit, 12
 * % at 2 and 1 % at 4, each vector's by its own share. The bounds know that share and are wider by
 * it, so searches stay as good and look at more candidates. */
enum code_scale { SCALE_EDEN = 0, SCALE_TURBOQUANT_MSE = 1 };

struct kernels; /* kernels.h: one table of functions per instruction set */
struct codec;

/* The two factors stored with every code, per stage. */
struct code_factors {
    float f_mul; /* S (Cosine, Dot) or 2S (Euclid), unit of the integer levels folded in */
    float f_add;
};

/* New codec for vectors of `dim` floats, 1..CODEC_DIM_MAX, and a rotation `seed`. kernels: a table
 * from kernels.h, or NULL for the best this CPU has (KITH_KERNELS in the environment overrides).
 * Owner: the caller, codec_free. Aborts when out of memory; the only function here that allocates.
 */
struct codec *codec_new(uint32_t dim, uint64_t seed, const struct kernels *kernels);
/* The same with a first stage (blocks, scanned) of `first` bits, any but CODE_NONE, and a
 * second (row codes) of `second`, CODE_NONE, CODE_4 or CODE_8. codec_new: codec_first_bits_for(dim)
 * and CODE_4. Nothing else depends on them: a rotated vector and a centre are float[dim] always.
 * A first stage of CODE_4 or CODE_8 scans whole sets at that precision, at the speed of memory: for
 * who wants few candidates more than short scans. Collections scan 1 or 2 bits, whose candidates
 * are then looked up as rows of the second stage. */
struct codec *codec_new_bits(uint32_t dim, uint64_t seed, unsigned first, unsigned second,
                             const struct kernels *kernels);
/* And with a scale, codec_new_bits: SCALE_EDEN. */
struct codec *codec_new_scaled(uint32_t dim, uint64_t seed, unsigned first, unsigned second,
                               enum code_scale scale, const struct kernels *kernels);
unsigned codec_first_bits_for(uint32_t dim);
unsigned codec_first_bits(const struct codec *codec);
unsigned codec_second_bits(const struct codec *codec);
enum code_scale codec_scale(const struct codec *codec);
void codec_free(struct codec *codec);
uint32_t codec_dim(const struct codec *codec);
const char *codec_kernels_name(const struct codec *codec);

/* Scratch that rotate, encode and query_init need: bytes, 64-byte aligned, the caller's. */
size_t codec_work_bytes(const struct codec *codec);

/* y = R x. x float[dim] finite, y float[dim], may not overlap. Bit-identical on every CPU. */
void codec_rotate(const struct codec *codec, const float *x, float *y, void *work);

/* Normalise to unit length in place as the API asks: left alone when | |v|^2 - 1 | <= 1e-6 or
 * |v|^2 is below FLT_EPSILON. Same bytes on every CPU. */
void codec_normalise(const struct codec *codec, float *x);

/* ---- encoding ---------------------------------------------------------------------------- */

/* Bytes of one row-major code: CODE_NONE 0; CODE_1 and CODE_1_5: a bit a dim, bit j of byte j/8 set
 * when level j is positive; CODE_2: the level's rank 0..3 in bits 2 (j%4) of byte j/4; CODE_4: row
 * nibbles, codec_internal.h says the order; CODE_8: int8 k, the level is 2 k + 1. */
size_t codec_code_bytes(const struct codec *codec, unsigned bits);

/* Encode one rotated vector.
 *
 * bits      codec_first_bits, codec_second_bits, or any other but CODE_1_5
 * rotated   float[dim], codec_rotate of the vector
 * centre    float[dim], codec_rotate of the centre, or NULL for the origin
 * code      out, codec_code_bytes(bits)
 * factors   out
 * work      codec_work_bytes()
 * Same bytes on every CPU. A vector equal to its centre gives f_mul 0 and an exact f_add. */
void codec_encode(const struct codec *codec, unsigned bits, enum metric metric,
                  const float *rotated, const float *centre, uint8_t *code,
                  struct code_factors *factors, void *work);

/* ---- nested codes: one stored code serves every coarser precision ----
 *
 * Any rule may choose a code, EDEN's scale is unbiased for it; so codes of fewer bits can be made
 * from those of more, without the vector:
 *
 *     codec_levels(codec, more, code, levels);
 *     codec_encode(codec, fewer, METRIC_DOT, levels, NULL, coarse, &ignored, work);
 *
 * gives, of 2, 4 or 8 bits, exactly the vector's own 1-bit code (the top bit of every index is the
 * sign); of 4 bits the 2-bit code whose outer levels are the indices from 12 up (11 or 13 for the
 * few whose search took another scale) and their opposites, with 2 to 3 % more error than the
 * vector's own; of 8 bits, whose grid is finer than any coarse level, 2- and 4-bit codes as good as
 * the vector's own to .8 %. The coarse code needs factors of its own, from the vector
 * (codec_factors, when both are written), 8 bytes: those that codec_encode gives above are those of
 * the levels and would carry the first code's error along.
 *
 * A row read for its leading bits costs the memory of the whole row, so nothing here scores a part
 * of a row: what is scanned at fewer bits is stored as blocks of them. Nor is the first stage of
 * collections cut from the second: it is relative to its partition's centre, the rows to the
 * collection's mean, and the better centre is worth more than the bit saved. */

/* The levels of a code: float[dim], out; x^ = m + S R'(levels). bits: any but CODE_1_5. */
void codec_levels(const struct codec *codec, unsigned bits, const uint8_t *code, float *levels);
/* The factors that codec_encode would give had it chosen this code; of a code that points away from
 * the vector, those of a vector that has none. Arguments as there, code only read; not CODE_1_5. */
void codec_factors(const struct codec *codec, unsigned bits, enum metric metric,
                   const float *rotated, const float *centre, const uint8_t *code,
                   struct code_factors *factors, void *work);

/* A block on disk and in memory, frozen:
 *
 *     u8 column[ceil(bits * dim / 4)][16]   FastScan order: byte k holds four bits of lane
 *                                           k/2 + 8 (k%2) low and of that lane + 16 high; four
 *                                           bits are those of 4 dims (1 and 1.5 bits: ceil(1.5 dim)
 *                                           dims in all) or of 2 dims (2 bits), the first lowest
 *     f32 f_mul[32], f32 f_add[32]          low byte of f_mul: the code's own 1 - rho^2
 *     u8 heavy[32]                          2 bits only: share of outer levels, in 1/255
 *
 * At 4 and 8 bits ("lane-16", which multiplies where FastScan looks up):
 *
 *     u8 group[ceil(bits * dim / 32)][32][4]  of each lane in turn 8 dims: byte k holds the index
 *                                           of dim k low and of dim 4 + k high; or 4 dims of 8 bits
 *     f32 f_mul[32], f32 f_add[32]
 *     f32 norm[32]                          f_mul |L|
 *
 * Empty lanes are all zero. 16-bit factors were tried and left: see codec_internal.h. */
size_t codec_block_bytes(const struct codec *codec);
/* code: of codec_first_bits. */
void codec_block_put(const struct codec *codec, uint8_t *block, unsigned lane, const uint8_t *code,
                     struct code_factors factors);
void codec_block_get(const struct codec *codec, const uint8_t *block, unsigned lane, uint8_t *code,
                     struct code_factors *factors);

/* ---- searching --------------------------------------------------------------------------- */

/* A query prepared once: rotation, 1-bit lookup table, 8-bit form for the second stage, norm. */
struct codec_query;
size_t codec_query_bytes(const struct codec *codec); /* 64-byte aligned memory, the caller's */
/* vector: float[dim] finite; kept by pointer, must outlive the query. Cosine: normalised by the
 * caller. */
void codec_query_init(const struct codec *codec, enum metric metric, const float *vector,
                      struct codec_query *query, void *work);

/* What a query needs of one centre, computed once per centre and query. */
struct centre_terms {
    float add;    /* A(q, m) in key order */
    float reach;  /* g = |q - m|; +infinity where squares leave float: then everything survives */
    float square; /* |m|^2 */
};
/* centre: rotated, float[dim], or NULL for the origin. */
struct centre_terms codec_query_centre(const struct codec *codec, const struct codec_query *query,
                                       const float *centre);

/* The same for a centre as it is, not rotated, at any alignment; square: its |m|^2. The reach may
 * be a little too long, never too short. */
struct centre_terms codec_query_centre_plain(const struct codec *codec,
                                             const struct codec_query *query, const uint8_t *centre,
                                             float square);

/* Centres as int8, to order partitions by: 1.4 ns each at 100 dims, and off by less than the spread
 * of their members; what is probed gets its exact terms from codec_query_centre. */
size_t codec_centre_bytes(const struct codec *codec); /* of one row, a multiple of 16 */
/* centre: rotated, float[dim]; row: out, codec_centre_bytes(). Same bytes on every CPU. */
void codec_centre_encode(const struct codec *codec, const float *centre, uint8_t *row);
/* centre: out, what a row stands for, still rotated. */
void codec_centre_decode(const struct codec *codec, const uint8_t *row, float *centre);
/* A query for codec_score_centres alone, of a vector that is rotated already: float[dim], only read
 * here. A fifth of codec_query_init. */
void codec_query_init_centres(const struct codec *codec, const float *rotated,
                              struct codec_query *query);
/* products: out, float[count] of <q, m>; distances: out, float[count] of |q - m|^2, which may come
 * out below zero; either may be NULL. Within 1 % of |q||m| (0.4 % is typical). Not for queries
 * whose square leaves float. */
void codec_score_centres(const struct codec *codec, const struct codec_query *query,
                         const uint8_t *rows, size_t count, float *products, float *distances);

/* The exact key for a vector stored as float16[dim], at any alignment: as codec_exact_key of what
 * those floats are. */
float codec_exact_key_half(const struct codec *codec, const struct codec_query *query,
                           const uint8_t *row);

/* Stage 1: scan `block_count` (<= 64) consecutive blocks.
 *
 * blocks     codec_block_bytes() * block_count, any alignment
 * epsilon    how many half widths to allow
 * threshold  a lane survives when estimate + epsilon * half width >= threshold
 * survivors  out, uint32_t[block_count]: bit per lane (lanes the caller knows empty must be masked)
 * bounds     out, float[block_count * 32]: estimate + epsilon * half width of surviving lanes
 *            (others undefined)
 * Float results agree between CPUs to the bound in kernels.h; integer parts are identical. */
void codec_scan_blocks(const struct codec *codec, const struct codec_query *query,
                       struct centre_terms terms, const uint8_t *blocks, size_t block_count,
                       float epsilon, float threshold, uint32_t *survivors, float *bounds);

/* One query's part in codec_scan_many: what codec_scan_blocks takes. */
struct codec_scan {
    const struct codec_query *query;
    struct centre_terms terms;
    float epsilon, threshold;
    uint32_t *survivors;
    float *bounds;
    bool coarse; /* bounds of mean codes will do: they are a little wider, and cheaper */
};
#define CODEC_SCANS_MAX 8u

/* The same for 1..CODEC_SCANS_MAX queries in one pass over the blocks, the dearest part of which is
 * fetching them. lanes: u32[block_count], the lanes that may survive (filters, what is known dead
 * or empty), or NULL for all; a block without any is not read. */
void codec_scan_many(const struct codec *codec, const struct codec_scan *scans, size_t scan_count,
                     const uint8_t *blocks, size_t block_count, const uint32_t *lanes);

/* Stage 2: one row code of codec_second_bits. Returns the estimated key; *half_width is its tight
 * (perpendicular) half width, to be multiplied by the caller's epsilon. CODE_NONE: +infinity, so
 * that everything goes on to stage 3. */
float codec_score_row(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms, const uint8_t *code, struct code_factors factors,
                      float *half_width);

/* A row to score. */
struct codec_row {
    const uint8_t *code;
    struct code_factors factors;
};

/* The same bits for `count` rows wherever they lie, each fetched while those before it are scored:
 * in no order, from memory, 3 to 5 times faster than one by one, from the cache 1.2 to 1.5. Rows
 * that lie side by side are not faster than one by one: the CPU sees those coming itself.
 *
 * estimates, half_widths  out, float[count] */
void codec_score_rows(const struct codec *codec, const struct codec_query *query,
                      struct centre_terms terms, const struct codec_row *rows, size_t count,
                      float *estimates, float *half_widths);

/* Stage 3: the exact key, float32 products summed as kernels.h says; row at any alignment. The
 * result is within 1e-6 * |q||x| (dot) or 1e-6 relative (distances) of float64. */
float codec_exact_key(const struct codec *codec, const struct codec_query *query,
                      const uint8_t *row);
/* The same bits for `count` rows wherever they lie, each fetched while those before it are summed:
 * from memory 1.4 to 1.8 times faster, in order or not. keys: out, float[count]. */
void codec_exact_keys(const struct codec *codec, const struct codec_query *query,
                      const uint8_t *const *rows, size_t count, float *keys);
/* The same for two plain vectors. */
float codec_key(const struct codec *codec, enum metric metric, const float *a, const float *b);

#endif
