"""Tokens/s and memory of a training, ours against plain trl on the same data, on a model of the lab's size.

    python -m tests.benchmarks.training [--rows 192] [--rounds 3]

Both sides run trl's trainer with the same hyper-parameters; ours also masks and leaves out by its own rules, tells
every step, and saves checkpoints that survive a kill. The answer is checked first: the same loss at every step. Each
side runs in a process of its own, one thread, in turns; `ratio` is ours over plain, of tokens per CPU-second (per
second on a GPU) in each round.
"""

import argparse
import importlib
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SEED = 3407
LAB = {"vocab_size": 3_500, "hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 4,
       "num_attention_heads": 6, "num_key_value_heads": 2}  # fmt: skip
POSITIONS = 1_024
SETTINGS = {"batch": 16, "micro_batch": 8, "epochs": 1.0, "max_length": POSITIONS, "learning_rate": 1e-4}


def found(count: int) -> list[dict[str, str]]:
    """Rows of the lengths that the lab's examples have."""
    draw = random.Random(SEED)
    words = ["def", "return", "for", "in", "if", "else", "value", "items", "total", "key", "list", "result", "index"]

    def text(least: int, most: int) -> str:
        return " ".join(draw.choice(words) for _ in range(draw.randint(least, most)))

    return [
        {"id": f"{n:08}", "instruction": text(10, 30), "response": text(20, 60), "licence": "MIT"} for n in range(count)
    ]


def ours(folder: Path, base: Path, rows: list[dict[str, str]], precision: str) -> Any:
    from tests.tiny import work_of
    from trainer.events import Said, encode
    from trainer.finetune import model, run, tokens
    from trainer.snapshot import ROWS

    work = work_of(folder / "out", base, rows, **SETTINGS, precision=precision)
    train = work.job().train
    tokenizer = model.tokenizer_of(base)
    prepared = tokens.examples(work.folder / ROWS, tokenizer, train)
    told = os.open(os.devnull, os.O_WRONLY)

    def say(said: Said) -> None:
        os.write(told, encode(said))

    return run.build(work, train, model.load(base, train), tokenizer, prepared, say)


def plain(folder: Path, base: Path, rows: list[dict[str, str]], precision: str) -> Any:
    """As trl's documentation has it, with prompts and completions as texts."""
    from tests.tiny import QUICK
    from trainer.template import parse

    torch, trl, datasets, transformers = map(importlib.import_module, ("torch", "trl", "datasets", "transformers"))
    template = parse(str(QUICK["template"]))
    texts = [{"prompt": template.prompt(row["instruction"]), "completion": row["response"]} for row in rows]
    arguments = trl.SFTConfig(
        output_dir=str(folder / "plain"), learning_rate=SETTINGS["learning_rate"], optim="adafactor",
        lr_scheduler_type="linear", warmup_steps=0.05, num_train_epochs=1, per_device_train_batch_size=8,
        gradient_accumulation_steps=2, max_grad_norm=0, bf16=precision != "fp32", gradient_checkpointing=False,
        seed=SEED, max_length=POSITIONS, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(base), dtype=torch.float32 if precision == "fp32" else torch.bfloat16
    )
    return trl.SFTTrainer(
        model=model, args=arguments, train_dataset=datasets.Dataset.from_list(texts),
        processing_class=transformers.AutoTokenizer.from_pretrained(str(base)),
    )  # fmt: skip


def side(name: str, count: int) -> dict[str, Any]:
    """Train one side in this process and return its figures."""
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from tests.tiny import tiny_model

    torch: Any = importlib.import_module("torch")
    on_gpu = torch.cuda.is_available()
    precision = "bf16" if on_gpu else "fp32"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        base = tiny_model(folder / "base", POSITIONS, SEED, **LAB)
        build = ours if name == "ours" else plain
        build(folder / "warm", base, found(16), precision).train()  # the allocator, the kernels' caches
        trainer = build(folder / "run", base, found(count), precision)
        tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
        before_s, began_s = time.process_time(), time.perf_counter()
        trainer.train()
        wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - before_s
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    peak = torch.cuda.max_memory_allocated() if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return {
        "tokens": tokens,
        "rate": tokens / (wall_s if on_gpu else cpu_s),
        "peak_mib": peak / 2**20,
        "losses": losses,
        "device": torch.cuda.get_device_name(0) if on_gpu else "CPU",
    }


def measured(name: str, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.training", "--side", name, "--rows", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=("ours", "plain"))
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(side(arguments.side, arguments.rows)))
        return
    figures: dict[str, list[float]] = {}
    device, tokens = "", 0
    for _ in range(arguments.rounds):
        mine, theirs = measured("ours", arguments.rows), measured("plain", arguments.rows)
        assert mine["tokens"] == theirs["tokens"], "the two sides trained on different tokens"
        worst = max(abs(a - b) for a, b in zip(mine["losses"], theirs["losses"], strict=True))
        assert worst < 1e-3, f"the two sides' losses differ by {worst}"
        for key, value in (
            ("tokens_per_s", mine["rate"]),
            ("plain_tokens_per_s", theirs["rate"]),
            ("ratio", mine["rate"] / theirs["rate"]),
            ("peak_mib", mine["peak_mib"]),
            ("plain_peak_mib", theirs["peak_mib"]),
        ):
            figures.setdefault(key, []).append(value)
        device, tokens = mine["device"], mine["tokens"]
    spread = {
        key: {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}
        for key, values in figures.items()
    }
    host = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    settings = {"rows": arguments.rows, "tokens": tokens, "rounds": arguments.rounds, "seed": SEED, "device": device}
    print(json.dumps({"benchmark": "training", **spread, **settings, "host": host}))


if __name__ == "__main__":
    main()
