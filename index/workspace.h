/* Scratch of one worker: for encoding and for searching. Private to index/. */
#ifndef KITH_INDEX_WORKSPACE_H
#define KITH_INDEX_WORKSPACE_H

#include "index/centre_table.h"
#include "index/scratch.h"
#include "index/search.h"

struct search_workspace {
    struct encode_scratch encode;
    struct scratch query;      /* struct codec_query */
    struct scratch centre;     /* float[dim] */
    struct scratch epochs;     /* search.c: terms of each epoch */
    struct scratch candidates; /* search.c: what the scan let through */
    struct scratch second;     /* search.c: what the second stage let through */
    struct scratch bounds;     /* float[] of one scan call */
    struct scratch entries;    /* struct topk_entry[k] */
    struct scratch excluded;   /* u64 slots */
    struct scratch mask;       /* search.c: bits of the slots a filter leaves */
    struct scratch sums;       /* search_sparse.c: zero between searches */
    struct scratch multi;      /* search_multi.c */
    struct scratch queries;    /* search_multi.c: a struct codec_query for each row */
    struct centre_query centres;
    long faults;   /* search.c: the thread's major page faults so far */
    unsigned cold; /* searches for which pages are still asked for ahead */
};

#endif
