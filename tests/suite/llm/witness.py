"""The vendors' own clients as witnesses.

`hear BASE KIND…`: asks the server at BASE in each wire format KIND, holds every event against the vendor's types, and
prints what was heard as a line of JSON each.
`batch BASE KIND…`: makes a batch of three requests at the server at BASE with each KIND, finds it on the list, reads its
results, and prints what was read as a line of JSON each.
`calls BASE KIND…`: the same, and prints the tools that are called, with their input.
`judge`: reads lines of JSON `[KIND, BODY]` on standard input, holds each request against the vendor's types, and prints
what is wrong with it, an empty line where nothing is.
"""

import json
import sys

from pydantic import TypeAdapter, ValidationError

KEY = "sk-test-0123456789"
PROMPT = [{"role": "user", "content": "greet"}]


def openai(base, responses):
    from openai import OpenAI
    from openai.types.chat import ChatCompletionChunk
    from openai.types.responses import ResponseStreamEvent

    client = OpenAI(api_key=KEY, base_url=base, max_retries=0)
    heard = {"text": ""}
    if responses:
        adapter = TypeAdapter(ResponseStreamEvent)
        for event in client.responses.create(model="m", input="greet", stream=True):
            adapter.validate_python(event.to_dict())
            if event.type == "response.output_text.delta":
                heard["text"] += event.delta
            elif event.type in ("response.completed", "response.incomplete"):
                details = event.response.incomplete_details
                usage = event.response.usage
                heard |= {"stop": details.reason if details else event.response.status}
                heard |= {"in": usage.input_tokens, "out": usage.output_tokens}
                heard |= {"cached": usage.input_tokens_details.cached_tokens}
        return heard
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for chunk in client.chat.completions.create(model="m", messages=PROMPT, **options):
        ChatCompletionChunk.model_validate(chunk.to_dict())
        for choice in chunk.choices:
            heard["text"] += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                heard["text"] += call.function.arguments
            heard["stop"] = choice.finish_reason or heard.get("stop")
        if chunk.usage:
            heard |= {"in": chunk.usage.prompt_tokens, "out": chunk.usage.completion_tokens}
            heard |= {"cached": chunk.usage.prompt_tokens_details.cached_tokens}
    return heard


def anthropic(base):
    from anthropic import Anthropic
    from anthropic.types import RawMessageStreamEvent

    client = Anthropic(api_key=KEY, base_url=base.removesuffix("/v1"), max_retries=0)
    adapter = TypeAdapter(RawMessageStreamEvent)
    for event in client.messages.create(model="m", max_tokens=9, messages=PROMPT, stream=True):
        if event.type != "ping":
            adapter.validate_python(event.to_dict())
    return None


def anthropic_message(base):
    from anthropic import Anthropic

    client = Anthropic(api_key=KEY, base_url=base.removesuffix("/v1"), max_retries=0)
    with client.messages.stream(model="m", max_tokens=9, messages=PROMPT) as stream:
        message = stream.get_final_message()
    parts = [part.text if part.type == "text" else json.dumps(part.input) for part in message.content]
    usage = message.usage
    return {
        "text": "".join(parts),
        "stop": message.stop_reason,
        "in": usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens,
        "out": usage.output_tokens,
        "cached": usage.cache_read_input_tokens,
    }


def gemini(base):
    from google import genai

    client = genai.Client(api_key=KEY, http_options={"base_url": base.removesuffix("/v1"), "api_version": "v1"})
    heard = {"text": ""}
    for chunk in client.models.generate_content_stream(model="m", contents="greet"):
        for part in chunk.candidates[0].content.parts:
            heard["text"] += "" if part.thought else part.text
        reason = chunk.candidates[0].finish_reason
        heard["stop"] = reason.value if reason else heard.get("stop")
        usage = chunk.usage_metadata
        heard |= {"in": usage.prompt_token_count, "cached": usage.cached_content_token_count}
        heard |= {"out": usage.candidates_token_count + usage.thoughts_token_count}
    return heard


def ollama(base):
    from ollama import Client

    heard = {"text": ""}
    for part in Client(host=base.removesuffix("/v1")).chat(model="m", messages=PROMPT, stream=True):
        heard["text"] += part.message.content
        if part.done:
            heard |= {"stop": part.done_reason, "in": part.prompt_eval_count, "out": part.eval_count, "cached": 0}
    return heard


