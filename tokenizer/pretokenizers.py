"""How BPE cuts text into words before merging, by `tokenizer.ggml.pre`.

Each name has regular expressions that are applied in turn, each to every piece that the former have left: its
matches and the text between them become pieces. They are those of the models' own `tokenizer.json`, in the
syntax of Oniguruma (`tokenizers.Regex`). The names are llama.cpp's, which writes some expressions
differently, since its engine has no classes such as \\p{Lu}. Where that changes ids (Cyrillic case, combining
marks in the GPT-4o, Tekken and Kimi rules, wide spaces in DeepSeek's), nybble does what the model was trained
with.

Some expressions are rewritten to take one pass or linear time; `tests/tokenizer/test_pretokenizers.py`
compares them with the originals.
"""

from dataclasses import dataclass, replace
from difflib import get_close_matches

from ..errors import GGUFUnsupportedError

DEFAULT = "default"


@dataclass(frozen=True)
class PreTokenizer:
    """How the tokenizers of one name cut texts.

    ignore_merges   a word that is a token becomes that token, whatever the merges are
    add_bos         a text begins with BOS, unless the file has a flag for it; `always_bos`: even then
    byte_letters    the letters to merge are bytes, not characters
    escape_spaces   spaces become U+2581 first
    cuts_lines      no word contains a letter and a line break after it
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False
    always_bos: bool = False
    byte_letters: bool = True
    escape_spaces: bool = False
    cuts_lines: bool = True


def _rules(*patterns: str, **options: bool) -> PreTokenizer:
    return PreTokenizer(patterns, **options)


# Parts that several expressions share.
_CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_CJK = r"[一-龥぀-ゟ゠-ヿ]+"
_ASCII_WORD = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cl100k(number: str, letter: str = r"\p{L}", symbol: str = r"[^\s\p{L}\p{N}]+[\r\n]*") -> str:
    """GPT-4's expression and its many relatives."""
    return rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?{letter}+|{number}| ?{symbol}|{_SPACES}"


def _cased(
    contraction: str, number: str, upper: str = _UPPER, lower: str = _LOWER, ends: str = r"\r\n/"
) -> str:
    """GPT-4o's expression: a word also ends where an upper-case letter follows a lower-case one."""
    lead = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{lead}{upper}*{lower}+{contraction}|{lead}{upper}+{lower}*{contraction}|{number}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[{ends}]*|{_SPACES}"
    )


def _deepseek(symbol: str, spaces: str = _SPACES) -> str:
    return rf"{_ASCII_WORD}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?{symbol}|{spaces}"


_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
# By code points: some of these letters look like others, and normalizing them would change the ranges.
_DEEPSEEK_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-"
    "\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-"
    "\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-"
    "\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc"
    "\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-"
    "\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134"
    "\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee"
    "\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3"
    "\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900"
    "-\U0001e943"
)
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"
_GPT4O = _cased(f"{_CONTRACTION}?", r"\p{N}{1,3}")
_WORDS_BUT_HAN = _cased(
    f"{_CONTRACTION}?",
    r"\p{N}{1,3}",
    upper=rf"{_UPPER[:-1]}&&[^\p{{Han}}]]",
    lower=rf"{_LOWER[:-1]}&&[^\p{{Han}}]]",
    ends=r"\r\n",
)

_LLAMA3 = _rules(_cl100k(r"\p{N}{1,3}"))
_LLAMA3_WHOLE = replace(_LLAMA3, ignore_merges=True)
_LLAMA3_BOS = replace(_LLAMA3_WHOLE, add_bos=True)
_QWEN2 = _rules(_cl100k(r"\p{N}"))
_DEEPSEEK3 = _rules(r"\p{N}{1,3}", _CJK, _deepseek(r"[\p{P}\p{S}]+[\r\n]*"))
# \p{N} alone, then _GPT2.
_DIGITS = _rules(r"\p{N}|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?![^\s\p{N}])")
_LINES = _rules(r"[^\n]+|[\n]+", byte_letters=False, escape_spaces=True)
# Digits in groups of three from the right; the rest comes first. Looking ahead from each group, as the
# originals do, would take quadratic time.
_THREES = (r"\p{N}+", r"\A\p{N}{1,2}(?=(?>(?:\p{N}{3})*)\z)", r"\p{N}{3}")
_THREES_BEFORE_BOUNDARY = (r"(?<!\d)\d++\b", r"\A\d{1,2}(?=(?>(?:\d{3})*)\z)")
_THREES_IN_NUMBERS = (r"\p{N}+", r"(?<!\d)\d{0,2}\K(?=(?>(?:\d{3})+)(?!\d))", r"\d{3}(?=\d)")
_CASED = _rules(_GPT4O)

