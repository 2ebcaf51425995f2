/* What the scanner's own files share; nobody else includes it. */
#ifndef KITH_SERVER_JSON_PRIVATE_H
#define KITH_SERVER_JSON_PRIVATE_H

#include "server/json.h"
#include "server/number.h"

/* The string that next stands before, its quote included, whatever the state. */
bool json_scan_string(struct json *json, struct span *text);
/* A number, taken apart. */
bool json_scan_number(struct json *json, struct span *text, struct decimal *decimal);
/* The magnitude of an integer, exact; false when it does not fit or text is no integer. */
bool json_decimal_u64(const struct decimal *decimal, struct span text, uint64_t *value);

#endif
