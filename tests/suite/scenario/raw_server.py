"""A server that writes its answers byte by byte, with one habit per path: handshakes of WebSockets, compressed bodies,
answers on the way without end, and bodies that come back as they were sent. Says on its standard output where it listens."""

import base64
import gzip
import hashlib
import socket
import sys
import threading
import time
import zlib

SWITCH = "HTTP/1.1 101 Switching Protocols"
MESSAGE = b"\x81\x02hi"


def accept(head):
    key = next(line.split(": ")[1] for line in head if line.lower().startswith("sec-websocket-key: "))
    digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    return "Sec-WebSocket-Accept: " + base64.b64encode(digest).decode()


def switched(head, *lines, first=SWITCH):
    return "\r\n".join([first, *lines, accept(head), "", ""]).encode() + MESSAGE


USUAL = ("Upgrade: websocket", "Connection: Upgrade")

HANDSHAKES = {
    "/several": lambda head: switched(head, "Upgrade: WebSocket", "Connection: keep-alive, Upgrade"),
    "/apart": lambda head: switched(head, "UPGRADE: websocket", "connection: keep-alive", "connection: upgrade"),
    "/hints": lambda head: b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3
    + switched(head, *USUAL),
    "/long": lambda head: switched(head, *USUAL, *[f"X-{n}: {'y' * 100}" for n in range(1900)]),
    "/wrong": lambda head: switched(head, *USUAL).replace(b"Sec-WebSocket-Accept: ", b"Sec-WebSocket-Accept: A"),
    "/closed": lambda head: switched(head, "Upgrade: websocket", "Connection: close"),
    "/h2c": lambda head: switched(head, "Upgrade: h2c", "Connection: Upgrade"),
    "/old": lambda head: switched(head, *USUAL, first="HTTP/1.0 101 Switching Protocols"),
    "/extended": lambda head: switched(head, *USUAL, "Sec-WebSocket-Extensions: permessage-deflate"),
    "/unasked": lambda head: switched(head, *USUAL, "Sec-WebSocket-Protocol: v9"),
    "/chunked": lambda head: b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n5\r\n here\r\n0\r\n\r\n",
    "/half": lambda head: b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nnot here",
    "/moved": lambda head: b"HTTP/1.1 302 Found\r\nLocation: /several\r\nContent-Length: 0\r\n\r\n",
    "/nonsense": lambda head: b"SSH-2.0-x\r\n\r\n",
    "/head": lambda head: switched(head, *USUAL)[: -len(MESSAGE)] + text("\n".join(head).encode()),
}


def text(payload):
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


def raw_deflate(body):
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(body) + squeeze.flush()


WHOLE = gzip.compress(b"first,")
LARGE = gzip.compress(b"x" * 5_000_000)

BODIES = {
    "/two": (["gzip"], WHOLE + gzip.compress(b"") + gzip.compress(b"second")),
    "/followed": (["gzip"], WHOLE + b"\0\0\0\0"),
    "/capitals": (["GZIP"], WHOLE),
    "/x-gzip": (["x-gzip"], WHOLE),
    "/twice": (["gzip, gzip"], gzip.compress(WHOLE)),
    "/deflated": (["deflate, identity, X-Gzip"], gzip.compress(zlib.compress(b"first,"))),
    "/lines": (["deflate", "gzip"], gzip.compress(raw_deflate(b"first,"))),
    "/zlib": (["deflate"], zlib.compress(b"first,", 0)),
    "/raw": (["deflate"], raw_deflate(b"first,")),
    "/raw-large": (["deflate"], raw_deflate(b"first," * 100_000)),
    "/nothing": (["gzip"], b""),
    "/unknown": (["gzip, aes128gcm"], WHOLE),
    "/under": (["aes128gcm, gzip"], WHOLE),
    "/cut": (["gzip"], WHOLE[:-4]),
    "/cut-head": (["gzip"], WHOLE[:5]),
    "/cut-second": (["gzip"], WHOLE + WHOLE[:-9]),
    "/cut-raw": (["deflate"], raw_deflate(b"first,")[:-3]),
    "/cut-inner": (["gzip, gzip"], gzip.compress(WHOLE[:-4])),
    "/broken": (["gzip"], WHOLE[:-6] + b"\0\0" + WHOLE[-4:]),
    "/none": (["gzip"], b"first,"),
    "/many": ([", ".join(["gzip"] * 5)], WHOLE),
    "/bomb": (["gzip, gzip"], gzip.compress(LARGE)),
}


def body(path):
    encodings, content = BODIES[path]
    lines = [f"Content-Encoding: {encoding}" for encoding in encodings] + [f"Content-Length: {len(content)}"]
    return "\r\n".join(["HTTP/1.1 200 OK", *lines, "", ""]).encode() + content


def events(connection):
    """Two events, compressed twice and flushed one by one, of a stream that does not end."""
    inner, outer = zlib.compressobj(wbits=31), zlib.compressobj(wbits=31)
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip, gzip\r\n\r\n"
    connection.sendall(head.encode())
    for n in range(2):
        squeezed = inner.compress(b"data: %d\n\n" % n) + inner.flush(zlib.Z_SYNC_FLUSH)
        connection.sendall(outer.compress(squeezed) + outer.flush(zlib.Z_SYNC_FLUSH))
    connection.recv(1)


# Pieces that a server may send without end.
FLOODS = {
    "/hints-without-end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20_000,
    "/members-without-end": gzip.compress(b"", mtime=0) * 20_000,
    "/pings-without-end": b"\x89\x00" * 100_000,
}


def flood(connection, path, head):
    if path == "/members-without-end":
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
    if path == "/pings-without-end":
        connection.sendall(switched(head, *USUAL))
        # What is answered has to be read, or nothing more is.
        threading.Thread(target=swallow, args=(connection,), daemon=True).start()
    while True:
        connection.sendall(FLOODS[path])


def swallow(connection):
    try:
        while connection.recv(1 << 20):
            pass
    except OSError:
        pass


def serve(connection):
    try:
        while True:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                more = connection.recv(1)
                if not more:
                    return
                head += more
            head = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            path = head[0].split(" ")[1].partition("?")[0]
            if path == "/body":
                length = next(int(line.split(": ")[1]) for line in head if line.lower().startswith("content-length: "))
                sent = b""
                while len(sent) < length:
                    sent += connection.recv(length - len(sent))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + sent)
            elif path == "/events":
                events(connection)
            elif path in FLOODS:
                flood(connection, path, head)
            elif path in BODIES:
                connection.sendall(body(path))
            else:
                # Byte by byte is how a slow network delivers.
                answer = HANDSHAKES.get(path, HANDSHAKES["/head"])(head)
                if path == "/apart":
                    for byte in answer:
                        connection.sendall(bytes([byte]))
                        time.sleep(0)
                else:
                    connection.sendall(answer)
                if path not in ("/half", "/moved"):
                    connection.recv(1 << 16)
                    return
    except OSError:
        pass
    finally:
        connection.close()


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print(listener.getsockname()[1], flush=True)
sys.setswitchinterval(0.001)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