def calls(kind, base):
    """The tools that an answer calls."""
    if kind == "openai":
        from openai import OpenAI
        from openai.lib.streaming.chat import ChatCompletionStreamState

        state = ChatCompletionStreamState()
        client = OpenAI(api_key=KEY, base_url=base, max_retries=0)
        for chunk in client.chat.completions.create(model="m", messages=PROMPT, stream=True):
            state.handle_chunk(chunk)
        message = state.get_final_completion().choices[0].message
        return [{"name": c.function.name, "input": json.loads(c.function.arguments)} for c in message.tool_calls]
    if kind == "openai_responses":
        from openai import OpenAI
        from openai.types.responses import ResponseStreamEvent

        client = OpenAI(api_key=KEY, base_url=base, max_retries=0)
        adapter = TypeAdapter(ResponseStreamEvent)
        for event in client.responses.create(model="m", input="greet", stream=True):
            adapter.validate_python(event.to_dict())
            if event.type == "response.completed":
                return [{"name": item.name, "input": json.loads(item.arguments)} for item in event.response.output]
    if kind == "anthropic":
        from anthropic import Anthropic

        anthropic(base)
        client = Anthropic(api_key=KEY, base_url=base.removesuffix("/v1"), max_retries=0)
        with client.messages.stream(model="m", max_tokens=9, messages=PROMPT) as stream:
            return [{"name": part.name, "input": part.input} for part in stream.get_final_message().content]
    if kind == "gemini":
        from google import genai

        client = genai.Client(api_key=KEY, http_options={"base_url": base.removesuffix("/v1"), "api_version": "v1"})
        chunks = client.models.generate_content_stream(model="m", contents="greet")
        return [{"name": call.name, "input": call.args} for chunk in chunks for call in chunk.function_calls or []]
    from ollama import Client

    parts = Client(host=base.removesuffix("/v1")).chat(model="m", messages=PROMPT, stream=True)
    found = [call.function for part in parts for call in part.message.tool_calls or []]
    return [{"name": function.name, "input": dict(function.arguments)} for function in found]


def hear(kind, base):
    if kind == "anthropic":
        heard = anthropic_message(base)
        anthropic(base)
        return heard
    if kind in ("openai", "openai_responses"):
        return openai(base, kind == "openai_responses")
    return {"gemini": gemini, "ollama": ollama}[kind](base)


ASKED = ["good", "wrong", "late"]


def openai_batch(base):
    from openai import OpenAI
    from openai.types import Batch
    from openai.types.chat import ChatCompletion

    client = OpenAI(api_key=KEY, base_url=base, max_retries=0)
    request = lambda text: {"model": "m", "messages": [{"role": "user", "content": text}]}
    line = lambda text: {"custom_id": text, "method": "POST", "url": "/v1/chat/completions", "body": request(text)}
    lines = "".join(json.dumps(line(text)) + "\n" for text in ASKED)
    file = client.files.create(file=("batch.jsonl", lines.encode()), purpose="batch")
    options = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = client.batches.create(input_file_id=file.id, metadata={"atoll": "mark"}, **options)
    listed = [batch.metadata["atoll"] for batch in client.batches.list() if batch.id == made.id]
    batch = client.batches.retrieve(made.id)
    Batch.model_validate(batch.to_dict(), strict=True)
    results = {}
    for id in filter(None, [batch.output_file_id, batch.error_file_id]):
        for line in client.files.content(id).text.splitlines():
            result = json.loads(line)
            if result["error"]:
                results[result["custom_id"]] = result["error"]["code"]
            elif result["response"]["status_code"] == 200:
                answer = ChatCompletion.model_validate(result["response"]["body"])
                results[result["custom_id"]] = answer.choices[0].message.content
            else:
                results[result["custom_id"]] = result["response"]["body"]["error"]["message"]
    counts = batch.request_counts
    return {"listed": listed, "state": batch.status, "counts": [counts.completed, counts.failed], "results": results}


def anthropic_batch(base):
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch

    client = Anthropic(api_key=KEY, base_url=base.removesuffix("/v1"), max_retries=0)
    params = lambda text: {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}
    made = client.messages.batches.create(requests=[{"custom_id": text, "params": params(text)} for text in ASKED])
    listed = [str(made.request_counts.processing) for batch in client.messages.batches.list() if batch.id == made.id]
    batch = client.messages.batches.retrieve(made.id)
    MessageBatch.model_validate(batch.to_dict())
    results = {}
    for entry in client.messages.batches.results(made.id):
        result = entry.result
        if result.type == "succeeded":
            results[entry.custom_id] = result.message.content[0].text
        elif result.type == "errored":
            results[entry.custom_id] = result.error.error.message
        else:
            results[entry.custom_id] = result.type
    counts = batch.request_counts
    done = counts.succeeded + counts.errored + counts.canceled + counts.expired
    return {"listed": listed, "state": batch.processing_status, "counts": [done], "results": results}


