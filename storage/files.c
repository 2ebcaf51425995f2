/* Directories below a descriptor: nothing here follows a link or builds a path. */
#include "storage/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "storage/map.h"

#define DEPTH_MAX 8 /* our own directories have no more than two levels */

enum error directory_sync(int directory)
{
    return fsync(directory) == 0 ? OK : error_of_errno(errno);
}

enum error directory_make(int parent, const char *name)
{
    if (mkdirat(parent, name, 0700) != 0) {
        return error_of_errno(errno);
    }
    return directory_sync(parent);
}

enum error directory_open(int parent, const char *name, int *directory)
{
    *directory = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *directory >= 0 ? OK : error_of_errno(errno);
}

enum error directory_each(int parent, const char *name,
                          enum error (*each)(void *context, const char *name), void *context)
{
    int descriptor;
    enum error error = directory_open(parent, name, &descriptor);
    if (error != OK) {
        return error;
    }
    DIR *directory = fdopendir(descriptor);
    if (directory == NULL) {
        error = error_of_errno(errno);
        close(descriptor);
        return error;
    }
    while (error == OK) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            error = error_of_errno(errno);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            error = each(context, entry->d_name);
        }
    }
    closedir(directory);
    return error;
}

struct removal {
    int parent;
    unsigned depth;
};

static enum error remove_at(int parent, const char *name, unsigned depth);

static enum error remove_entry(void *context, const char *name)
{
    const struct removal *removal = context;
    return remove_at(removal->parent, name, removal->depth);
}

static enum error remove_at(int parent, const char *name, unsigned depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) {
        return OK;
    }
    if (errno != EISDIR && errno != EPERM) {
        return error_of_errno(errno);
    }
    if (depth == DEPTH_MAX) {
        return ERROR_TOO_LARGE;
    }
    struct removal removal = {.depth = depth + 1};
    enum error error = directory_open(parent, name, &removal.parent);
    if (error != OK) {
        return error;
    }
    error = directory_each(parent, name, remove_entry, &removal);
    close(removal.parent);
    if (error == OK && unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT) {
        error = error_of_errno(errno);
    }
    return error;
}

enum error directory_remove(int parent, const char *name)
{
    return remove_at(parent, name, 0);
}

const char *network_file_system(int descriptor)
{
    static const struct {
        uint32_t type;
        const char *name;
    } systems[] = {
        {0x00006969, "NFS"},        {0xff534d42, "CIFS"},   {0xfe534d42, "SMB2"},
        {0x0000517b, "SMB"},        {0x01021997, "9p"},     {0x65735546, "FUSE"},
        {0x00c36400, "Ceph"},       {0x5346414f, "AFS"},    {0x6b414653, "AFS"},
        {0x73757245, "Coda"},       {0x7461636f, "OCFS2"},  {0x01161970, "GFS2"},
        {0x0bd00bd0, "Lustre"},     {0x47504653, "GPFS"},   {0x19830326, "BeeGFS"},
        {0x786f4256, "VirtualBox"}, {0xbacbacbc, "VMware"}, {0x6a656a63, "Docker Desktop"},
    };
    struct statfs system;
    if (fstatfs(descriptor, &system) != 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
        if ((uint32_t)system.f_type == systems[i].type) {
            return systems[i].name;
        }
    }
    return NULL;
}
