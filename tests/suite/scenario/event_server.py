"""Streams of events that do not end, one per path. Says on its standard output where it listens."""

import asyncio
import socket

import uvicorn
from sse_starlette.sse import EventSourceResponse
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route


async def large(request):
    async def events():
        while True:
            yield {"data": "x" * (1 << 20)}
            await asyncio.sleep(0)

    return EventSourceResponse(events())


async def small(request):
    async def events():
        n = 0
        while True:
            yield {"data": '{"n": %d}' % n}
            n += 1
            await asyncio.sleep(0)

    return EventSourceResponse(events())


async def unbroken(request):
    async def one_line():
        yield "data: "
        while True:
            yield "x" * (1 << 20)
            await asyncio.sleep(0)

    return StreamingResponse(one_line(), media_type="text/event-stream")


app = Starlette(routes=[Route(f"/{habit.__name__}", habit) for habit in (large, small, unbroken)])
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(64)
print(listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