_GROUPS: tuple[tuple[str, PreTokenizer], ...] = (
    ("llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", _LLAMA3_BOS),
    ("dbrx smaug-bpe chatglm-bpe", _LLAMA3),
    ("glm4 glm5", _LLAMA3_WHOLE),
    ("stablelm2 qwen2 deepseek-r1-qwen kormo f2llmv2 megrez hunyuan solar-open grok-2", _QWEN2),
    ("qwen35", _rules(_cl100k(r"\p{N}", r"[\p{L}\p{M}]", r"[^\s\p{L}\p{M}\p{N}]+[\r\n]*"))),
    ("gpt-4o llama4 kanana2 talkie minimax-m2", _CASED),
    ("granite-embed-multi-97m", replace(_CASED, ignore_merges=True)),
    ("tekken", _rules(_cased("", r"\p{N}"), ignore_merges=True, add_bos=True)),
    ("deepseek-v3 hunyuan-dense joyai-llm hy_v4", _DEEPSEEK3),
    (
        "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en "
        "jina-v2-code roberta-bpe exaone4 mpt olmo jais trillion granite-docling",
        _rules(_GPT2),
    ),
    ("starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", _DIGITS),
    (DEFAULT, _rules(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")),
    ("falcon", _rules(r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, r"[0-9][0-9][0-9]")),
    (
        "deepseek-llm",
        _rules(
            r"[\r\n]",
            rf"\s?[{_DEEPSEEK_LETTERS}]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            r"[一-龥ࠀ-一가-퟿]+",
            r"\p{N}+",
        ),
    ),
    ("deepseek-coder", _rules(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}")),
    (
        "bailingmoe bailingmoe2 llada-moe",
        _rules(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
    ),
    (
        "jais-2",
        _rules(
            rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*"
            r"|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)"
            r"|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}"
        ),
    ),
    ("spark2_5", _rules(r"\p{N}{1,3}", _CJK, _deepseek(r"[\p{P}\p{S}]+", r"[\r\n]|\s+(?!\S)|\s+"), r"\p{N}")),
    (
        "youtu",
        _rules(
            rf"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|{_CJK}",
            _cased(f"{_CONTRACTION}?", r"\p{N}"),
            ignore_merges=True,
        ),
    ),
    ("poro-chat bloom gpt3-finnish", _rules(_BLOOM)),
    ("viking", _rules(_BLOOM, r"\p{N}")),
    (
        "chameleon",
        _rules(
            r"<sentinel:[0-9]+>",
            r"(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            r"\p{N}",
            r"[\p{P}!-/:-@\[-`{-~]",
            _GPT2,
            add_bos=True,
        ),
    ),
    ("tiny_aya cohere2moe", _rules(*_THREES_BEFORE_BOUNDARY, _GPT4O)),
    ("superbpe", _rules(*_THREES_IN_NUMBERS, cuts_lines=False)),
    ("seed-coder", _rules(_cl100k(r"\p{N}{1}", symbol=r"[^\s\p{L}\p{N}\r\n]+"))),
    ("ufakzeka", _rules(rf"[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}")),
    ("laguna", _rules(r"[^\n]+|[\n]+", _cl100k(r"\p{N}"))),
    (
        "exaone-moe",
        _rules(
            rf"{_CONTRACTION}|[^\r\n\p{{L}}\p{{N}}]?(?:\p{{L}}\p{{M}}*(?: \p{{L}}\p{{M}}*)*)+|\p{{N}}"
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
    ),
    ("minicpm5", _rules(r"\p{N}{1,3}", _cl100k(r"\p{N}+"), ignore_merges=True)),
    ("kimi-k2", _rules(rf"\p{{Han}}+|{_WORDS_BUT_HAN}")),
    (
        "afmoe",
        _rules(
            *_THREES,
            r"[一-鿿㐀-䶿\uf900-\ufaff぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+",
            _deepseek(r"[\p{P}\p{S}]+[\r\n]*"),
        ),
    ),
    ("gemma4 granite-embed-multi-311m", replace(_LINES, always_bos=True)),
    ("sarvam-moe", _LINES),
    ("whitespace", _rules(r"\S+", byte_letters=False)),
)

PRETOKENIZERS: dict[str, PreTokenizer] = {name: rules for names, rules in _GROUPS for name in names.split()}


def find_pretokenizer(name: str, source: str) -> PreTokenizer:
    """The rules of `name`; GGUFUnsupportedError if there are none, as other rules would give wrong ids."""
    rules = PRETOKENIZERS.get(name)
    if rules is None:
        near = get_close_matches(name[:40], PRETOKENIZERS, cutoff=0.5) or PRETOKENIZERS
        raise GGUFUnsupportedError(
            f"{source}: tokenizer.ggml.pre is {name[:40]!r}: nybble does not know it, but {', '.join(near)}"
        )
    return rules
