/* Why a request is refused: kept apart from the call, so that what judges a point or a query serves
 * a single request, a batch and a line of a stream alike.
 *
 * Judges return false and leave a refusal; the first one stays. Whoever owns the call turns it into
 * a status and the text the compatible API gives. */
#ifndef KITH_SERVER_REFUSAL_H
#define KITH_SERVER_REFUSAL_H

#include "server/api.h"

enum refusal_kind {
    REFUSAL_NONE,
    REFUSAL_FORMAT,     /* 400 "Format error in JSON body: " */
    REFUSAL_INPUT,      /* 400 "Wrong input: " */
    REFUSAL_REQUEST,    /* 400 "Bad request: " */
    REFUSAL_VALIDATION, /* 422 "Validation error in JSON body: [...]" */
    REFUSAL_MISSING,    /* 404 "Not found: " */
    REFUSAL_LARGE,      /* 413 "Wrong input: " */
    REFUSAL_TIMEOUT,    /* 408 "Timeout: " */
    REFUSAL_INTERNAL,   /* 500 "Service internal error: " */
};

struct refusal {
    enum refusal_kind kind;
    const char *text; /* in an arena, without the prefix */
};

/* Leave a refusal unless there is one; false, to be returned. */
bool refuse(struct refusal *refusal, struct arena *arena, enum refusal_kind kind,
            const char *format, ...) __attribute__((format(printf, 4, 5)));
/* What a failed scanner says; false. */
bool refuse_json(struct refusal *refusal, const struct json *json);
/* A field of the API that this version cannot obey: 400, never silence; false. */
bool refuse_unsupported(struct refusal *refusal, struct arena *arena, const char *field);

int refusal_status(const struct refusal *refusal);
const char *refusal_prefix(const struct refusal *refusal);
const char *refusal_suffix(const struct refusal *refusal);

/* End a call with it. */
void call_refuse(struct call *call, const struct refusal *refusal);

#endif
