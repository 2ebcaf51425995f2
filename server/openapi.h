#ifndef KITH_SERVER_OPENAPI_H
#define KITH_SERVER_OPENAPI_H

#include "server/json.h"

/* Append the document that GET /openapi.json answers: JSON. Cannot fail. Any thread. */
void openapi_text(struct text *out);

#endif
