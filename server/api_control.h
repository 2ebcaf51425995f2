/* Control bodies: small JSON documents that describe things (a collection, later an index or an
 * alias), judged against a schema.
 *
 * A schema is a table of fields. Judging copies what is known, in the schema's order and under its
 * names, so that the copy can be stored and echoed: clients' models refuse keys they do not know.
 * Null equals absent; unknown fields are left out. Wrong types are 400, values out of range 422. */
#ifndef KITH_SERVER_API_CONTROL_H
#define KITH_SERVER_API_CONTROL_H

#include "server/api.h"

enum field_kind {
    FIELD_BOOL,
    FIELD_UINT,         /* integer in min..max */
    FIELD_UINT_OR_AUTO, /* the same, or "auto" */
    FIELD_NUMBER,       /* in least..most */
    FIELD_WORD,         /* one of words */
    FIELD_TEXT,
    FIELD_OBJECT,     /* of a schema */
    FIELD_ANY_OBJECT, /* kept as it is */
    FIELD_ANY,        /* kept as it is */
};

struct schema_field { /* a schema is an array of these that ends with name NULL */
    const char *name;
    const char *alias; /* an accepted synonym, or NULL */
    enum field_kind kind;
    bool required;
    uint64_t min, max;
    double least, most;
    const char *const *words; /* NULL at the end */
    const struct schema_field *object;
};

struct judgement {
    struct arena *arena;
    const char *format; /* 400 "Format error in JSON body: ", NULL: none */
    const char *wrong;  /* 400 "Wrong input: ", NULL: none */
    const char *ranges; /* 422 "Validation error in JSON body: [...]", joined by "; " */
};

/* The body as an object (a value in the arena). false: the call has been ended (400, 413). */
bool control_parse(struct call *call, struct span *object);
/* Judge an object against a schema; path is "" at the top. Puts the clean copy into builder as one
 * object. What is wrong is left in judgement; the copy counts only if that stays clean. */
void control_judge(const struct schema_field *schema, struct span object, const char *path,
                   struct judgement *judgement, struct value_builder *builder);
/* Leave a text; the first one of each kind stays. */
void judge_format(struct judgement *judgement, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void judge_wrong(struct judgement *judgement, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool judgement_is_clean(const struct judgement *judgement);
/* End the call with what was found. */
void call_fail_judgement(struct call *call, const struct judgement *judgement);

#endif
