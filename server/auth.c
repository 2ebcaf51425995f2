#include "server/auth.h"

#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>

#define DIGEST_BYTES 32
#define KEY_COUNT_MAX 3

struct digest {
    uint8_t bytes[DIGEST_BYTES];
};

struct auth { /* read-only after auth_new */
    uint8_t hash_keys[2][16];
    size_t key_count;
    struct {
        struct digest digest;
        enum auth_verdict verdict;
    } keys[KEY_COUNT_MAX];
};

static uint64_t rotate_left(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate_left(v[1], 13) ^ v[0];
    v[0] = rotate_left(v[0], 32);
    v[2] += v[3];
    v[3] = rotate_left(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate_left(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate_left(v[1], 17) ^ v[2];
    v[2] = rotate_left(v[2], 32);
}

static void sip_rounds(uint64_t v[4], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sip_round(v);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

void siphash_128(const uint8_t key[16], struct span data, uint8_t out[16])
{
    uint64_t k0 = load64(key), k1 = load64(key + 8);
    uint64_t v[4] = {k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du ^ 0xee,
                     k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u};
    size_t whole = data.bytes / 8 * 8;
    for (size_t i = 0; i < whole; i += 8)
        sip_word(v, load64(data.data + i));
    uint8_t last[8] = {0};
    if (data.bytes > whole)
        memcpy(last, data.data + whole, data.bytes - whole);
    last[7] = (uint8_t)data.bytes;
    sip_word(v, load64(last));
    v[2] ^= 0xee;
    sip_rounds(v, 4);
    store64(out, v[0] ^ v[1] ^ v[2] ^ v[3]);
    v[1] ^= 0xdd;
    sip_rounds(v, 4);
    store64(out + 8, v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static struct digest digest_of(const struct auth *auth, struct span key)
{
    struct digest digest = {{0}};
    siphash_128(auth->hash_keys[0], key, digest.bytes);
    siphash_128(auth->hash_keys[1], key, digest.bytes + 16);
    return digest;
}

/* Every byte is looked at, whatever the first ones say. */
static bool digest_equal(const struct digest *a, const struct digest *b)
{
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < DIGEST_BYTES; i++)
        difference = difference | (uint8_t)(a->bytes[i] ^ b->bytes[i]);
    return difference == 0;
}

static void auth_add(struct auth *auth, const char *key, enum auth_verdict verdict)
{
    if (key == NULL)
        return;
    auth->keys[auth->key_count].digest = digest_of(auth, span_text(key));
    auth->keys[auth->key_count++].verdict = verdict;
}

struct auth *auth_new(const struct config *config)
{
    struct auth *auth = allocate_zeroed(1, sizeof *auth);
    if (getrandom(auth->hash_keys, sizeof auth->hash_keys, 0) != sizeof auth->hash_keys)
        abort();
    auth_add(auth, config->api_key, AUTH_FULL);
    auth_add(auth, config->alt_api_key, AUTH_FULL);
    auth_add(auth, config->read_only_api_key, AUTH_READ_ONLY);
    if (auth->key_count > 0)
        return auth;
    free(auth);
    return NULL;
}

void auth_free(struct auth *auth)
{
    free(auth);
}

/* What the request presents as its key; empty when nothing usable is there. */
static struct span presented_key(struct span api_key, struct span authorization)
{
    static const char scheme[] = "Bearer ";
    size_t scheme_bytes = sizeof scheme - 1;
    if (api_key.bytes > 0)
        return api_key;
    if (authorization.bytes <= scheme_bytes ||
        strncasecmp((const char *)authorization.data, scheme, scheme_bytes) != 0)
        return (struct span){0};
    struct span key =
        span_of(authorization.data + scheme_bytes, authorization.bytes - scheme_bytes);
    while (key.bytes > 0 && key.data[0] == ' ')
        key = span_of(key.data + 1, key.bytes - 1);
    return key;
}

enum auth_verdict auth_check(const struct auth *auth, struct span api_key,
                             struct span authorization)
{
    if (auth == NULL)
        return AUTH_FULL;
    struct span key = presented_key(api_key, authorization);
    if (key.bytes == 0)
        return AUTH_MISSING;
    struct digest digest = digest_of(auth, key);
    enum auth_verdict verdict = AUTH_WRONG;
    for (size_t i = 0; i < auth->key_count; i++) {
        if (digest_equal(&digest, &auth->keys[i].digest))
            verdict = auth->keys[i].verdict;
    }
    return verdict;
}
