/* The share of codes to read. */
#include "index/recall.h"

#include <math.h>

/* Codes that 120,000 of GloVe's vectors, the hardest set at hand, take for the 10 nearest, with
 * half as much again on top; they grow with about the 0.6th power of the number of points. */
#define PRIOR_POINTS 120000.0
#define PRIOR_GROWTH 0.6

static const struct {
    double recall, codes;
} prior[] = {{0.5, 2000.0},   {0.8, 9000.0},   {0.9, 15000.0},   {0.95, 21000.0},
             {0.98, 34000.0}, {0.99, 46000.0}, {0.995, 60000.0}, {0.999, 90000.0}};
#define PRIOR_COUNT (sizeof prior / sizeof *prior)

double recall_prior_share(double recall, uint64_t code_count, size_t k)
{
    size_t i = 1;
    while (i + 1 < PRIOR_COUNT && prior[i].recall < recall) {
        i++;
    }
    /* Between two rows in the logarithm of what is missed. */
    const double low = log(1.0 - prior[i - 1].recall), high = log(1.0 - prior[i].recall);
    double at = (low - log(1.0 - fmin(recall, 0.9999))) / (low - high);
    at = at < 0.0 ? 0.0 : at;
    const double codes = prior[i - 1].codes * pow(prior[i].codes / prior[i - 1].codes, at);
    const double n = code_count > 0 ? (double)code_count : 1.0;
    const double more = k > 10 ? pow((double)k / 10.0, 0.35) : 1.0;
    const double share = codes * more * pow(n / PRIOR_POINTS, PRIOR_GROWTH) / n;
    return share < 1.0 ? share : 1.0;
}
