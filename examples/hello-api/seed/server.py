"""A small HTTP server that speaks JSON; README.md shows how a program uses it."""

import itertools
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

ROUTES = []


class Records:
    """Records in memory, in the order in which they were added, each with an `id` of its own."""

    def __init__(self):
        self.kept = {}
        self.ids = itertools.count(1)

    def add(self, record):
        record = {"id": str(next(self.ids)), **record}
        self.kept[record["id"]] = record
        return record

    def get(self, id):
        return self.kept.get(id)

    def update(self, id, values):
        self.kept[id].update(values)
        return self.kept[id]

    def remove(self, id):
        return self.kept.pop(id, None)

    def all(self):
        return list(self.kept.values())


def route(method, pattern):
    path = re.compile(re.sub(r"\{.*?\}", "([^/]+)", pattern))

    def keep(function):
        ROUTES.append((method, path, function))
        return function

    return keep


class Handler(BaseHTTPRequestHandler):
    def serve(self):
        url = urlsplit(self.path)
        self.args = dict(parse_qsl(url.query))
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.json = json.loads(sent)
        except ValueError:
            self.json = None
        if not isinstance(self.json, dict):
            self.json = {}
        status, value = 404, {"error": "not found"}
        for method, path, function in ROUTES:
            match = path.fullmatch(url.path)
            if match and method == self.command:
                status, value = function(self, *map(unquote, match.groups()))
                break
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve


def serve(port):
    ThreadingHTTPServer(("0.0.0.0", port), Handler).serve_forever()
