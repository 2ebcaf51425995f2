/* An export under way: what api_export.c (its life, and lines) and export_npy.c (matrices) share.
 */
#ifndef KITH_SERVER_EXPORT_H
#define KITH_SERVER_EXPORT_H

#include "server/handlers.h"
#include "server/selectors.h"

#define EXPORT_PIECE_BYTES ((size_t)256 * 1024) /* about; one point more at most */

struct export
{                       /* in the request's arena */
    struct span name;   /* of the collection, its own: it is held only while a piece is made */
    uint64_t directory; /* of it: another one of that name is not it */
    const struct filter *filter;
    bool npy;
    /* lines */
    struct selectors selectors;
    struct point_id next; /* where the next piece begins */
    bool begun;
    /* matrices */
    uint16_t vector; /* number */
    bool with_ids;
    int file; /* spooled, unlinked; -1: none */
    uint64_t file_bytes, file_sent;
};

/* Spool the whole of it over one version: file and file_bytes. The call has collection and view.
 * ERROR_FULL, ERROR_IO, ERROR_CORRUPT, ERROR_CANCELLED at the call's deadline. */
enum error export_npy_spool(struct call *call, struct export *export) MUST_CHECK;

#endif
