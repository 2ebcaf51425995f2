/* GET /openapi.json: the document that server/openapi.py writes, packed by gzip, part of the
 * program. Who takes gzip gets it as it lies there. Its checksum in gzip's trailer is the ETag:
 * weak, because the packed and the plain reply share it. */
#include "server/openapi.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "server/handlers.h"
#include "server/unpack.h"

extern const uint8_t openapi_packed[];
extern const uint64_t openapi_packed_bytes;

__asm__(".section .rodata\n"
        ".global openapi_packed, openapi_packed_bytes\n"
        ".balign 8\n"
        "openapi_packed_bytes: .quad 1f - openapi_packed\n"
        "openapi_packed:\n"
        ".incbin \"" OPENAPI_FILE "\"\n"
        "1:\n"
        ".previous\n");

#define TRAILER_BYTES 8 /* CRC-32 and length of the plain document, little-endian */

static struct span packed(void)
{
    return span_of(openapi_packed, openapi_packed_bytes);
}

static const uint8_t *trailer(void)
{
    struct span all = packed();
    assert(all.bytes > TRAILER_BYTES);
    return all.data + (all.bytes - TRAILER_BYTES);
}

void openapi_text(struct text *out)
{
    struct unpack unpack;
    struct span in = packed();
    uint8_t buffer[8192];
    size_t used, made;
    unpack_begin(&unpack, PACKING_GZIP, load32(trailer() + 4));
    while (in.bytes > 0) {
        enum unpack_state state =
            unpack_step(&unpack, in.data, in.bytes, &used, buffer, sizeof buffer, &made);
        assert(state == UNPACK_MORE || state == UNPACK_FULL);
        text_put(out, buffer, made);
        in = span_of(in.data + used, in.bytes - used);
    }
    assert(unpack_complete(&unpack));
    unpack_release(&unpack);
}

/* Does Accept-Encoding name gzip, and not with q=0? */
static bool takes_gzip(struct span accept)
{
    char text[256];
    size_t bytes = accept.bytes < sizeof text - 1 ? accept.bytes : sizeof text - 1;
    if (bytes == 0)
        return false;
    memcpy(text, accept.data, bytes);
    text[bytes] = '\0';
    char *rest = text;
    for (char *item = strsep(&rest, ","); item != NULL; item = strsep(&rest, ",")) {
        item += strspn(item, " \t");
        size_t name = strcspn(item, "; \t");
        if (name != 4 || strncasecmp(item, "gzip", 4) != 0)
            continue;
        const char *weight = strstr(item, "q=");
        return weight == NULL || strspn(weight + 2, "0.") != strcspn(weight + 2, " \t");
    }
    return false;
}

/* Does If-None-Match name this document? */
static bool has_tag(struct span given, const char *tag)
{
    if (given.bytes == 0)
        return false;
    return span_equal(given, span_text("*")) ||
           memmem(given.data, given.bytes, tag, strlen(tag)) != NULL;
}

void api_openapi(struct call *call)
{
    struct text out = {0};
    const struct http_request *request = call->request;
    const char *tag = arena_format(call->arena, "\"%08" PRIx32 "\"", load32(trailer()));
    const char *headers = arena_format(call->arena, "ETag: W/%s\r\nVary: Accept-Encoding\r\n", tag);
    if (has_tag(request->if_none_match, tag)) {
        call_reply(call, 304, NULL, headers, &out);
        return;
    }
    if (takes_gzip(request->accept_encoding)) {
        text_put(&out, packed().data, packed().bytes);
        headers = arena_format(call->arena, "%sContent-Encoding: gzip\r\n", headers);
    } else {
        openapi_text(&out);
    }
    call_reply(call, 200, "application/json", headers, &out);
}
