"""A gRPC server made of the library's own parts: health service, reflection unless told otherwise, and a greeter.

Prints its port, then a line for every stream or hanging call that its client has left.
"""

import os
import queue
import sys
import tempfile
import threading
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_tools import protoc

here = os.path.dirname(os.path.abspath(__file__))
out = tempfile.mkdtemp()
well_known = os.path.join(os.path.dirname(protoc.__file__), "_proto")
arguments = ["", f"-I{here}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}", "greet.proto", "extra.proto"]
assert protoc.main(arguments) == 0
sys.path.insert(0, out)

import extra_pb2  # noqa: E402, F401
import greet_pb2 as pb  # noqa: E402
import greet_pb2_grpc  # noqa: E402


subscribers = []


def stay(context, name):
    """Waits until the client is gone, and says so."""
    gone = threading.Event()
    if context.add_callback(gone.set):
        gone.wait()
    print("left", name, flush=True)


class Greeter(greet_pb2_grpc.GreeterServicer):
    def Hello(self, request, context):
        sent = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
        context.send_initial_metadata(sent)
        context.set_trailing_metadata([("x-entries", str(len(sent))), ("x-raw-bin", b"\x00\xff")])
        if not request.name:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a name is needed")
        name = request.name.upper() if request.options.loud else request.name
        reply = pb.Reply(text=f"hello {name}", number=9007199254740993, mood=pb.MERRY, raw=b"\x00\x01")
        reply.at.FromSeconds(1700000000)
        return reply

    def Count(self, request, context):
        number = 0
        try:
            while number != request.count:
                yield pb.Reply(text=request.name, number=number)
                number += 1
        finally:
            # A generator that is not read to its end is closed.
            if request.count < 0:
                print("left Count\n", end="", flush=True)
        if request.name == "fail":
            context.abort(grpc.StatusCode.DATA_LOSS, "no more")

    def Sum(self, requests, context):
        return pb.Reply(number=sum(request.count for request in requests))

    def Chat(self, requests, context):
        for request in requests:
            yield pb.Reply(text=f"heard {request.name}")
        context.set_trailing_metadata([("x-end", "bye")])

    def Watch(self, request, context):
        yield pb.Reply(text="watching")
        stay(context, "Watch")

    def Hang(self, request, context):
        stay(context, "Hang")

    def Large(self, request, context):
        return pb.Reply(raw=bytes(request.count << 20))

    def Wrap(self, request, context):
        request.more.add(type_url="type.googleapis.com/nobody.Knows", value=b"\x0a\x01x")
        return request

    def Subscribe(self, request, context):
        news = queue.Queue()
        subscribers.append(news)
        context.add_callback(lambda: news.put(None))
        while (reply := news.get()) is not None:
            yield reply
        subscribers.remove(news)

    def Publish(self, request, context):
        for news in list(subscribers):
            news.put(pb.Reply(text=request.name))
        return pb.Reply(number=len(subscribers))

    def Die(self, request, context):
        yield pb.Reply(text="last words")
        threading.Event().wait(0.2)
        os._exit(1)


options = [("grpc.max_send_message_length", -1)]
server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
greet_pb2_grpc.add_GreeterServicer_to_server(Greeter(), server)
servicer = health.HealthServicer()
servicer.set("greet.v1.Greeter", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
if "--no-reflection" not in sys.argv:
    names = ["greet.v1.Greeter", health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server)
if "--tls" in sys.argv:
    home = sys.argv[sys.argv.index("--tls") + 1]
    key, certificate = (open(os.path.join(home, name), "rb").read() for name in ["key.pem", "cert.pem"])
    authority = open(sys.argv[sys.argv.index("--clients") + 1], "rb").read() if "--clients" in sys.argv else None
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)], authority, bool(authority)))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
