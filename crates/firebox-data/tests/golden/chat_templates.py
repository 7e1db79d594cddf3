"""Golden renderings of chat/*.jinja by transformers. Run: python chat_templates.py"""
import datetime
import json
import pathlib

import transformers
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
NOW = datetime.datetime(2024, 7, 26, 13, 5, tzinfo=datetime.timezone.utc)
CONVERSATIONS = {
    "one turn": [("user", "Is fire hot?")],
    "two turns": [("user", " Is fire hot? "), ("assistant", "Yes, it is.\n"), ("user", "冰呢？"), ("assistant", "冷的 🧊。")],
    "system": [("system", "Be short."), ("user", "Name a planet."), ("assistant", "<think>\nany will do</think>\n\nMars & \"moons\"")],
    "wrong order": [("assistant", "Hello."), ("user", "Hello?")],
}


def render(template, messages, add_generation_prompt):
    compiled = chat_template_utils._compile_jinja_template(template)
    compiled.globals["strftime_now"] = NOW.strftime
    blocks, spans = [], []
    with compiled.environment.activate_tracker(blocks, spans):
        variables = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": add_generation_prompt}
        for block in compiled.generate(**variables, **TOKENS):
            blocks.append(block)
    return "".join(blocks), spans


cases = []
for path in sorted((HERE / "chat").glob("*.jinja")):
    for name, turns in CONVERSATIONS.items():
        for prompt in (False, True):
            messages = [{"role": role, "content": content} for role, content in turns]
            case = {"template": path.name, "conversation": name, "messages": messages, "add_generation_prompt": prompt}
            try:
                text, spans = render(path.read_text(), messages, prompt)
                cases.append(case | {"text": text, "generated": [text[a:b] for a, b in spans]})
            except Exception as error:
                cases.append(case | {"error": str(error)})
golden = {"made_by": f"transformers {transformers.__version__}", "now": int(NOW.timestamp()), **TOKENS, "cases": cases}
(HERE / "chat_templates.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
for case in cases:
    print(case["template"], case["conversation"], case["add_generation_prompt"], repr(case.get("text", case.get("error"))), case.get("generated"))
