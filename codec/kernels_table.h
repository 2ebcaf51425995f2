/* The functions of struct kernels by name, once for all tables: table ISA's function `name` is
 * ISA_name, whichever file it is in. A function more is a line here and one in kernels.h. */
#ifndef KITH_CODEC_KERNELS_TABLE_H
#define KITH_CODEC_KERNELS_TABLE_H

#include "codec/kernels.h"

/* clang-format off */
#define KERNEL_ALL(X, isa)                                                                         \
    X(isa, supported)                                                                              \
    X(isa, copy_signed) X(isa, permute) X(isa, hadamard)                                           \
    X(isa, dot) X(isa, squared_distance) X(isa, absolute_distance)                                 \
    X(isa, dot_half) X(isa, squared_distance_half) X(isa, absolute_distance_half)                  \
    X(isa, absolute_sum) X(isa, centre_sums)                                                       \
    X(isa, level_sums) X(isa, grid_sums) X(isa, sign_sums)                                         \
    X(isa, subtract) X(isa, residual) X(isa, sign_bits) X(isa, outer_levels) X(isa, grid_levels)   \
    X(isa, magnitudes) X(isa, try_ranks) X(isa, take_ranks)                                        \
    X(isa, largest) X(isa, widest_column) X(isa, fill_lut) X(isa, quantise)                        \
    X(isa, scan_sums) X(isa, scan_blocks) X(isa, scan_lanes_4) X(isa, scan_lanes_8)                \
    X(isa, row_sums) X(isa, rows_sums) X(isa, row_sums_8) X(isa, int8_dots)
/* clang-format on */

/* A prototype, and an entry of a table. */
#define KERNEL_PROTOTYPE(isa, name) __typeof__(*((struct kernels *)0)->name) isa##_##name;
#define KERNEL_ENTRY(isa, name) .name = isa##_##name,

#endif
