#include "index/text.h"

enum error text_analyzer_compile(struct span schema, struct arena *arena,
                                 const struct text_analyzer **analyzer, struct field_fault *fault)
{
    (void)schema, (void)arena;
    *analyzer = NULL;
    *fault = (struct field_fault){FIELD_FAULT_INPUT, "field_schema: `text` is not supported yet"};
    return ERROR_INVALID;
}
