#include "storage/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/environment.h"
#include "storage/files.h"

#define DEPTH_MAX 8u /* views a thread has open at once: of collections that a query looks up */
#define MARK_NAME_BYTES (DIRECTORY_NAME_BYTES + sizeof "/damaged")

/* Numbers, not pointers: an entry may outlive its environment when another thread closes the view.
 */
static _Thread_local struct touched {
    uint64_t directory;
    int collections; /* descriptor */
} touched[DEPTH_MAX];
static _Thread_local unsigned depth;
static _Thread_local bool asserted;

void fault_enter(const struct environment *environment)
{
    if (depth == DEPTH_MAX) { /* the oldest goes */
        memmove(touched, touched + 1, (DEPTH_MAX - 1) * sizeof touched[0]);
        depth--;
    }
    touched[depth++] = (struct touched){environment->directory, environment->store->collections};
}

void fault_leave(const struct environment *environment)
{
    for (unsigned i = depth; i > 0; i--) {
        if (touched[i - 1].directory == environment->directory) {
            memmove(touched + i - 1, touched + i, (depth - i) * sizeof touched[0]);
            depth--;
            return;
        }
    }
}

void fault_asserted(void)
{
    asserted = true;
}

bool fault_is_asserted(void)
{
    return asserted;
}

static void mark_name(uint64_t directory, char name[MARK_NAME_BYTES])
{
    /* By hand: a signal handler may not print. */
    for (unsigned i = 0; i < DIRECTORY_NAME_BYTES - 1; i++) {
        name[i] = "0123456789abcdef"[directory >> (60 - 4 * i) & 15];
    }
    memcpy(name + DIRECTORY_NAME_BYTES - 1, "/damaged", sizeof "/damaged");
}

bool fault_mark(uint64_t *directory)
{
    if (depth == 0) {
        return false;
    }
    char name[MARK_NAME_BYTES];
    *directory = touched[depth - 1].directory;
    mark_name(*directory, name);
    const int file = openat(touched[depth - 1].collections, name,
                            O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, (mode_t)0600);
    if (file >= 0) {
        fsync(file);
        close(file);
    }
    return true;
}

bool store_is_marked(const struct store *store, uint64_t directory)
{
    char name[MARK_NAME_BYTES];
    struct stat file;
    mark_name(directory, name);
    return fstatat(store->collections, name, &file, AT_SYMLINK_NOFOLLOW) == 0;
}

enum error store_unmark(struct store *store, uint64_t directory)
{
    char name[MARK_NAME_BYTES];
    mark_name(directory, name);
    return unlinkat(store->collections, name, 0) == 0 || errno == ENOENT ? OK
                                                                         : error_of_errno(errno);
}
