/* The copy-on-write array. A node with one reference belongs to the array that is being changed. */
#include "storage/array.h"

#include <stdlib.h>

struct array_node {
    uint32_t references; /* the writer's */
    uint32_t height;     /* 0: a leaf */
    union {
        struct array_node *children[ARRAY_FAN];
        _Atomic uint64_t words[ARRAY_FAN];
    };
};

static struct array_node *node_new(unsigned height)
{
    struct array_node *node = allocate_zeroed(1, sizeof *node);
    node->references = 1;
    node->height = height;
    return node;
}

static void node_release(struct array_node *node)
{
    if (node == NULL || --node->references > 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_FAN && node->height > 0; i++) {
        node_release(node->children[i]);
    }
    free(node);
}

/* A copy of the node that only the caller refers to; takes the caller's reference to the node. */
static struct array_node *node_own(struct array_node *node)
{
    if (node->references == 1) {
        return node;
    }
    struct array_node *copy = allocate(sizeof *copy);
    copy->references = 1;
    copy->height = node->height;
    for (size_t i = 0; i < ARRAY_FAN; i++) {
        if (node->height == 0) {
            atomic_init(&copy->words[i],
                        atomic_load_explicit(&node->words[i], memory_order_relaxed));
        } else {
            copy->children[i] = node->children[i];
            if (copy->children[i] != NULL) {
                copy->children[i]->references++;
            }
        }
    }
    node->references--;
    return copy;
}

void array_copy(struct array *to, const struct array *from)
{
    *to = *from;
    if (to->root != NULL) {
        to->root->references++;
    }
}

void array_release(struct array *array)
{
    node_release(array->root);
    *array = (struct array){NULL, 0};
}

/* Is the index beyond what a tree of this height holds? */
static bool beyond(unsigned height, uint64_t index)
{
    const unsigned bits = (height + 1) * ARRAY_FAN_BITS;
    return bits < 64 && index >> bits != 0;
}

static size_t step(unsigned height, uint64_t index)
{
    return (size_t)(index >> (height * ARRAY_FAN_BITS)) & (ARRAY_FAN - 1);
}

static void make_room(struct array *array, uint64_t index)
{
    if (array->root == NULL) {
        array->root = node_new(0);
        array->height = 0;
    }
    while (beyond(array->height, index)) {
        struct array_node *above = node_new(array->height + 1);
        above->children[0] = array->root;
        array->root = above;
        array->height++;
    }
}

void array_set(struct array *array, uint64_t index, uint64_t word)
{
    make_room(array, index);
    struct array_node **link = &array->root;
    for (unsigned height = array->height; height > 0; height--) {
        *link = node_own(*link);
        link = &(*link)->children[step(height, index)];
        if (*link == NULL) {
            *link = node_new(height - 1);
        }
    }
    *link = node_own(*link);
    atomic_store_explicit(&(*link)->words[step(0, index)], word, memory_order_relaxed);
}

_Atomic uint64_t *array_at(const struct array *array, uint64_t index)
{
    struct array_node *node = array->root;
    if (node == NULL || beyond(array->height, index)) {
        return NULL;
    }
    for (unsigned height = array->height; height > 0 && node != NULL; height--) {
        node = node->children[step(height, index)];
    }
    return node == NULL ? NULL : &node->words[step(0, index)];
}
