/* Replies as NPY, for those who ask by `Accept: application/x-npy`: retrieve, scroll and query.
 *
 * As in an export several arrays follow each other in one body, as numpy.save makes them and
 * numpy.load reads them one by one: the vectors, float32 [n][dim], in the order of the points; the
 * ids, uint64 [n] if all are numbers, else bytes [n] ('|S36' for UUIDs); and of a query the scores,
 * float32 [n]. A point without the vector has a row of NaN. Payloads are not in it. */
#ifndef KITH_SERVER_NPY_REPLY_H
#define KITH_SERVER_NPY_REPLY_H

#include "server/api.h"
#include "server/selectors.h"

#define NPY_TYPE "application/x-npy"

struct npy_reply {
    uint16_t vector; /* number of the dense one */
    uint32_t dim;
    bool scored;
    uint64_t count;
    bool all_numbers;  /* ids so far */
    size_t longest_id; /* in bytes as text */
    struct text ids;   /* of each: u16 bytes, and the id as text */
    struct text scores;
};

/* Does the request ask for it? Any thread. */
bool npy_reply_wanted(const struct http_request *request);
/* Which vector: the one that with_vector names, else the default one, else the only one. false: the
 * call has been ended with 400. */
bool npy_reply_begin(struct npy_reply *reply, struct call *call, const struct selectors *selectors,
                     bool scored);
/* A row. view: of the collection of the call; score: NULL if not scored. Nothing is put when it
 * fails. ERROR_CORRUPT. */
enum error npy_reply_put(struct npy_reply *reply, struct call *call, uint64_t slot,
                         const struct point_row *row, const float *score) MUST_CHECK;
/* End the call with 200. */
void npy_reply_end(struct npy_reply *reply, struct call *call);
/* The memory, whether ended or not. */
void npy_reply_release(struct npy_reply *reply);

#endif
