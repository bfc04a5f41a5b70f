"""What models write around their answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.shapes.rows import Api, Rejected, Stage

TASK = "Write a function `total(values)` that returns the sum of a list of integers.\nAn empty list gives 0."
CODE = "def total(values):\n    return sum(values)"
TESTS = "assert total([1, 2]) == 3"
RESPONSE = f"It adds them up.\n\n```python\n{CODE}\n```\n\n[Tests]\n```python\n{TESTS}\n```\n[/Tests]"
THOUGHTS = (
    "First a draft:\n\n```python\ndef wrong():\n    pass\n```\n\n## Example 2\n[Tests] come later.\n\n"
    "[Instruction]\nNo, no. Not like that."
)


@dataclass(frozen=True, slots=True)
class Wrote:
    """What a model wrote for a stage, and what the stage makes of it: the text of a task, the concepts, the verdict,
    or the code of a response."""

    name: str
    source: str
    stage: Stage
    wrote: str | Mapping[str, Any] | None  # the content, or the fields of a chat message
    right: str | tuple[str, ...] | Rejected
    finish_reason: str | None = "stop"
    api: Api = "chat"


def fenced(name: str) -> str:
    return RESPONSE.replace("```python", f"```{name}")


# fmt: off
ANSWERS = [
    # --- thoughts
    Wrote("thoughts before the answer", "vllm#21130", "instructions",
          f"<think>\n{THOUGHTS}\n</think>\n\n{TASK}", TASK),
    Wrote("thoughts before the prefill", "vllm#21130", "instructions",
          f"<think>\n{THOUGHTS}\n</think>\n\n[Instruction]\n{TASK}", TASK),
    Wrote("thoughts in a completion", "vllm#21130", "instructions",
          f"<think>\nLet me see.\n</think>\n\n{TASK}", TASK, api="completions"),
    Wrote("thoughts without their opening tag", "vllm#12999", "instructions",
          f"{THOUGHTS}\n</think>\n\n{TASK}", TASK),
    Wrote("empty thoughts", "Qwen3, thinking switched off", "instructions", f"<think>\n\n</think>\n\n{TASK}", TASK),
    Wrote("thoughts that are never closed", "vllm#21130", "instructions",
          f"<think>\n{THOUGHTS}", Rejected.by("unfinished_reasoning", shows="Not like that")),
    Wrote("thoughts that the limit cut", "vllm#28266", "instructions",
          f"<think>\n{THOUGHTS}", Rejected.by("unfinished_reasoning", shows="Not like that"), "length"),
    Wrote("thoughts as reasoning_content", "vllm#14550", "instructions",
          {"content": f"\n\n{TASK}", "reasoning_content": THOUGHTS}, TASK),
    Wrote("thoughts as reasoning", "ollama#15288", "instructions", {"content": TASK, "reasoning": THOUGHTS}, TASK),
    Wrote("nothing but reasoning_content", "vllm#45736", "instructions",
          {"content": None, "reasoning_content": THOUGHTS},
          Rejected.by("unfinished_reasoning", shows="Not like that")),
    Wrote("no room beside reasoning", "ollama#15288", "instructions",
          {"content": "", "reasoning": THOUGHTS},
          Rejected.by("unfinished_reasoning", shows="Not like that"), "length"),
    Wrote("no room beside hidden thoughts", "langchain#32477", "instructions",
          {"content": "", "refusal": None}, Rejected.by("stopped_for_length"), "length"),
    Wrote("both channels of gpt-oss", "Sidekick#75", "instructions",
          f"<|channel|>analysis<|message|>{THOUGHTS}<|end|><|start|>assistant<|channel|>final<|message|>{TASK}", TASK),
    Wrote("the final channel of gpt-oss", "vllm#23694", "instructions",
          f"<|channel|>final<|message|>{TASK}<|return|>", TASK),
    Wrote("the analysis channel alone", "llama.cpp#15789", "instructions",
          f"<|channel|>analysis<|message|>{THOUGHTS}", Rejected.by("unfinished_reasoning")),
    Wrote("thoughts as a part of the content", "hermes-agent#4748", "instructions",
          {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHTS}]},
                       {"type": "text", "text": TASK}]}, TASK),
    Wrote("thoughts between brackets", "Magistral's tokenizer", "instructions",
          f"[THINK]{THOUGHTS}[/THINK]{TASK}", TASK),
    Wrote("a draft with tests in the thoughts", "ours", "responses",
          f"<think>\n{THOUGHTS}\n\n[Tests]\n```python\nassert False\n```\n</think>\n\n[Response]\n{RESPONSE}", CODE),
    Wrote("a verdict after thoughts of the other one", "ours", "seeds",
          f"<think>\n{THOUGHTS}\n</think>\n\n[Verdict]\nyes", "yes"),
    Wrote("code about thoughts", "ours", "responses",
          RESPONSE.replace("sum(values)", 'sum(values)  # not text.split("</think>")'),
          'def total(values):\n    return sum(values)  # not text.split("</think>")'),
    # --- white space and line ends
    Wrote("line ends of another system", "ours", "instructions", TASK.replace("\n", "\r\n"), TASK),
    Wrote("two empty lines first", "vllm#21130", "concepts", "\n\nrecursion, memoization",
          ("recursion", "memoization")),
    Wrote("two empty lines before a verdict", "vllm#21130", "seeds", "\n\n[Verdict]\nyes\n", "yes"),
    Wrote("a space first", "llama.cpp tokenizers", "seeds", " yes", "yes", api="completions"),
    Wrote("a byte order mark", "ours", "instructions", f"\ufeff{TASK}", TASK),
    # --- preambles, the prefill, fences
    Wrote("a preamble and the prefill", "ours", "instructions",
          f"Sure! Here is what you asked for:\n\n[Instruction]\n{TASK}", TASK),
    Wrote("a preamble alone", "ours", "concepts",
          "Here are the concepts:\n\nrecursion, memoization", ("recursion", "memoization")),
    Wrote("the prefill again in a completion", "ours", "concepts",
          "[Concepts]\nrecursion, memoization", ("recursion", "memoization"), api="completions"),
    Wrote("the prefill in bold", "ours", "concepts", "**[Concepts]**\nrecursion, memoization",
          ("recursion", "memoization")),
    Wrote("a fence around the whole", "ours", "instructions", f"```\n[Instruction]\n{TASK}\n```", TASK),
    Wrote("a fence around concepts", "ours", "concepts", "```\nrecursion, memoization\n```",
          ("recursion", "memoization")),
    Wrote("a longer fence around fences", "ours", "responses", f"````markdown\n{RESPONSE}\n````", CODE),
    Wrote("tags around the answer", "ours", "instructions", f"<answer>\n{TASK}\n</answer>", TASK),
    Wrote("a farewell", "ours", "instructions", f"{TASK}\n\nLet me know if you would like any changes!", TASK),
    Wrote("a verdict in bold", "ours", "seeds", "**Yes**", "yes"),
    # --- special tokens
    *(Wrote(f"{token} at the end", source, "instructions", f"{TASK}{token}", TASK)
      for token, source in [("<|im_end|>", "TGI#1724"), ("<|endoftext|>", "ours"), ("</s>", "TGI#1724"),
                            ("<|eot_id|>", "vespa#33327"), ("<｜end▁of▁sentence｜>", "vespa#33327"),
                            ("<end_of_turn>", "gpt4all#3282"), ("\n<|im_end|>\n", "TGI#1724")]),
    Wrote("a turn of its own behind the answer", "TGI#1724", "instructions",
          f"{TASK}<|im_end|>\n<|im_start|>user\nThanks!", Rejected.by("markers")),
    Wrote("a turn inside a task", "ours", "instructions",
          f"{TASK}\nIt prints <|im_start|>user first.", Rejected.by("markers")),
    # --- stop strings
    Wrote("a heading inside a task", "ours", "instructions",
          f"{TASK}\n\n### Example\ntotal([1]) is 1", f"{TASK}\n\n### Example\ntotal([1]) is 1"),
    Wrote("an example of its own behind the task", "ours", "instructions",
          f"{TASK}\n\n## Example 2\n[Properties]\ncategory: class", TASK),
    Wrote("the stop string at the end", "TGI#1724", "responses", RESPONSE, CODE, "stop_sequence"),
    Wrote("a stop string that the limit came before", "ours", "instructions",
          f"{TASK}\n\n## Example 2\n[Prop", TASK, "length"),
    # --- refusals and answers that are none
    *(Wrote(f"a refusal in {stage}: {words[:18]}", "ours", stage, words, Rejected.by("refused", shows=words))
      for stage in ("seeds", "concepts", "instructions")
      for words in ("I'm sorry, I can't help with that.", "I’m sorry, but I can’t assist with that request.",
                    "I cannot fulfill this request.")),
    Wrote("a refusal in its field", "langchain4j#6113", "instructions",
          {"content": None, "refusal": "I'm sorry, I can't assist with that."}, Rejected.by("refused", shows="sorry")),
    Wrote("a refusal in its field beside no text", "openai-agents-js#1495", "concepts",
          {"content": "", "refusal": "I'm sorry, I can't assist with that."}, Rejected.by("refused", shows="sorry")),
    Wrote("a fence instead of concepts", "ours", "concepts", "```python\nx = 1\n```",
          Rejected.by("no_concept")),
    Wrote("a sentence instead of concepts", "ours", "concepts",
          "This function walks over the list and adds up all of the values that it finds in it.",
          Rejected.by("no_concept")),
    Wrote("nothing", "langchain#32477", "instructions", "", Rejected.by("no_instruction")),
    Wrote("no verdict", "ours", "seeds", "", Rejected.by("no_verdict")),
    Wrote("no verdict but words", "ours", "seeds", "The docstring is vague.",
          Rejected.by("no_verdict", shows="vague")),
    Wrote("the judge's limit in its thoughts", "vllm#28266", "seeds",
          {"content": None, "reasoning_content": "Let me look at it. The"}, Rejected.by("no_verdict", shows="look at"),
          "length"),
    Wrote("the judge's limit in thoughts in the text", "vllm#21130", "seeds", "<think>\nIt is not",
          Rejected.by("no_verdict", shows="It is not"), "length"),
    # --- fences
    Wrote("a fence inside a docstring", "CommonMark 0.31, fenced code blocks", "responses",
          RESPONSE.replace("    return", '    """Add.\n\n    ```\n    total([1])\n    ```\n    """\n    return'),
          'def total(values):\n    """Add.\n\n    ```\n    total([1])\n    ```\n    """\n    return sum(values)'),
    *(Wrote(f"a fence named {name}", "ours", "responses", fenced(name), CODE)
      for name in ("py3", "python3.11", "python:main.py", "{python}", 'Python title="x"', "{.python}", "PY")),
    Wrote("tildes", "CommonMark 0.31, fenced code blocks", "responses", RESPONSE.replace("```", "~~~"), CODE),
    # --- no text
    Wrote("half of a surrogate pair", "ours", "instructions", f"{TASK}\ud800", Rejected.by("not_text")),
    Wrote("a NUL", "ours", "instructions", f"{TASK}\0", Rejected.by("not_text")),
]
# fmt: on
