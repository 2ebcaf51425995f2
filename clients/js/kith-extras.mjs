// What kith has beyond the API it is compatible with: one ES module without dependencies, Node 18 or newer.
//
// For everything else use the official client, @qdrant/js-client-rest: it talks to kith unchanged.
//
//   import { Kith } from "./kith-extras.mjs";
//   const kith = new Kith("http://localhost:6333", { apiKey });
//   await kith.upload("words", new Float32Array(rows * dim), { dim, distance: "Cosine" });
//   await kith.uploadPoints("books", points);
//   for await (const point of kith.export("books", { filter })) ...

// typed array -> NPY's name of its elements; those that kith reads
const TYPES = new Map([[Float32Array, "<f4"], [Float64Array, "<f8"], [Uint8Array, "|u1"], [Uint8ClampedArray, "|u1"], [Int8Array, "|i1"]]);
const PIECE_BYTES = 1 << 20;

/** A refused call. status: of HTTP; accepted: points of an upload that are kept. */
export class KithError extends Error {
  constructor(status, text, accepted = 0) {
    super(`${status} ${text}`);
    this.name = "KithError";
    this.status = status;
    this.text = text;
    this.accepted = accepted;
  }
}

export class Kith {
  #url;
  #headers;

  constructor(url = "http://localhost:6333", { apiKey } = {}) {
    this.#url = String(url).replace(/\/+$/, "");
    this.#headers = apiKey ? { "api-key": apiKey } : {};
  }

  /** The `result` of any route: call("POST", "/collections/books/points/query", {query: [...]}).
   *  Integers beyond 2^53 lose digits, as JSON.parse has it. */
  async call(method, path, body) {
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    return this.#request(method, path, json, body === undefined ? undefined : JSON.stringify(body));
  }

  /** Store a matrix, a point a row; resolves to how many, durable and searchable then.
   *
   *  vectors   a typed array of rows * dim numbers (Float32Array, Float64Array, Uint8Array, Int8Array as they are,
   *            others as float32), or an array of rows
   *  dim       numbers a row; not needed for an array of rows
   *  firstId   id of the first row (number or BigInt), then one more a row; left out: the next free ones
   *  distance  "Cosine", "Dot", "Euclid" or "Manhattan": creates the collection if it is missing
   *
   *  Rejects with KithError at the first row that is refused; rows before it are kept (`accepted`). */
  async upload(collection, vectors, { dim, firstId, distance } = {}) {
    const { data, columns } = matrix(vectors, dim);
    const head = npyHead(TYPES.get(data.constructor), data.length / columns, columns);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return this.#bulk(collection, { first_id: firstId, distance }, "application/x-npy", new Blob([head, bytes]));
  }

  /** Store points ({id, vector, payload}; any iterable, also an asynchronous one); resolves to how many. Ids beyond
   *  2^53 as BigInt. Rejects with KithError at the first that is refused; those before it are kept. */
  async uploadPoints(collection, points, { distance } = {}) {
    const pieces = gather(points);
    const body = new ReadableStream({
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return();
      },
    });
    return this.#bulk(collection, { distance }, "application/x-ndjson", body);
  }

  /** The points ({id, vector, payload}) in the order of ids, as uploadPoints takes them: for await (const point of
   *  kith.export(...)). filter, withPayload, withVector: as scroll has them. Throws if the server ends it early. */
  async *export(collection, { filter, withPayload = true, withVector = true } = {}) {
    const reply = await this.#export(collection, "", { filter, with_payload: withPayload, with_vector: withVector });
    let rest = "";
    for await (const piece of reply.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + piece).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
    if (rest) throw new Error("the export ended within a line");
  }

  /** All vectors as {data: Float32Array of rows * dim, dim, ids}, in memory. vector: the name of a named one; points
   *  without it are left out. ids: BigUint64Array if all are numbers, else an array of strings. */
  async exportMatrix(collection, { vector, filter } = {}) {
    const query = new URLSearchParams({ format: "npy", with_ids: "true", ...(vector === undefined ? {} : { vector }) });
    const reply = await this.#export(collection, `?${query}`, { filter });
    const buffer = await reply.arrayBuffer();
    const rows = npyArray(buffer, 0), ids = npyArray(buffer, rows.end);
    return { data: rows.data, dim: rows.shape[1], ids: ids.data };
  }

  /** With searches (bodies as of points/query): runs each as asked and exactly, and compares; recall is the share to ask
   *  for (default: the server's). Without: what sampled queries of the last `minutes` got. */
  async recall(collection, { searches, recall, minutes } = {}) {
    const path = `/collections/${encodeURIComponent(collection)}/recall`;
    if (searches === undefined) return this.call("GET", path + (minutes === undefined ? "" : `?minutes=${minutes}`));
    return this.call("POST", path + (recall === undefined ? "" : `?recall=${recall}`), { searches });
  }

  async #export(collection, query, body) {
    return this.#send("POST", `/collections/${encodeURIComponent(collection)}/export${query}`,
      { "Content-Type": "application/json" }, JSON.stringify(body));
  }

  async #bulk(collection, parameters, type, body) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
    const path = `/collections/${encodeURIComponent(collection)}/bulk?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}`;
    return (await this.#request("POST", path, { "Content-Type": type }, body)).points;
  }

  async #request(method, path, headers, body) {
    return (await (await this.#send(method, path, headers, body)).json()).result;
  }

  async #send(method, path, headers, body) {
    const reply = await fetch(this.#url + path, { method, headers: { ...this.#headers, ...headers }, body, duplex: "half" });
    if (reply.status === 200) return reply;
    const text = await reply.text();
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch {} // 401 is plain text
    throw new KithError(reply.status, parsed?.status?.error ?? text, parsed?.accepted ?? 0);
  }
}

