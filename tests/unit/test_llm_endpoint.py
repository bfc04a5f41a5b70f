"""What a table `[llm.NAME]` may say, and which proxy is used for it."""

from datetime import date

import pytest

from consumers.llm.client import LLMClient, worst
from consumers.llm.endpoint import Endpoint
from consumers.llm.errors import BadReply, Refused
from consumers.llm.wire import environment_proxy
from stream import config
from stream.errors import EndpointDown, Permanent, RequestTimedOut, WrongConfig


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"url": "localhost:8000"}, "expected a url such as"),
        ({"url": "ftp://host"}, "expected a url such as"),
        ({"url": []}, "at least one url"),
        ({"url": ["http://a", "http://a/"]}, "each url once"),
        ({"url": "https://user:secret@host"}, "without credentials"),
        ({"url": "https://host?x=1"}, "without"),
        ({"url": "http://a", "api": "responses"}, "expected one of completions, chat"),
        ({"url": "http://a", "context": 0}, "context >= 1"),
        ({"url": "http://a", "price_in": -1.0}, "prices >= 0"),
        ({"url": "http://a", "timeout_s": 0.0}, "timeout_s > 0"),
        ({"url": "http://a", "concurrency": 2000}, "concurrency_min <= concurrency"),
        ({"url": "http://a", "max_tokens_field": "tokens"}, "expected one of max_tokens, max_completion_tokens"),
        ({"url": "http://a", "system_role": "none"}, "expected one of system, developer, user"),
        ({"url": "http://a", "send_seed": "no"}, "expected bool"),
        ({"url": "http://a", "max_stops": -1}, "max_stops >= 0"),
        ({"url": "http://a", "reasoning_tokens": -1}, "reasoning_tokens from 0"),
        ({"url": "http://a", "special_tokens": ["</s>", ""]}, r"special_tokens such as <\|im_end\|>, not ''"),
        ({"url": "http://a", "special_tokens": ["</s>", "e"]}, r"special_tokens such as <\|im_end\|>, not 'e'"),
        ({"url": "http://a", "extra_body": []}, "expected a table"),
        ({"url": "http://a", "extra_body": {"messages": []}}, "extra_body cannot hold messages"),
        ({"url": "http://a", "extra_body": {"n": 2}}, "cannot hold n: each request is one sample"),
        ({"url": "http://a", "extra_body": {"stream": True}}, "cannot hold stream: set stream"),
        ({"url": "http://a", "extra_body": {"a": [1, {"b": float("nan")}]}}, r"not what extra_body\.a\[1\]\.b is"),
        ({"url": "http://a", "extra_body": {"a": 1 << 70}}, r"not what extra_body\.a is"),
        ({"url": "http://a", "extra_body": {"day": date(2026, 1, 1)}}, r"not what extra_body\.day is"),
        ({"url": "http://a", "modle": "m"}, "unknown key"),
    ],
)
def test_a_wrong_table_is_refused_with_what_was_expected(table: dict[str, object], says: str) -> None:
    with pytest.raises(WrongConfig, match=says):
        config.convert({"model": "m", **table}, Endpoint, [config.parse("")])


def test_one_url_or_several_can_be_given() -> None:
    document = config.parse('url = ["http://a:8000", "https://b/v1/"]\nmodel = "m"')
    assert config.convert(document.data, Endpoint, [document]).urls == ("http://a:8000/v1", "https://b/v1")
    document = config.parse('url = "http://a:8000/"\nmodel = "m"')
    assert config.convert(document.data, Endpoint, [document]).urls == ("http://a:8000/v1",)


def test_additions_to_each_request_are_a_table_of_tables() -> None:
    document = config.parse(
        'url = "http://a"\nmodel = "m"\nspecial_tokens = ["<|im_end|>"]\nextra_body.top_k = 20\n'
        "[extra_body.chat_template_kwargs]\nenable_thinking = false\n"
    )
    end = config.convert(document.data, Endpoint, [document])
    assert end.extra_body == {"top_k": 20, "chat_template_kwargs": {"enable_thinking": False}}
    assert end.special_tokens == ("<|im_end|>",)
    assert len({end, end}) == 1 and end != Endpoint("http://a", "m", special_tokens=("<|im_end|>",))


def test_a_key_that_is_not_set_is_named() -> None:
    with pytest.raises(WrongConfig, match="LAB_KEY"):
        LLMClient(Endpoint("http://localhost:1", "m", key_env="LAB_KEY"), environ={"OTHER": "x"})


@pytest.mark.parametrize("key", ["", " ", "\n", "ключ", "sk-a\nX-Other: b", "sk-\x7f", "sk-\ud800"])
def test_a_key_that_no_header_can_carry_is_refused_by_the_name_of_its_variable(key: str) -> None:
    with pytest.raises(WrongConfig, match="LAB_KEY") as raised:
        LLMClient(Endpoint("http://localhost:1", "m", key_env="LAB_KEY"), environ={"LAB_KEY": key})
    assert not key.strip() or key not in str(raised.value)


def test_this_machine_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert environment_proxy("http://far.example/v1") == "http://proxy:3128"
    assert environment_proxy("https://far.example/v1") is None
    for here in (
        "http://localhost:8000",
        "http://127.0.0.1:8000",
        "http://127.8.8.8/v1",
        "http://[::1]:1",
        "http://a.localhost",
    ):
        assert environment_proxy(here) is None
    assert environment_proxy("http://inside.example/v1") is None
    monkeypatch.setenv("all_proxy", "proxy:1080")
    assert environment_proxy("https://far.example/v1") == "http://proxy:1080"
    monkeypatch.setenv("all_proxy", "socks5://proxy:1080")
    with pytest.raises(WrongConfig, match="a socks5 proxy for far"):
        environment_proxy("https://far.example/v1")


def test_the_error_that_decides_is_the_worst_one() -> None:
    fatal, away, defect, once = WrongConfig("f"), EndpointDown("u"), Permanent("p"), RequestTimedOut("t")
    assert worst([once, defect, away, fatal]) is fatal
    assert worst([once, defect, away]) is away
    assert worst([once, defect]) is defect
    assert worst([once, BadReply("b")]) is once
    assert (
        worst([EndpointDown("a"), longest := Refused("b", retry_after_s=9), Refused("c", retry_after_s=3)]) is longest
    )
    assert isinstance(worst([fatal, KeyError("ours")]), KeyError)
