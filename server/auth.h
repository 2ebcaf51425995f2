/* Keys: who may read, who may write.
 *
 * Keys and what a request presents are hashed with keys drawn at start (two SipHash-2-4-128, 32
 * bytes) and the digests compared without early exit, so the time says nothing about the content.
 */
#ifndef KITH_SERVER_AUTH_H
#define KITH_SERVER_AUTH_H

#include "server/config.h"

enum auth_verdict {
    AUTH_FULL,      /* may read and write; also when no key is configured */
    AUTH_READ_ONLY, /* may read */
    AUTH_MISSING,   /* 401 AUTH_TEXT_MISSING */
    AUTH_WRONG,     /* 401 AUTH_TEXT_WRONG */
};
#define AUTH_TEXT_MISSING "Must provide an API key or an Authorization bearer token"
#define AUTH_TEXT_WRONG "Invalid API key or JWT"

struct auth;

/* From service.api_key, alt_api_key and read_only_api_key; NULL when none is set. Copies digests
 * only. Aborts if the kernel gives no random bytes. */
struct auth *auth_new(const struct config *config);
void auth_free(struct auth *auth); /* accepts NULL */

/* api_key: value of the api-key header; authorization: of Authorization ("Bearer KEY"). Empty:
 * absent; the first one present counts. Any thread. auth NULL: AUTH_FULL. */
enum auth_verdict auth_check(const struct auth *auth, struct span api_key,
                             struct span authorization);

/* SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012; reference test vectors). */
void siphash_128(const uint8_t key[16], struct span data, uint8_t out[16]);

#endif
