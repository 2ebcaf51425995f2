#include "codec/kernels.h"

#include <string.h>

static const struct kernels *const tables[] = {
#if defined(__x86_64__)
    &kernels_avx2,
#endif
    &kernels_scalar,
};

const struct kernels *kernels_best(void)
{
    size_t i = 0;
    while (!tables[i]->supported())
        i++;
    return tables[i];
}

const struct kernels *kernels_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (strcmp(tables[i]->name, name) == 0 && tables[i]->supported())
            return tables[i];
    }
    return NULL;
}
