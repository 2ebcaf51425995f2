/* The gate: never reads past what it was given, and gives the same answer wherever buffers end. */
#include <assert.h>
#include <stdlib.h>

#include "server/gate.h"

struct answer {
    int status;
    bool done;
    size_t block;
};

static struct answer feed(const uint8_t *data, size_t bytes, size_t step)
{
    static const struct gate_limits limits = {128, 512, 8};
    struct answer answer = {0, false, 0};
    struct gate gate;
    const char *why = NULL;
    gate_reset(&gate, &limits);
    while (answer.block < bytes && answer.status == 0 && !answer.done) {
        size_t used = 0, n = bytes - answer.block < step ? bytes - answer.block : step;
        char *piece = malloc(n); /* of its own, so that ASan sees its end */
        memcpy(piece, data + answer.block, n);
        answer.status = gate_feed(&gate, piece, n, &used, &answer.done, &why);
        free(piece);
        assert(used <= n && (used == n || answer.done || answer.status != 0));
        answer.block += used;
    }
    assert((answer.status != 0) == (why != NULL));
    assert(answer.block <= limits.request_line_bytes + limits.header_bytes + 2);
    return answer;
}

/* What has passed holds no control byte but CRLF and tabs, and no line that begins with a blank. */
static void check_passed(const uint8_t *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        assert(data[i] >= ' ' || data[i] == '\t' || data[i] == '\r' || data[i] == '\n');
        assert((data[i] == '\n') == (i > 0 && data[i - 1] == '\r'));
        assert(i == 0 || data[i - 1] != '\n' || (data[i] != ' ' && data[i] != '\t'));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    size_t step = data[0] % 37 + 1; /* the first byte only says how to cut */
    struct answer whole = feed(data + 1, bytes - 1, bytes);
    struct answer cut = feed(data + 1, bytes - 1, step);
    assert(whole.status == cut.status && whole.done == cut.done && whole.block == cut.block);
    if (whole.done)
        check_passed(data + 1, whole.block);
    return 0;
}
