"""A WebSocket server with one habit per path. Says on its standard output where it listens, which connections open and
how they close."""

import asyncio
import json

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def close(socket):
    async for message in socket:
        code, _, reason = message.partition(" ")
        await socket.close(int(code), reason)


async def two(socket):
    await socket.send('{"n": 1}')
    await socket.send("two")
    await socket.close(1001, "going away")


async def silent(socket):
    await socket.wait_closed()


async def flood(socket):
    while True:
        await socket.send("flood " * 100)
        await asyncio.sleep(0)


taken_in = asyncio.Event()


async def heavy(socket):
    for _ in range(40):
        await socket.send("x" * 1_000_000)
    # The answer to a ping comes when all before it has been taken in.
    await (await socket.ping())
    taken_in.set()
    await socket.wait_closed()


async def told(socket):
    await taken_in.wait()
    await socket.send("all is taken in")
    await socket.wait_closed()


async def drop(socket):
    await socket.recv()
    socket.transport.abort()


async def ping(socket):
    await (await socket.ping(b"are you there"))
    await socket.send("you are there")


async def headers(socket):
    await socket.send(json.dumps({name.lower(): value for name, value in socket.request.headers.raw_items()}))


async def large(socket):
    await socket.send("x" * int(await socket.recv()))
    await socket.wait_closed()


async def gibibyte(socket):
    for _ in range(1024):
        await socket.send("x" * (1 << 20))
    await socket.close(1000)


async def latin(socket):
    await socket.send(b"gr\xfc\xdfe", text=True)
    await socket.wait_closed()


HABITS = (echo, close, two, silent, flood, heavy, told, drop, ping, headers, large, gibibyte, latin)
PATHS = {f"/{habit.__name__}": habit for habit in HABITS}


async def admit(connection, request):
    path = request.path.partition("?")[0]
    if path == "/never":
        await asyncio.Event().wait()
    if path == "/private" and "Authorization" not in request.headers:
        return connection.respond(401, "who are you?\n")
    if path != "/private" and path not in PATHS:
        return connection.respond(404, "nothing here\n")
    return None


def choose(connection, offered):
    return next((known for known in ("chat.v2", "chat.v1") if known in offered), None)


async def serve_path(socket):
    path = socket.request.path
    print("open", path, flush=True)
    try:
        await PATHS.get(path.partition("?")[0], echo)(socket)
    except ConnectionClosed:
        pass
    await socket.wait_closed()
    print("closed", path, socket.close_code, flush=True)


async def main():
    options = {"process_request": admit, "select_subprotocol": choose, "max_size": None}
    async with serve(serve_path, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
