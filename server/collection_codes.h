/* What a quantization_config asks of a vector's codes.
 *
 * `turbo` is the one kind that has an effect here: its `bits` are the bits a dim of the codes
 * (struct vector_settings). `turboquant_mse`, a kind of our own with the same members, asks for
 * that scale besides; as published clients know no such kind, it is shown as `turbo`, and what a
 * collection really has stands in `codes` of its info. Codes are made once: no PATCH changes them.
 */
#ifndef KITH_SERVER_COLLECTION_CODES_H
#define KITH_SERVER_COLLECTION_CODES_H

#include "server/collection_schema.h"

struct text;

struct code_choice {
    enum code_bits bits;
    enum code_scale scale;
};

/* own: the judged quantization_config of the vector; shared: that of the collection, which counts
 * where there is none. Either may be empty or null. */
struct code_choice code_choice_of(struct span own, struct span shared);
/* Judged settings, of a collection or of one vector, as clients can read them. In the arena. */
struct span codes_shown(struct arena *arena, struct span clean);
/* Does a changed configuration ask for other codes than the one there? Both: values of what GET
 * shows as `config`. */
void judge_codes_kept(struct judgement *judgement, const struct collection_settings *settings,
                      struct span there, struct span changed);
/* {"name": {"first_stage": "bits1", "second_stage": "bits4" or null, "scale": "eden"}, ...} of
 * dense vectors and multivectors. */
void text_codes(struct text *out, const struct collection *collection);

#endif
