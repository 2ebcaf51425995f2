/* Which tables this build has, and which one a CPU gets. */
#include "codec/kernels.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#elif defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

/* Best last. */
static const struct kernels *const tables[] = {
    &kernels_scalar,
#if defined(__x86_64__)
    &kernels_avx2,
    &kernels_avx512,
#elif defined(__aarch64__)
    &kernels_neon,
#endif
};
#define TABLES (sizeof tables / sizeof *tables)

const struct kernels *kernels_at(size_t i)
{
    return i < TABLES ? tables[i] : NULL;
}

const struct kernels *kernels_by_name(const char *name)
{
    for (size_t i = 0; i < TABLES; i++) {
        if (strcmp(tables[i]->name, name) == 0) {
            return tables[i];
        }
    }
    return NULL;
}

const struct kernels *kernels_best(void)
{
    const char *wanted = getenv("KITH_KERNELS");
    const struct kernels *named = wanted != NULL ? kernels_by_name(wanted) : NULL;
    if (named != NULL && named->supported()) {
        return named;
    }
    const struct kernels *best = tables[0];
    for (size_t i = 1; i < TABLES; i++) {
        best = tables[i]->supported() ? tables[i] : best;
    }
    return best;
}
