"""Every request and reply of the end-to-end tests against server/openapi.json.

A route, a status or a key of a reply that is not in the document is an error. So is a request that was
answered with 2xx and does not fit, and for the tests' sake objects in requests are closed: a field
that a test sends and the document lacks fails, although the server would ignore an unknown one. What a
test sends wrong on purpose is refused, and only the refusal is looked at."""
import copy
import json
import os
import re
import urllib.parse

from jsonschema import Draft202012Validator, RefResolver

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LARGE = 100_000  # bytes: larger ones are not looked into
EARLY = (400, 408, 411, 413, 414, 431, 501, 503, 505)  # refused while the request was read, on any route
NO_ROUTE = (401, 404, 405)


class ContractError(AssertionError):
    pass


def load():
    with open(os.path.join(ROOT, "server", "openapi.json")) as file:
        return json.load(file)


def closed(schema):
    """The same schema, with every object that lists its properties closed."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        out.setdefault("additionalProperties", False)
    return out


def matcher(pattern):
    parts = ["[^/]+" if part.startswith("{") else re.escape(part) for part in pattern.split("/")[1:]]
    return re.compile("/" + "/".join(parts) + "$")


class Contract:
    def __init__(self):
        self.document = load()
        strict = copy.deepcopy(self.document)
        strict["components"]["schemas"] = closed(strict["components"]["schemas"])
        self.replies = RefResolver("", self.document)
        self.requests = RefResolver("", strict)
        # literal segments win over parameters, the leftmost first
        rank = lambda pattern: [part.startswith("{") for part in pattern.split("/")]  # noqa: E731
        self.routes = [(matcher(pattern), methods) for pattern, methods in
                       sorted(self.document["paths"].items(), key=lambda item: rank(item[0]))]

    def operation(self, method, path):
        path = re.sub("/+", "/", path.split("?")[0])
        path = path if path == "/" else path.rstrip("/")
        for regex, methods in self.routes:
            if regex.match(path) and method.lower() in methods:
                return methods[method.lower()]
        return None

    def resolve(self, node):
        while "$ref" in node:
            node = self.replies.resolve(node["$ref"])[1]
        return node

    def fits(self, schema, resolver, value, what):
        validator = Draft202012Validator(schema, resolver=resolver)
        if validator.is_valid(value):
            return
        error = min(validator.iter_errors(value), key=lambda e: len(e.path))
        while error.context:  # the variant that got furthest says most
            error = max(error.context, key=lambda e: len(e.path))
        raise ContractError("%s: %s at /%s (%.300s)" % (what, error.message[:300], "/".join(map(str, error.absolute_path)),
                                                       json.dumps(value)))

    def check(self, method, path, body, request_type, status, reply_type, data):
        """One exchange. Bodies: bytes. ContractError when it is not as server/openapi.json says."""
        what = "%s %s -> %d" % (method, path, status)
        head, method = method == "HEAD", "GET" if method == "HEAD" else method
        reply_type = (reply_type or "").split(";")[0]
        operation = self.operation(method, path)
        if operation is None:
            if status not in NO_ROUTE + EARLY:
                raise ContractError(what + ": this route is not in server/openapi.json")
            return
        reply = operation["responses"].get(str(status))
        if reply is None and status in EARLY:
            reply = {"$ref": "#/components/responses/E400"} if status == 400 else {}
        if reply is None:
            raise ContractError(what + ": this status is not in server/openapi.json: %.200s" % data)
        content = self.resolve(reply).get("content")
        if content is not None and not head:
            if reply_type not in content:
                raise ContractError("%s: content type %r" % (what, reply_type))
            if len(data) <= LARGE and reply_type == "application/json":
                self.fits(content[reply_type]["schema"], self.replies, json.loads(data), "reply of " + what)
        if 200 <= status < 300:
            self.parameters(operation, path, what)
            self.request(operation, body, request_type, what)

    def parameters(self, operation, path, what):
        known = {p["name"]: p["schema"] for p in operation.get("parameters", []) if p["in"] == "query"}
        for name, value in urllib.parse.parse_qsl(path.partition("?")[2]):
            if name == "nonsense":
                continue  # what tests call an unknown one, which is ignored
            if name not in known:
                raise ContractError("%s: parameter %s is not in server/openapi.json" % (what, name))
            values = [value]
            if re.fullmatch(r"-?\d+(\.\d+)?|true|false", value):
                values.append(json.loads(value))
            if not any(Draft202012Validator(known[name], resolver=self.replies).is_valid(v) for v in values):
                raise ContractError("%s: parameter %s=%s" % (what, name, value))

    def request(self, operation, body, request_type, what):
        if not body:
            return
        request_type = (request_type or "").split(";")[0]
        content = operation.get("requestBody", {}).get("content")
        if content is None:
            raise ContractError(what + ": has a body, and there is none in server/openapi.json")
        if request_type not in content:
            raise ContractError("%s: request of type %r" % (what, request_type))
        schema = content[request_type].get("schema")
        if schema is None or len(body) > LARGE:
            return
        try:
            value = json.loads(body)
        except ValueError:
            return  # packed
        self.fits(closed(schema), self.requests, value, "request of " + what)
