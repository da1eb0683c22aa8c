"""Counts visits in a cache, and reads from a database how many people came."""

import json
import os
import socket
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def ask_cache(*words):
    host, port = os.environ["CACHE"].split(":")
    sent = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)
    with socket.create_connection((host, int(port)), timeout=5) as cache:
        cache.sendall(sent)
        return cache.recv(4096).decode().strip().lstrip(":")


def ask_database(query):
    answer = subprocess.run(
        ["psql", "-tA", os.environ["DATABASE"], "-c", query], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = 200, {"status": "ok"}
        if self.path == "/visits":
            body = {"visits": int(ask_cache("INCR", "visits"))}
        elif self.path == "/people":
            body = {"people": int(ask_database("select sum(people) from visits"))}
        elif self.path == "/note":
            with open("/shared/note", encoding="utf-8") as note:
                body = {"note": note.read()}
        elif self.path != "/":
            status, body = 404, {"error": "not found"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


print("serves with the token", os.environ["TOKEN"], flush=True)
ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
