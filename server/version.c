#include "server/version.h"

#include <llhttp.h>
#include <stddef.h>
#include <uv.h>
#include <zlib.h>
#include <zstd.h>

#include "index/database.h"
#include "server/tree.h"

/* LMDB's header belongs to storage/; the one function needed here is declared by hand. */
char *mdb_version(int *major, int *minor, int *patch);

static const char *build_variant(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return "asan";
#elif defined(__SANITIZE_THREAD__)
    return "tsan";
#elif defined(KITH_TEST_HOOKS)
    return "test (failpoints)";
#else
    return "release";
#endif
}

const char *version_commit(void)
{
#ifdef KITH_COMMIT
    return KITH_COMMIT;
#else
    return "0000000000000000000000000000000000000000";
#endif
}

void version_print(FILE *out)
{
    int major, minor, patch;
    mdb_version(&major, &minor, &patch);
    struct codec *codec = codec_new(64, 1, NULL);
#ifdef __clang__
    const char *compiler = "clang " __clang_version__;
#else
    const char *compiler = "gcc " __VERSION__;
#endif
    fprintf(out, "kith %s\n", KITH_VERSION);
    fprintf(out, "build: %s, %s\n", build_variant(), compiler);
    fprintf(out,
            "libraries: lmdb %d.%d.%d, libuv %s, llhttp %d.%d.%d, jansson %s, zlib %s, zstd %s\n",
            major, minor, patch, uv_version_string(), LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR,
            LLHTTP_VERSION_PATCH, tree_library_version(), zlibVersion(), ZSTD_versionString());
    fprintf(out, "commit: %s\n", version_commit());
    fprintf(out, "kernels: %s\n", codec_kernels_name(codec));
    codec_free(codec);
}