// A typed array that kith reads, and how many of its numbers make a row.
function matrix(vectors, dim) {
  if (ArrayBuffer.isView(vectors)) {
    const data = TYPES.has(vectors.constructor) ? vectors : Float32Array.from(vectors, Number);
    if (!Number.isInteger(dim) || dim < 1) throw new RangeError("dim: how many numbers a row has");
    if (data.length === 0 || data.length % dim !== 0) throw new RangeError(`${data.length} numbers are no rows of ${dim}`);
    return { data, columns: dim };
  }
  const columns = vectors[0]?.length ?? 0;
  if (columns === 0) throw new RangeError("no vectors");
  const data = new Float32Array(vectors.length * columns);
  vectors.forEach((row, i) => {
    if (row.length !== columns) throw new RangeError("rows of different lengths");
    data.set(row, i * columns);
  });
  return { data, columns };
}

// The header of NPY 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
function npyHead(descr, rows, columns) {
  let text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${rows}, ${columns}), }`;
  text += " ".repeat(63 - ((10 + text.length) % 64)) + "\n";
  const head = new Uint8Array(10 + text.length);
  head.set([0x93, ...new TextEncoder().encode("NUMPY"), 1, 0, text.length & 255, text.length >> 8]);
  head.set(new TextEncoder().encode(text), 10);
  return head;
}

// One array of an export: its head is 64-byte aligned, so float32 is where it may lie.
function npyArray(buffer, at) {
  const headBytes = new DataView(buffer).getUint16(at + 8, true);
  const head = new TextDecoder("latin1").decode(new Uint8Array(buffer, at + 10, headBytes));
  const [, descr, sizes] = /'descr': '([^']+)'.*'shape': \(([^)]*)\)/.exec(head);
  const shape = sizes.split(",").filter((part) => part.trim()).map(Number);
  const count = shape.reduce((a, b) => a * b, 1), size = Number(descr.slice(2)), begin = at + 10 + headBytes;
  const end = begin + count * size;
  if (descr === "<f4") return { shape, end, data: new Float32Array(buffer, begin, count) };
  const own = buffer.slice(begin, end);
  if (descr === "<u8") return { shape, end, data: new BigUint64Array(own) };
  const text = (i) => new TextDecoder().decode(new Uint8Array(own, i * size, size)).replace(/\0+$/, "");
  return { shape, end, data: Array.from({ length: count }, (_, i) => text(i)) };
}

// A line of JSON a point, in pieces of about PIECE_BYTES.
async function* gather(points) {
  const encoder = new TextEncoder();
  let lines = "";
  for await (const point of points) {
    lines += line(point);
    if (lines.length >= PIECE_BYTES) {
      yield encoder.encode(lines);
      lines = "";
    }
  }
  if (lines) yield encoder.encode(lines);
}

// JSON has no BigInt: an id that is one goes out as the integer it is. Typed arrays become arrays.
function line({ id, ...rest }) {
  const plain = (key, value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);
  const more = JSON.stringify(rest, plain).slice(1);
  return `{"id":${typeof id === "bigint" ? id : JSON.stringify(id)}${more === "}" ? "" : ","}${more}\n`;
}
