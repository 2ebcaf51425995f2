/* Opening LMDB environments. */
#include "storage/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "storage/fault.h"
#include "storage/format.h"

enum error error_of_errno(int number)
{
    switch (number) {
    case 0:
        return OK;
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
        return ERROR_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ERROR_PERMISSION;
    case ENOSPC:
    case EDQUOT:
        return ERROR_FULL;
    default:
        return ERROR_IO;
    }
}

enum error error_of_lmdb(int result)
{
    switch (result) {
    case MDB_SUCCESS:
        return OK;
    case MDB_NOTFOUND:
        return ERROR_NOT_FOUND;
    case MDB_KEYEXIST:
        return ERROR_EXISTS;
    case MDB_MAP_FULL:
        return ERROR_FULL;
    case MDB_TXN_FULL:
        return ERROR_TOO_LARGE;
    case MDB_READERS_FULL:
        return ERROR_BUSY;
    case MDB_VERSION_MISMATCH:
        return ERROR_NEWER;
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_INVALID:
    case MDB_CURSOR_FULL: /* deeper than any tree of ours */
    case MDB_INCOMPATIBLE:
        return ERROR_CORRUPT;
    default:
        return result > 0 ? error_of_errno(result) : ERROR_IO;
    }
}

/* Both meta pages must be there: LMDB takes an empty file for a new one. */
static enum error check_file(const char *directory)
{
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/data.mdb", directory);
    if (length < 0 || (size_t)length >= sizeof path) {
        return ERROR_TOO_LARGE;
    }
    struct stat file;
    if (stat(path, &file) != 0) {
        const enum error error = error_of_errno(errno);
        return error == ERROR_NOT_FOUND ? ERROR_CORRUPT : error;
    }
    return file.st_size < 2 * (off_t)FORMAT_PAGE_BYTES ? ERROR_CORRUPT : OK;
}

static enum error check_length(MDB_env *env)
{
    struct map_state state;
    const enum error error = map_state_get(env, &state);
    if (error != OK) {
        return error;
    }
    int descriptor;
    struct stat file;
    if (mdb_env_get_fd(env, &descriptor) != 0 || fstat(descriptor, &file) != 0) {
        return ERROR_IO;
    }
    return (uint64_t)file.st_size < state.used_bytes ? ERROR_CORRUPT : OK;
}

enum error map_state_get(MDB_env *env, struct map_state *state)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &stat) != 0) {
        return ERROR_IO;
    }
    /* Values are laid out for pages of this size. */
    if (stat.ms_psize != FORMAT_PAGE_BYTES) {
        return ERROR_INVALID;
    }
    if (info.me_last_pgno >= UINT64_MAX / FORMAT_PAGE_BYTES - 1) {
        return ERROR_CORRUPT;
    }
    *state = (struct map_state){
        .used_bytes = ((uint64_t)info.me_last_pgno + 1) * FORMAT_PAGE_BYTES,
        .map_bytes = info.me_mapsize,
        .transaction = info.me_last_txnid,
    };
    return OK;
}

static void on_assert(MDB_env *env, const char *text)
{
    (void)env;
    (void)text; /* LMDB prints it */
    fault_asserted();
}

static int configure(MDB_env *env, const struct map_options *options)
{
    int result = mdb_env_set_assert(env, on_assert);
    if (result == 0) {
        result = mdb_env_set_mapsize(env, (size_t)options->bytes);
    }
    if (result == 0) {
        result = mdb_env_set_maxreaders(env, options->readers_max);
    }
    if (result == 0 && options->tables_max > 0) {
        result = mdb_env_set_maxdbs(env, options->tables_max);
    }
    return result;
}

enum error map_open(const char *directory, const struct map_options *options, MDB_env **env)
{
    *env = NULL;
    if (!options->create) {
        const enum error error = check_file(directory);
        if (error != OK) {
            return error;
        }
    }
    MDB_env *opened = NULL;
    int result = mdb_env_create(&opened);
    if (result != 0) {
        return error_of_lmdb(result);
    }
    result = configure(opened, options);
    if (result == 0) {
        result = mdb_env_open(opened, directory, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    }
    enum error error = error_of_lmdb(result);
    if (error == OK) {
        error = check_length(opened);
    }
    if (error == OK) {
        int dead;
        error = error_of_lmdb(mdb_reader_check(opened, &dead));
    }
    if (error != OK) {
        mdb_env_close(opened);
        return error;
    }
    *env = opened;
    return OK;
}
