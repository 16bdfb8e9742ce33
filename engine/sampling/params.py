"""The user's parameters of sampling: how tokens are chosen, and when a text ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ...errors import RequestError
from ...gguf_io.display import Shown, brief
from ..grammar.grammar import Grammar
from .checks import (
    check_flag,
    check_integer,
    check_number,
    check_text,
    checked_bias,
    checked_ids,
    checked_strings,
)
from .sampler_names import SAMPLERS, checked_samplers

_MANY = 2**31 - 1
_MAX_STOP_STRINGS = 16
_MAX_STOP_LENGTH = 256
_MAX_STOP_IDS = 1024
_MAX_BIASED = 1024
_MAX_BREAKERS = 16
_MAX_SALT_LENGTH = 256
_MAX_BREAKER_LENGTH = 40  # as in llama.cpp

_INTEGERS = {
    "max_tokens": (1, _MANY),
    "min_tokens": (0, _MANY),
    "top_k": (0, _MANY),
    "min_keep": (0, _MANY),
    "repeat_last_n": (0, _MANY),
    "dry_allowed_length": (1, _MANY),
    "dry_penalty_last_n": (0, _MANY),
    "mirostat": (0, 2),
    "n": (1, 1024),
}
_NUMBERS = {  # from or, with True, above the first
    "temperature": (0, 100, False),
    "dynatemp_range": (0, 100, False),
    "dynatemp_exponent": (0, 100, False),
    "top_p": (0, 1, True),
    "min_p": (0, 1, False),
    "typical_p": (0, 1, True),
    "top_n_sigma": (0, 100, False),
    "xtc_probability": (0, 1, False),
    "xtc_threshold": (0, 1, False),
    "repeat_penalty": (0.01, 100, False),
    "presence_penalty": (-100, 100, False),
    "frequency_penalty": (-100, 100, False),
    "dry_multiplier": (0, 100, False),
    "dry_base": (1, 100, False),
    "mirostat_tau": (0, 100, False),
    "mirostat_eta": (0, 100, False),
    "adaptive_decay": (0, 0.99, False),
}
_OPTIONAL_INTEGERS = {
    "seed": (0, 2**64 - 1),
    "repetition_detection": (8, 4096),
    "logprobs": (0, 20),
    "prompt_logprobs": (0, 20),
    "n_draft": (0, 64),
}
_FLAGS = ("ignore_eos", "json_object", "echo", "cache_prompt", "skip_special_tokens")


@dataclass(frozen=True, kw_only=True, repr=False)
class SamplingParams(Shown):
    """How tokens are chosen, and when a text ends.  The default is greedy: a prompt always gives the same
    text.

        nybble.SamplingParams(max_tokens=64, temperature=0.7, top_p=0.9, seed=1, stop=["\\n\\n"])

    Names, and the order in which they are applied, are llama.cpp's: logit bias, penalties, DRY, top_n_sigma,
    top_k, typical_p, top_p, min_p, XTC, temperature, draw. Values outside their range raise `RequestError`,
    which is a `ValueError`.
    """

    max_tokens: int = 256
    """Generate at most so many tokens; fewer when the context is full.  1 to 2**31 - 1."""
    min_tokens: int = 0
    """Let neither the model, nor stop strings or ids, end the text before so many tokens.  0 to
    max_tokens."""
    temperature: float = 0.0
    """0 takes the most probable token; 1 samples from the model's distribution; more is flatter.  0 to
    100."""
    dynatemp_range: float = 0.0
    """The temperature follows the entropy of the candidates: at most so much below or above `temperature`.
    0 to 100; 0: it does not."""
    dynatemp_exponent: float = 1.0
    """The temperature follows the entropy, as a part of the largest possible one, to this power.  0 to
    100."""
    top_k: int = 0
    """Keep only so many of the most probable tokens; 0 keeps all.  0 to 2**31 - 1."""
    top_p: float = 1.0
    """Keep the smallest set of most probable tokens that reaches this; 1 keeps all.  Above 0, up to 1."""
    min_p: float = 0.0
    """Keep only tokens at least so many times as probable as the most probable one; 0 keeps all.  0 to 1."""
    typical_p: float = 1.0
    """Keep the smallest set of tokens that exceeds this, those first whose surprise is nearest to the
    expected one (Meister et al. 2022, arXiv:2202.00666); 1 keeps all.  Above 0, up to 1."""
    top_n_sigma: float = 0.0
    """Keep tokens whose logits are at most so many standard deviations below the largest one (Tang et al.
    2024, arXiv:2411.07641); 0 keeps all.  0 to 100."""
    xtc_probability: float = 0.0
    """How often the most probable tokens are excluded ("exclude top choices").  0 to 1."""
    xtc_threshold: float = 0.1
    """Then of the tokens at least so probable only the least probable one stays.  0 to 1."""
    min_keep: int = 0
    """top_p, min_p, typical_p and XTC leave at least so many tokens.  0 to 2**31 - 1."""
    repeat_penalty: float = 1.0
    """Logits of tokens among the last `repeat_last_n`, prompt included, are divided by this if positive,
    multiplied if negative (Keskar et al. 2019, arXiv:1909.05858).  0.01 to 100; 1 changes nothing."""
    presence_penalty: float = 0.0
    """Is subtracted from the logits of tokens among the last `repeat_last_n`.  -100 to 100."""
    frequency_penalty: float = 0.0
    """Is subtracted as many times as the token is among the last `repeat_last_n`.  -100 to 100."""
    repeat_last_n: int = 64
    """How many tokens the three penalties look back at.  0 to 2**31 - 1."""
    dry_multiplier: float = 0.0
    """"Don't repeat yourself": what would make a repetition of n tokens longer loses dry_multiplier *
    dry_base ** (n - dry_allowed_length).  0 to 100; 0: nothing does."""
    dry_base: float = 1.75
    """See `dry_multiplier`.  1 to 100."""
    dry_allowed_length: int = 2
    """Repetitions of fewer tokens cost nothing.  1 to 2**31 - 1."""
    dry_penalty_last_n: int = 64
    """How many tokens are searched for repetitions, prompt included.  0 to 2**31 - 1."""
    dry_sequence_breakers: Sequence[str] = ("\n", ":", '"', "*")
    """No repetition goes across one of these strings: up to 16 of 1 to 40 characters."""
    mirostat: int = 0
    """1 and 2: choose so many candidates that the text's surprise stays near `mirostat_tau` (versions 1 and 2
    of Basu et al. 2021, arXiv:2007.14966), after the temperature and in place of all other samplers but the
    logit bias. 0: do not."""
    mirostat_tau: float = 5.0
    """The surprise to be reached, in bits a token.  0 to 100."""
    mirostat_eta: float = 0.1
    """How fast mirostat corrects itself.  0 to 100."""
    adaptive_target: float | None = None
    """Adaptive-p: draw tokens whose probability, on average, is near this; the chain is applied before, and
    should cut little: `min_p`.  0 to 1; None draws by probability."""
    adaptive_decay: float = 0.9
    """Adaptive-p's average is over some 1 / (1 - adaptive_decay) tokens.  0 to 0.99."""
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    """Is added to the logits of these tokens before anything else: up to 1024 token ids, each with a number
    from -100 to 100, or -inf, which bans it."""
    samplers: Sequence[str | Callable[..., Any]] | None = field(default=None, hash=False)
    """The samplers, in the order in which they are applied, between logit bias and draw; None: those of
    llama.cpp, `DEFAULT_SAMPLERS` in nybble.sampling. Each is a name, which takes its parameters from
    here, or a callable, such as an object of a class in nybble.sampling or of your own: `sampler(logits,
    ids)` gets the `Logits` of what may come next, and the ids of the text so far. Up to 32."""
    seed: int | None = None
    """The draw of a token depends on the seed and the number of the token in the text, on nothing else; None
    takes a random seed, which `Output.seed` says.  0 to 2**64 - 1."""
    stop: Sequence[str] = ()
    """Generation ends before the first of these strings: up to 16 strings of 1 to 256 characters.  Control
    tokens match by their names (`<|im_end|>`), whether they are shown or not."""
    stop_token_ids: Sequence[int] = ()
    """Generation ends before the first of these tokens: up to 1024 ids."""
    ignore_eos: bool = False
    """Never choose a token that ends the generation."""
    json_schema: Mapping[str, Any] | bool | str | None = field(default=None, hash=False)
    """The text is JSON that is valid by this JSON schema, a dict or its text. A keyword that cannot be
    enforced is an error with its place. At most one of this and the next four; they need the extra
    `grammar`."""
    json_object: bool = False
    """The text is a JSON object."""
    grammar: str | Grammar | None = None
    """The text follows a grammar: GBNF, llama.cpp's, if it has `::=`, else Lark, llguidance's."""
    regex: str | None = None
    """The whole text matches a regular expression, in Rust's syntax."""
    choice: Sequence[str] | None = None
    """The text is one of these: 1 to 4096."""
    repetition_detection: int | None = None
    """End the text ("repetition") when its last so many generated tokens are one pattern, four times or more
    over.  8 to 4096; None: do not."""
    logprobs: int | None = None
    """`Output.logprobs` has the log-probability of each token, and those of so many most probable ones.  0 to
    20; None: it has not."""
    prompt_logprobs: int | None = None
    """`Output.prompt_logprobs` has them for each token of the prompt, all of which is run.  0 to 20."""
    echo: bool = False
    """Begin the text with that of the prompt."""
    n: int = 1
    """Generate so many texts for the prompt, which is run once; `Output.choices` has them.  1 to 1024."""
    n_draft: int | None = None
    """With `LLM(draft=…)`: draft at most so many tokens for a step; 0 drafts none, None as many as pay.  The
    text does not depend on it.  0 to 64."""
    cache_prompt: bool = True
    """Take over what has been computed for the same first tokens, and leave what is computed for others. The
    text does not depend on it."""
    cache_salt: str | None = None
    """Share what is computed for first tokens with requests of the same salt alone, so that nobody else can
    find out, by the time it takes, what a prompt begins with: up to 256 characters."""
    skip_special_tokens: bool = True
    """Leave control tokens out of the text, except those that give it structure (gpt-oss: `<|channel|>`)."""

    def __post_init__(self) -> None:
        for name, bounds in _INTEGERS.items():
            check_integer(name, getattr(self, name), *bounds)
        for name, number_bounds in _NUMBERS.items():
            check_number(name, getattr(self, name), *number_bounds)
        for name, bounds in _OPTIONAL_INTEGERS.items():
            if (value := getattr(self, name)) is not None:
                check_integer(name, value, *bounds)
        for name in _FLAGS:
            check_flag(name, getattr(self, name))
        if self.adaptive_target is not None:
            check_number("adaptive_target", self.adaptive_target, 0, 1)
        if self.cache_salt is not None:
            check_text("cache_salt", self.cache_salt, _MAX_SALT_LENGTH)
        for name, value in (
            ("stop", checked_strings("stop", self.stop, _MAX_STOP_STRINGS, _MAX_STOP_LENGTH)),
            ("stop_token_ids", checked_ids("stop_token_ids", self.stop_token_ids, _MAX_STOP_IDS)),
            ("logit_bias", checked_bias("logit_bias", self.logit_bias, _MAX_BIASED)),
            (
                "dry_sequence_breakers",
                checked_strings(
                    "dry_sequence_breakers", self.dry_sequence_breakers, _MAX_BREAKERS, _MAX_BREAKER_LENGTH
                ),
            ),
            ("samplers", checked_samplers(self.samplers)),
        ):
            object.__setattr__(self, name, value)
        self._check_together()
        object.__setattr__(self, "_constraint", self._made_constraint())

    @property
    def constraint(self) -> Grammar | None:
        """What the text must follow: `json_schema`, `json_object`, `grammar`, `regex` or `choice`."""
        return self._constraint  # type: ignore[attr-defined]

    @property
    def is_greedy(self) -> bool:
        """Is the most probable of the tokens that are left always taken?"""
        return self.temperature == 0 and self.dynatemp_range == 0

    def _made_constraint(self) -> Grammar | None:
        names = ("json_schema", "json_object", "grammar", "regex", "choice")
        given = [name for name in names if getattr(self, name) not in (None, False)]
        if self.json_schema is False:
            given.insert(0, "json_schema")
        if len(given) > 1:
            raise RequestError(
                f"`{given[0]}` and `{given[1]}` both say what the text follows: give one of them"
            )
        if self.choice is not None:
            grammar = Grammar.choice(self.choice)
            object.__setattr__(self, "choice", tuple(self.choice))
            return grammar
        if self.json_schema is not None:
            return Grammar.json_schema(self.json_schema)
        if self.regex is not None:
            return Grammar.regex(self.regex)
        if self.grammar is not None:
            return self.grammar if isinstance(self.grammar, Grammar) else Grammar.from_text(self.grammar)
        return Grammar.json_object() if self.json_object else None

    def _facts(self) -> dict[str, str]:
        """The most asked for, and what differs from its default."""
        plain = type(self)()
        names = [each.name for each in fields(self)]
        values = {name: getattr(self, name) for name in names}
        return {
            name: brief(value)
            for name, value in values.items()
            if name in ("max_tokens", "temperature") or value != getattr(plain, name)
        }

    def _check_together(self) -> None:
        """RequestError for parameters that contradict each other."""
        if self.min_tokens > self.max_tokens:
            raise RequestError(
                f"min_tokens must be at most max_tokens={self.max_tokens}, not {self.min_tokens}"
            )
        if self.mirostat and self.adaptive_target is not None:
            raise RequestError(
                "`mirostat` and `adaptive_target` both choose the token: leave one of them out"
            )
        if self.is_greedy and (self.mirostat or self.adaptive_target is not None):
            name = "mirostat" if self.mirostat else "adaptive_target"
            raise RequestError(f"`{name}` needs a temperature above 0: at 0 nothing is drawn")
        for sampler, parameters in SAMPLERS.items() if self.samplers is not None else ():
            for name in parameters if sampler not in (self.samplers or ()) else ():
                value = getattr(self, name)
                is_plain = name == "temperature" and value == 1
                if value != type(self).__dataclass_fields__[name].default and not is_plain:
                    raise RequestError(f"{name}={value} does nothing where `samplers` lacks {sampler!r}")
