"""The format of calls, from what one call and two look like (`derive.py`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from .formats.base import ToolFormat, value_at
from .formats.json_calls import JsonCalls
from .formats.llama import LlamaCalls
from .formats.named_json import NamedJson
from .formats.tagged import TaggedParameters

T = TypeVar("T")

_PART = re.compile(r"<[^<>]*>?|.", re.DOTALL)
_NAME, _OTHER_NAME, _ID, _OTHER_ID = "tool_one", "tool_two", "call00001", "call00002"


def derived_calls(one: str, two: str) -> ToolFormat | None:
    """The format in which `one` is the call of tool_one with the arguments of `derive.py`, and `two` (or "")
    that and a call of tool_two; None if it is none of the three kinds."""
    found = _json_calls(one) or _named_json(one, two) or _tagged(one, two)
    return found if found and _reads(found, one, two) else None


def _reads(found: ToolFormat, one: str, two: str) -> bool:
    """Does the format read what it was derived from?"""
    texts = {one: [_NAME], two: [_NAME, _OTHER_NAME]}
    for text, names in texts.items():
        if not text:
            continue
        opener = next(
            (each for each in (*found.openers, *found.openers_at_start) if text.startswith(each)), None
        )
        if opener is None:
            return False
        calls, at = [], 0
        while at < len(text) and text.startswith(opener, at):
            end = found.scanner(opener).feed(text, at + len(opener))
            end = len(text) if end is None else end
            new = found.calls(text[at:end], {})
            if not new:
                return False
            calls += new
            at = end + len(text[end:]) - len(text[end:].lstrip())
        if [call.name for call in calls] != [name for name in names if name in text]:
            return False
    return not any(name in marker for marker in found.markers for name in (_NAME, _ID, "key_one"))


def _json_calls(one: str) -> ToolFormat | None:
    for found in re.finditer(r"\{", one):
        decoded = value_at(one, found.start())
        if decoded is None or not isinstance(decoded[0], dict):
            continue
        value, end = decoded
        inner = value.get("function") if isinstance(value.get("function"), dict) else value
        name_key = next((key for key, item in inner.items() if item == _NAME), None)
        arguments_key = next((key for key, item in inner.items() if isinstance(item, dict)), None)
        if arguments_key is None or (name_key is None and arguments_key != _NAME):
            continue
        begin, after = one[: found.start()].rstrip(), one[end:].lstrip()
        is_list = begin.endswith("[") and after.startswith("]")
        if is_list:
            begin, after = begin[:-1].rstrip(), after[1:].lstrip()
        if not begin:
            return LlamaCalls()
        id_key = next((key for key, item in value.items() if item in (_ID, "0")), "")
        return JsonCalls(
            begin,
            after.rstrip(),
            name_key,
            "" if name_key is None else arguments_key,
            is_list,
            id_key,
            next(iter(value)) == id_key,
        )
    return None


def _named_json(one: str, two: str) -> NamedJson | None:
    name = one.find(_NAME)
    start = one.find("{", name)
    decoded = value_at(one, start) if start >= 0 else None
    if name < 0 or decoded is None or not isinstance(decoded[0], dict) or "key_one" not in decoded[0]:
        return None
    before, between, after = one[:name], one[name + len(_NAME) : start], one[decoded[1] :]
    gap = _gap(two, "}", _OTHER_NAME)
    id_end, id_begin, name_is_id = "", "", False
    if _ID in before:
        before, id_end = before.split(_ID, 1)
        gap = gap.split(_OTHER_ID)[0]
    elif _ID in between:
        id_begin, between = (part.strip() for part in between.split(_ID, 1))
    elif before.endswith("functions.") and between.startswith(":0"):
        before, gap = before.removesuffix("functions."), gap.removesuffix("functions.")
        between, name_is_id = between[2:], True
    section, begin, end = _section(before, after, gap)
    if not begin or not between.strip():
        return None
    return NamedJson(begin, between.strip(), end, section, id_end.strip(), id_begin, name_is_id)


def _tagged(one: str, two: str) -> TaggedParameters | None:
    places = [
        one.find(needle) for needle in (_NAME, "key_one", "value_one", "key_two", "value_two", "key_six")
    ]
    number = one.find("678", places[-1])
    if min(places) < 0 or number < 0 or sorted(places) != places:
        return None
    name, key_one, value_one, key_two, _, key_six = places
    key_end = one[key_one + len("key_one") : value_one]
    between = one[value_one + len("value_one") : key_two]
    number_end = one[key_six + len("key_six") : number]
    after_name, after = one[name + len(_NAME) : key_one], one[number + 3 :]
    key_begin = _common_end(after_name, between)
    if not key_begin.strip() or not key_end.strip():
        return None
    value_end = between.removesuffix(key_begin)
    rest = after.removeprefix(value_end)
    section, begin, end = _section(one[:name], rest, _gap(two, "678" + value_end, _OTHER_NAME))
    if not begin or not end or not value_end.strip():
        return None
    return TaggedParameters(
        begin,
        key_begin.strip(),
        key_end.strip(),
        value_end.strip(),
        end,
        after_name.removesuffix(key_begin).strip(),
        section,
        number_end.strip() if number_end != key_end else "",
        has_lines=key_end.endswith("\n") and value_end.startswith("\n"),
    )


def _gap(two: str, end: str, name: str) -> str:
    """The text between the arguments of the first call, which end with `end`, and the name of the second."""
    second = two.find(name)
    first = two.rfind(end, 0, second) if second >= 0 else -1
    return two[first + len(end) : second] if first >= 0 else ""


def _section(before: str, after: str, gap: str) -> tuple[tuple[str, str], str, str]:
    """What is around all calls, and what begins and ends one: from the texts before and after a call alone,
    and between two."""
    if not gap:
        return ("", ""), before.strip(), after.strip()
    begin = _common_end(before, gap)
    end = "".join(common_start(_parts(gap.removesuffix(begin).strip()), _parts(after.strip()))).strip()
    outer = before.removesuffix(begin).strip(), after.strip().removeprefix(end).strip()
    if not outer[0]:
        return ("", ""), before.strip(), after.strip()
    return outer, begin.strip(), end


def _common_end(a: str, b: str) -> str:
    """The longest end of both that begins with no part of a tag."""
    return "".join(common_start(_parts(a)[::-1], _parts(b)[::-1])[::-1])


def common_start(a: Sequence[T], b: Sequence[T]) -> Sequence[T]:
    """The longest beginning of both."""
    return a[: next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))]


def _parts(text: str) -> list[str]:
    """The tags of a text, and its other characters one by one."""
    return _PART.findall(text)
