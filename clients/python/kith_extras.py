"""What kith has beyond the API it is compatible with, in one file without dependencies (Python 3.8+).

For everything else use the official client, qdrant-client: it talks to kith unchanged.

    from kith_extras import Kith
    kith = Kith("http://localhost:6333", api_key=None)
    kith.upload("words", matrix, distance="Cosine")       # NumPy array, array, list of lists
    kith.upload_points("books", ({"id": i, ...} for i in ...))
    for point in kith.export("books", filter={...}): ...
    kith.recall("books", [{"query": vector, "limit": 10} for vector in some])

A Kith may be used by one thread at a time; it holds no connection between calls."""
import array
import http.client
import itertools
import json
import sys
import urllib.parse

__all__ = ["Kith", "KithError"]

# memoryview's format of an element -> NPY's name of it; those that kith reads
TYPES = {"f": "<f4", "d": "<f8", "e": "<f2", "B": "|u1", "b": "|i1"}
PIECE_BYTES = 1 << 20


class KithError(Exception):
    """A refused call. status: of HTTP; text: why; accepted: points of an upload that are kept."""

    def __init__(self, status, text, accepted=0):
        super().__init__("%d %s" % (status, text))
        self.status, self.text, self.accepted = status, text, accepted


class Kith:
    def __init__(self, url="http://localhost:6333", api_key=None, timeout=300):
        """timeout: seconds that a socket may be silent."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("url must begin with http:// or https://: %r" % url)
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._address = (parts.hostname, parts.port or (443 if parts.scheme == "https" else 6333))
        self._base = parts.path.rstrip("/")
        self._headers = {"api-key": api_key} if api_key else {}
        self._timeout = timeout

    # ---- any call ----

    def call(self, method, path, body=None):
        """The `result` of any route: call("POST", "/collections/books/points/query", {"query": [...]})."""
        data = None if body is None else json.dumps(body).encode()
        return self._request(method, path, data, "application/json")

    # ---- uploads of any size, streamed ----

    def upload(self, collection, vectors, first_id=None, distance=None):
        """Store a matrix, a point a row, and return how many; durable and searchable when it returns.

        vectors   a 2-d NumPy array, any other 2-d buffer, or a sequence of rows of numbers. float32, float64,
                  float16, uint8 and int8 go as they are, without a copy if they are contiguous; others as float32
        first_id  id of the first row, then one more a row; None: the next free ones
        distance  "Cosine", "Dot", "Euclid" or "Manhattan": creates the collection if it is missing

        KithError at the first row that is refused; rows before it are kept (its `accepted`)."""
        view = _matrix(vectors)
        head = _npy_head(TYPES[view.format], view.shape)
        flat = view.cast("B")
        pieces = (flat[at:at + PIECE_BYTES] for at in range(0, flat.nbytes, PIECE_BYTES))
        query = {"first_id": first_id, "distance": distance}
        return self._bulk(collection, query, itertools.chain([head], pieces), "application/x-npy", len(head) + flat.nbytes)

    def upload_points(self, collection, points, distance=None):
        """Store points ({"id", "vector", "payload"}, an iterable of any length) and return how many.

        KithError at the first that is refused, with its number as a line; those before it are kept."""
        lines = (json.dumps(point).encode() + b"\n" for point in points)
        return self._bulk(collection, {"distance": distance}, _gather(lines), "application/x-ndjson", None)

    # ---- exports of any size, streamed ----

    def export(self, collection, filter=None, with_payload=True, with_vector=True):
        """Iterate over the points ({"id", "vector", "payload"}) in the order of ids, as upload_points takes them.

        filter, with_payload, with_vector: as scroll has them. http.client.IncompleteRead if the server ends it early."""
        body = {"filter": filter, "with_payload": with_payload, "with_vector": with_vector}
        rest = b""
        for piece in self._pieces(collection, "", body):
            lines = (rest + piece).split(b"\n")
            rest = lines.pop()
            for line in lines:
                yield json.loads(line)
        if rest:
            raise http.client.IncompleteRead(rest)

    def export_npy(self, collection, file, vector=None, filter=None, with_ids=False):
        """Write a matrix as numpy.load reads it to a binary file; the bytes written.

        vector    the name of a named one; points without it are left out
        with_ids  the ids follow as a second array: load twice from the same open file"""
        query = {"format": "npy", "vector": vector, "with_ids": "true" if with_ids else None}
        return sum(file.write(piece) for piece in self._pieces(collection, _query(query), {"filter": filter}))

    # ---- what queries get ----

    def recall(self, collection, searches=None, recall=None, minutes=None):
        """With searches (bodies as of points/query): run each as asked and exactly, and compare; recall is the share to
        ask for (default: the server's). Without: what sampled queries of the last `minutes` got."""
        path = "/collections/%s/recall" % urllib.parse.quote(collection, safe="")
        if searches is None:
            return self.call("GET", path + _query({"minutes": minutes}))
        return self.call("POST", path + _query({"recall": recall}), {"searches": list(searches)})

    # ---- inside ----

    def _pieces(self, collection, query, body):
        path = "/collections/%s/export%s" % (urllib.parse.quote(collection, safe=""), query)
        connection = self._connect(*self._address, timeout=self._timeout)
        try:
            connection.request("POST", self._base + path, json.dumps(body).encode(),
                               dict(self._headers, **{"Content-Type": "application/json"}))
            reply = connection.getresponse()
            if reply.status != 200:
                raise _error(reply.status, reply.read())
            piece = reply.read(PIECE_BYTES)
            while piece:
                yield piece
                piece = reply.read(PIECE_BYTES)
        finally:
            connection.close()

    def _bulk(self, collection, query, pieces, content_type, length):
        path = "/collections/%s/bulk%s" % (urllib.parse.quote(collection, safe=""), _query(query))
        return self._request("POST", path, pieces, content_type, length)["points"]

    def _request(self, method, path, body, content_type, length=None):
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = content_type
        if length is not None:
            headers["Content-Length"] = str(length)
        connection = self._connect(*self._address, timeout=self._timeout)
        try:
            try:
                connection.request(method, self._base + path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before the body was sent: the reply says why
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status != 200:
            raise _error(reply.status, data)
        return json.loads(data)["result"]


def _query(parameters):
    given = {key: value for key, value in parameters.items() if value is not None}
    return "?" + urllib.parse.urlencode(given) if given else ""


def _error(status, data):
    try:
        parsed = json.loads(data)
        return KithError(status, parsed["status"]["error"], parsed.get("accepted", 0))
    except (ValueError, KeyError, TypeError):  # 401 is plain text
        return KithError(status, data.decode("utf-8", "replace"))


def _matrix(vectors):
    """A C-contiguous memoryview of two dimensions whose elements kith reads."""
    if hasattr(vectors, "astype") and hasattr(vectors, "dtype"):  # NumPy, without importing it
        if vectors.dtype.str not in TYPES.values():
            vectors = vectors.astype("<f4")
        if not vectors.flags.c_contiguous:
            vectors = vectors.copy(order="C")
    try:
        view = memoryview(vectors)
    except TypeError:
        rows = list(vectors)
        dim = len(rows[0]) if rows else 0
        if any(len(row) != dim for row in rows):
            raise ValueError("rows of different lengths") from None
        if dim == 0:
            raise ValueError("no vectors") from None
        flat = array.array("f", itertools.chain.from_iterable(rows))
        if sys.byteorder == "big":
            flat.byteswap()
        view = memoryview(flat).cast("B").cast("f", (len(rows), dim))
    if view.ndim != 2:
        raise ValueError("vectors must have two dimensions, not %d" % view.ndim)
    if view.format.lstrip("<=@|") not in TYPES or not view.c_contiguous:
        raise ValueError("elements of format %r, or not contiguous: use float32, float64, float16, uint8 or int8" % view.format)
    if view.format not in TYPES:
        view = view.cast("B").cast(view.format.lstrip("<=@|"), view.shape)
    if 0 in view.shape:
        raise ValueError("no vectors")
    return view


def _npy_head(descr, shape):
    """The header of NPY 1.0: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html"""
    text = "{'descr': '%s', 'fortran_order': False, 'shape': (%d, %d), }" % (descr, shape[0], shape[1])
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin-1")


def _gather(lines):
    """Lines in pieces of about PIECE_BYTES: a chunk and a system call each would be slow."""
    held, size = [], 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