def gemini_batch(base):
    from google import genai

    client = genai.Client(api_key=KEY, http_options={"base_url": base.removesuffix("/v1"), "api_version": "v1"})
    request = lambda text: {"contents": [{"role": "user", "parts": [{"text": text}]}], "metadata": {"key": text}}
    made = client.batches.create(model="m", src=[request(text) for text in ASKED], config={"display_name": "mark"})
    listed = [batch.display_name for batch in client.batches.list() if batch.name == made.name]
    batch = client.batches.get(name=made.name)
    results = {}
    for text, result in zip(ASKED, batch.dest.inlined_responses):
        if result.response:
            results[text] = result.response.candidates[0].content.parts[0].text
        else:
            results[text] = result.error.message if result.error else None
    return {"listed": listed, "state": batch.state.value, "counts": [len(results)], "results": results}


def exhaust(value):
    """Lists are held against their types only while they are read."""
    if isinstance(value, dict):
        value = value.values()
    if not isinstance(value, (str, bytes, int, float, type(None))) and hasattr(value, "__iter__"):
        for part in value:
            exhaust(part)


def judge(kind, body):
    try:
        unknown = fault(kind, body)
    except ValidationError as error:
        return " ".join(str(error).split())
    return f"{kind} knows no {', '.join(sorted(unknown))}" if unknown else ""


def fault(kind, body):
    """The keys that the vendor does not know."""
    if kind == "openai":
        from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming as Params

        adapter = TypeAdapter(Params)
        exhaust(adapter.validate_python(body))
        unknown = body.keys() - all_keys(Params)
    elif kind == "openai_responses":
        from openai.types.responses.response_create_params import ResponseCreateParamsStreaming as Params

        adapter = TypeAdapter(Params)
        exhaust(adapter.validate_python(body))
        unknown = body.keys() - all_keys(Params)
    elif kind == "anthropic":
        from anthropic.types.message_create_params import MessageCreateParamsStreaming as Params

        adapter = TypeAdapter(Params)
        exhaust(adapter.validate_python(body))
        # The models of today take it; the newest client has it no more.
        unknown = body.keys() - all_keys(Params) - {"temperature"}
    elif kind == "openai_line":
        from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Params

        adapter = TypeAdapter(Params)
        exhaust(adapter.validate_python(body["body"]))
        unknown = (body["body"].keys() - all_keys(Params)) | (body.keys() - {"custom_id", "method", "url", "body"})
    elif kind == "openai_batch":
        from openai.types.batch_create_params import BatchCreateParams as Params

        adapter = TypeAdapter(Params)
        exhaust(adapter.validate_python(body))
        unknown = body.keys() - all_keys(Params)
    elif kind == "anthropic_batch":
        from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
        from anthropic.types.messages.batch_create_params import BatchCreateParams as Params

        adapter = TypeAdapter(Params)
        exhaust(adapter.validate_python(body))
        unknown = body.keys() - all_keys(Params)
        for request in body["requests"]:
            unknown |= request.keys() - {"custom_id", "params"}
            unknown |= request["params"].keys() - all_keys(MessageCreateParamsNonStreaming) - {"temperature"}
    elif kind == "gemini_batch":
        from google.genai import types

        requests = body["batch"]["inputConfig"].pop("requests").pop("requests")
        body["batch"].pop("displayName")
        unknown = (body.keys() - {"batch"}) | (body["batch"].keys() - {"inputConfig"}) | body["batch"]["inputConfig"].keys()
        for request in requests:
            unknown |= request.keys() - {"request", "metadata"}
            inner = dict(request["request"])
            contents, about = inner.pop("contents"), inner.pop("generationConfig")
            inner.pop("systemInstruction", None)
            types.InlinedRequest.model_validate({"contents": contents, "metadata": request["metadata"], "config": about})
            unknown |= inner.keys()
    elif kind == "gemini":
        from google.genai import types

        TypeAdapter(list[types.Content]).validate_python(body.pop("contents"))
        TypeAdapter(types.Content).validate_python(body.pop("systemInstruction", {}))
        # What goes beside the configuration on the wire belongs to it in the client.
        types.GenerateContentConfig.model_validate(body.pop("generationConfig"))
        TypeAdapter(list[types.Tool]).validate_python(body.pop("tools", []))
        unknown = body.keys()
    else:
        from ollama._types import ChatRequest, Options

        ChatRequest.model_validate(body)
        unknown = (body.keys() - ChatRequest.model_fields.keys()) | (
            body["options"].keys() - Options.model_fields.keys()
        )
    return unknown


def all_keys(params):
    """The keys of a TypedDict and of those that it extends."""
    return params.__required_keys__ | params.__optional_keys__


if sys.argv[1] in ("hear", "calls"):
    for kind in sys.argv[3:]:
        print(json.dumps((hear if sys.argv[1] == "hear" else calls)(kind, sys.argv[2])))
elif sys.argv[1] == "batch":
    for kind in sys.argv[3:]:
        batch = {"openai": openai_batch, "anthropic": anthropic_batch, "gemini": gemini_batch}[kind]
        print(json.dumps(batch(sys.argv[2])))
else:
    for line in sys.stdin:
        print(judge(*json.loads(line)))
