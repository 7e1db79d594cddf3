"""What schemathesis_run.py has schemathesis do besides its own."""

import re

import schemathesis

# Of an answer: the checks are about requests, and every token takes time.
MOST_TOKENS = 4
MOST_CHOICES = 3
GENERATE = ["/v1/chat/completions", "/v1/completions", "/generate"]
LIMITS = ["max_tokens", "max_completion_tokens", "max_new_tokens"]

# Why the server may refuse what the schema allows: rules between fields, and what depends on the model.
REASONS = [
    (r"context_length_exceeded", r".*", r".*"),
    (r"model_not_found", r"model", r".*"),
    (r"None", r"None", r"expected a prompt of at least one token.*"),
    (r"None", r"None", r"token id .* is outside the model's vocabulary.*"),
    (r"None", r"None", r"the grammar cannot be used.*"),
    (r"invalid_value", r"stream_options", r".*where `stream` is not true.*"),
    (r"invalid_value", r"top_logprobs", r".*where `logprobs` is not true.*"),
    (r"invalid_value", r"structured_outputs.*", r".*"),
    (r"invalid_value", r"tools|tool_choice", r".*names of their own.*|.*beside.*|.*among `tools`.*"),
    (r"invalid_value", r"best_of", r".*at least `n`.*|.*where `stream` is true.*"),
    (r"invalid_value", r"prompt", r".*answers together.*|.*either `prompt` or `messages`.*"),
    (r"invalid_value", r"max_\w+", r".*where `echo`.*|.*the same value.*"),
    (r"invalid_value", r"messages\[\d+\]\.(content|tool_calls)", r".*a text.*|.*JSON as `arguments`.*"),
    (r"invalid_value", r"dimensions", r".*all that the model has.*"),
    (r"invalid_value", r"truncate_prompt_tokens", r".*-1, or a whole number.*"),
    (r"adapter_not_found", r"None", r".*"),
    (r"not_allowed", r"None", r".*an admin's key.*"),
    (r"unsupported_parameter", r"echo", r".*where `stream` is true.*"),
]


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    """Short answers of the model that there is."""
    body = case.body
    if not is_positive(case) or not isinstance(body, dict):
        return
    if isinstance(body.get("model"), str):
        del body["model"]
    if case.operation.path not in GENERATE:
        return
    # The least that the document allows is kept to, with a 503.
    body.pop("timeout", None)
    given = [name for name in LIMITS if isinstance(body.get(name), int)]
    for name in given[1:]:
        del body[name]
    name = given[0] if given else "max_tokens"
    body[name] = min(body.get(name) or MOST_TOKENS, MOST_TOKENS)
    for name in ("n", "best_of"):
        if isinstance(body.get(name), int):
            body[name] = min(body[name], MOST_CHOICES)


@schemathesis.check
def accepted_or_told_why(ctx, response, case):
    """What fits the document is answered, or refused for a reason that it cannot say."""
    if not is_positive(case) or response.status_code < 400:
        return
    error = response.json()["error"]
    found = [str(error["code"]), str(error["param"]), error["message"]]
    reasons = (zip(reason, found, strict=True) for reason in REASONS)
    known = any(all(re.fullmatch(*pair, re.DOTALL) for pair in reason) for reason in reasons)
    assert known, f"refused what the document allows: {found}"
