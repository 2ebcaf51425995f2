/* From quantization_config to codes and back. */
#include "server/collection_codes.h"

#include "server/handlers.h"

static const struct {
    const char *word;
    enum code_bits bits;
} words[] = {{"bits1", CODE_1},
             {"bits1_5", CODE_1_5},
             {"bits2", CODE_2},
             {"bits4", CODE_4},
             {"bits8", CODE_8}};
#define WORDS (sizeof words / sizeof *words)

static const char *word_of(unsigned bits)
{
    for (size_t i = 0; i < WORDS; i++) {
        if (words[i].bits == bits)
            return words[i].word;
    }
    return NULL;
}

static bool is_object(struct span value)
{
    return value.bytes > 0 && value_kind(value) == VALUE_OBJECT;
}

/* Of a kind's members; upstream's default is four. */
static enum code_bits bits_of(struct span kind)
{
    struct span bits = member(kind, "bits");
    for (size_t i = 0; bits.bytes > 0 && i < WORDS; i++) {
        if (span_equal(value_string(bits), span_text(words[i].word)))
            return words[i].bits;
    }
    return CODE_4;
}

struct code_choice code_choice_of(struct span own, struct span shared)
{
    struct span quantization = is_object(own) ? own : shared;
    if (!is_object(quantization))
        return (struct code_choice){CODE_NONE, SCALE_EDEN};
    struct span turbo = member(quantization, "turbo");
    struct span mse = member(quantization, "turboquant_mse");
    if (mse.bytes > 0)
        return (struct code_choice){bits_of(mse), SCALE_TURBOQUANT_MSE};
    return (struct code_choice){turbo.bytes > 0 ? bits_of(turbo) : CODE_NONE, SCALE_EDEN};
}

struct span codes_shown(struct arena *arena, struct span clean)
{
    struct span mse = member(member(clean, "quantization_config"), "turboquant_mse");
    if (mse.bytes == 0)
        return clean;
    struct value_builder builder;
    value_begin(&builder, arena);
    if (value_open_object(&builder) == OK && value_put_key(&builder, span_text("turbo")) == OK)
        value_put_value(&builder, mse);
    value_close(&builder);
    return with_member(arena, clean, "quantization_config", value_end(&builder));
}

/* Those of no choice are those of four bits. */
static enum code_bits same_bits(enum code_bits bits)
{
    return bits == CODE_NONE ? CODE_4 : bits;
}

static enum code_bits bits_in(struct span config, struct span name)
{
    struct span vectors = member(member(config, "params"), "vectors");
    struct span size = member(vectors, "size");
    const bool single = size.bytes > 0 && value_kind(size) != VALUE_OBJECT;
    struct span own = single || vectors.bytes == 0 ? vectors : value_get(vectors, name);
    return same_bits(
        code_choice_of(member(own, "quantization_config"), member(config, "quantization_config"))
            .bits);
}

void judge_codes_kept(struct judgement *judgement, const struct collection_settings *settings,
                      struct span there, struct span changed)
{
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        const struct vector_settings *vector = &settings->vectors[i];
        enum code_bits bits = bits_in(there, vector->name), asked = bits_in(changed, vector->name);
        if (vector->dim > 0 && bits != asked)
            judge_wrong(judgement,
                        "quantization_config: codes are made once, and those of vector \"%.*s\" "
                        "have %s, not %s",
                        (int)vector->name.bytes, (const char *)vector->name.data, word_of(bits),
                        word_of(asked));
    }
}

void text_codes(struct text *out, const struct collection *collection)
{
    const struct collection_settings *settings = collection_settings(collection);
    bool first = true;
    text_puts(out, "{");
    for (uint32_t i = 0; i < settings->vector_count; i++) {
        const struct codec *codec = collection_codec(collection, (uint16_t)i);
        if (codec == NULL)
            continue;
        const char *second = word_of(codec_second_bits(codec));
        text_puts(out, first ? "" : ",");
        first = false;
        text_json_string(out, settings->vectors[i].name);
        text_printf(out,
                    ":{\"first_stage\":\"%s\",\"second_stage\":", word_of(codec_first_bits(codec)));
        text_printf(out, second == NULL ? "null" : "\"%s\"", second);
        text_printf(out, ",\"scale\":\"%s\"}",
                    codec_scale(codec) == SCALE_EDEN ? "eden" : "turboquant_mse");
    }
    text_puts(out, "}");
}
