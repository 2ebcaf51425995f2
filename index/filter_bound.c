#include "index/filter_bound.h"

void bound_nothing(struct filter_plan *out, bool exact)
{
    slots_init(&out->slots);
    slots_init(&out->sure);
    out->inverted = true;
    out->exact = exact;
}

void bound_none(struct filter_plan *out)
{
    slots_init(&out->slots);
    slots_init(&out->sure);
    out->inverted = false;
    out->exact = true;
}

void bound_release(struct filter_plan *out)
{
    slots_release(&out->slots);
    slots_release(&out->sure);
}

void bound_give_up(struct filter_plan *out)
{
    bound_release(out);
    bound_nothing(out, false);
}

void bound_doubt(struct filter_plan *out)
{
    out->exact = false;
    slots_release(&out->sure);
}

/* What is sure of a bound: all of an exact one, if that is a plain set. Of an exact inverted one
 * *inverted says that it is the rest. */
static const struct slots *sure_of(const struct filter_plan *a, bool *inverted)
{
    *inverted = a->exact && a->inverted;
    return a->exact ? &a->slots : &a->sure;
}

/* *out: sure of both a and b. */
static void sure_and(const struct filter_plan *a, const struct filter_plan *b, struct slots *out)
{
    bool a_inverted, b_inverted;
    const struct slots *x = sure_of(a, &a_inverted), *y = sure_of(b, &b_inverted);
    slots_init(out);
    slots_copy(out, a_inverted ? y : x);
    if (a_inverted || b_inverted)
        slots_and_not(out, a_inverted ? x : y);
    else
        slots_and(out, y);
}

/* *out: sure of a or of b. Where that is more than a plain set, only the plain part. */
static void sure_or(const struct filter_plan *a, const struct filter_plan *b, struct slots *out)
{
    bool a_inverted, b_inverted;
    const struct slots *x = sure_of(a, &a_inverted), *y = sure_of(b, &b_inverted);
    slots_init(out);
    if (!a_inverted)
        slots_or(out, x);
    if (!b_inverted)
        slots_or(out, y);
}

void bound_and(struct filter_plan *a, struct filter_plan *b)
{
    struct slots sure;
    slots_init(&sure);
    if (!a->exact || !b->exact)
        sure_and(a, b, &sure);
    a->exact = a->exact && b->exact;
    if (a->inverted && b->inverted) {
        slots_or(&a->slots, &b->slots);
    } else if (b->inverted) {
        slots_and_not(&a->slots, &b->slots);
    } else if (a->inverted) {
        slots_and_not(&b->slots, &a->slots);
        slots_move(&a->slots, &b->slots);
        a->inverted = false;
    } else {
        slots_and(&a->slots, &b->slots);
    }
    slots_move(&a->sure, &sure);
    bound_release(b);
}

void bound_or(struct filter_plan *a, struct filter_plan *b)
{
    struct slots sure;
    slots_init(&sure);
    if (!a->exact || !b->exact)
        sure_or(a, b, &sure);
    a->exact = a->exact && b->exact;
    if (a->inverted && b->inverted) {
        slots_and(&a->slots, &b->slots);
    } else if (a->inverted) {
        slots_and_not(&a->slots, &b->slots);
    } else if (b->inverted) {
        slots_and_not(&b->slots, &a->slots);
        slots_move(&a->slots, &b->slots);
        a->inverted = true;
    } else {
        slots_or(&a->slots, &b->slots);
    }
    slots_move(&a->sure, &sure);
    bound_release(b);
}

/* Not a: outside of what is sure. What is not in an inexact bound does not match for sure, but no
 * plain set says so. */
void bound_not(struct filter_plan *a)
{
    if (!a->exact) {
        slots_move(&a->slots, &a->sure);
        a->inverted = false;
    }
    a->inverted = !a->inverted;
}

bool bound_is_empty(const struct filter_plan *a)
{
    return !a->inverted && slots_count(&a->slots) == 0;
}
