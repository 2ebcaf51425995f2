/* Maximal marginal relevance: candidates reordered so that each is near the query and unlike those
 * before it.
 *
 * Greedy: first the most relevant, then always the largest
 *     lambda * relevance - (1 - lambda) * largest similarity to one already chosen.
 * The similarity of a candidate to the chosen is kept as a running maximum, so that a choice costs
 * one similarity a candidate and no matrix is held. Ties go to the last of the pending list, a
 * chosen one's place is taken by the list's last: as the compatible server does.
 *
 * Source: Carbonell and Goldstein, SIGIR 1998. */
#ifndef KITH_INDEX_MMR_H
#define KITH_INDEX_MMR_H

#include "index/arena.h"

/* relevance   float[count], larger is nearer
 * lambda      1 - diversity, 0..1
 * limit       how many to choose, clamped to count
 * similarity  of candidates a and b, larger is nearer; an error ends the choice
 * chosen      out, size_t[limit] of candidate numbers, in order of choice
 * Returns how many through *chosen_count. */
enum error mmr_choose(const float *relevance, size_t count, float lambda, size_t limit,
                      enum error (*similarity)(void *context, size_t a, size_t b, float *out),
                      void *context, struct arena *arena, size_t **chosen,
                      size_t *chosen_count) MUST_CHECK;

#endif
