"""The model of EleutherAI's lm-evaluation-harness: `nybble`, in process.

    pip install nybble lm_eval
    python -m nybble.adapters.lm_eval --model nybble --model_args pretrained=smollm2,n_ctx=2048 --tasks piqa

The harness knows its own models alone, so this module is its command, after it has told it of this one; from
Python, `lm_eval.simple_evaluate(NybbleLM("smollm2"), tasks=…)`. What contexts have in common, as the examples
of a task and the question of several choices, is run once, and requests run side by side, on the CPU:
--batch_size and --device, which is "cuda:0" where none is given, change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ..engine.llm import LLM
from ..engine.sampling.params import SamplingParams
from ..errors import RequestError

_log = logging.getLogger(__name__)

_MAX_TOKENS = 256
_RENAMED = {"repetition_penalty": "repeat_penalty", "max_gen_toks": "max_tokens", "until": "stop"}
_SAMPLING = {"temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "min_tokens", *_RENAMED.values()}
_NEUTRAL = {"num_beams": 1, "use_cache": True, "num_return_sequences": 1}

_Pair = tuple[tuple[str, str] | None, list[int], list[int]]


@register_model("nybble")
class NybbleLM(TemplateLM):
    """A model of nybble, for the harness.

    `pretrained` is what `LLM` takes, and `options` are its arguments. `add_bos_token`: begin contexts with
    BOS; default: as the file says. `enable_thinking` is for chat templates that read it. With
    `think_end_token` the answer is what comes after it, and stop strings are looked for in that alone.
    """

    def __init__(
        self,
        pretrained: str | LLM = "smollm2",
        *,
        add_bos_token: bool | None = None,
        enable_thinking: bool | None = None,
        think_end_token: str | None = None,
        max_gen_toks: int = _MAX_TOKENS,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.llm = pretrained if isinstance(pretrained, LLM) else LLM(pretrained, **options)
        self.llm.require_generation()
        self._add_bos = self.llm.tokenizer.add_bos if add_bos_token is None else add_bos_token
        self._thinking = None if enable_thinking is None else {"enable_thinking": enable_thinking}
        self._think_end = think_end_token
        self._max_gen_toks = max_gen_toks
        self._template: str | None = None

    @property
    def max_length(self) -> int:
        """How many tokens may be given and predicted together."""
        return self.llm.n_ctx

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self._id(self.llm.tokenizer.eos_id, "EOS")

    @property
    def prefix_token_id(self) -> int:
        """What an empty context is: BOS, or EOS for a vocabulary without."""
        tokenizer = self.llm.tokenizer
        return self._id(tokenizer.eos_id if tokenizer.bos_id is None else tokenizer.bos_id, "BOS or EOS")

    @property
    def tokenizer_name(self) -> str:
        """Tells requests that the harness keeps from those of other vocabularies and templates."""
        return f"nybble-{self.llm.fingerprint()}"

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template that conversations are rendered by; a text is the name of one in the file."""
        if chat_template is False or chat_template is None:
            return None
        self._template = chat_template if isinstance(chat_template, str) else None
        template = self.llm.chat_template
        if template is None and self._template is None:
            raise RequestError(
                f"{self.llm.path} has no chat template; leave --apply_chat_template out, or give a template"
                " by chat_template=FILE in --model_args"
            )
        return template.source if self._template is None and template is not None else self._template

    def apply_chat_template(
        self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The text of a conversation; without `add_generation_prompt` its last message goes on."""
        return self.llm.render(
            chat_history,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            chat_template_kwargs=self._thinking,
            template=self._template,
        ).text

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The ids of a text, with names of control tokens read as such, as chat templates write them; with
        one BOS at the most."""
        tokenizer = self.llm.tokenizer
        ids: list[int] = tokenizer.encode(string, add_special=False, parse_special=True)
        adds = self._add_bos if add_special_tokens is None else add_special_tokens
        if adds and tokenizer.bos_id is not None and ids[:1] != [tokenizer.bos_id]:
            ids.insert(0, tokenizer.bos_id)
        return ids

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of each whole text, in windows as long as the context."""
        windows: list[list[_Pair]] = []
        for (text,) in (request.args for request in requests):
            found = get_rolling_token_windows(
                self.tok_encode(text, add_special_tokens=False), self.prefix_token_id, self.max_length, 1
            )
            windows.append([(None, *make_disjoint_window(window)) for window in found])
        scored = iter(self._loglikelihood_tokens([pair for each in windows for pair in each], disable_tqdm))
        sums = [sum(next(scored)[0] for _ in each) for each in windows]
        for request, logprob in zip(requests, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, logprob)
        return sums

    def _loglikelihood_tokens(
        self, requests: Sequence[_Pair], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        pairs, n_cut = [], 0
        for _, context, continuation in requests:
            n_over = len(context) + len(continuation) - 1 - self.max_length
            n_cut += n_over > 0
            # The harness does so with all models: the end is kept, and one token of the context.
            pairs.append((context[min(max(0, n_over), len(context) - 1) :], continuation))
        if n_cut:
            _log.warning(
                "%d of %d contexts were cut on the left to fit in n_ctx=%d",
                n_cut,
                len(requests),
                self.max_length,
            )
        scores = self.llm.score(pairs, progress=not disable_tqdm)
        found = [(score.logprob, score.is_greedy) for score in scores]
        for (asked, _, _), answer in zip(requests, found, strict=True):
            if asked is not None:
                self.cache_hook.add_partial("loglikelihood", asked, answer)
        return found

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """What follows each context, until one of its stop strings."""
        prompts, params, stops = [], [], []
        n_cut = 0
        for context, given in (request.args for request in requests):
            own, until = self._params(given)
            ids, n_room = self.tok_encode(context), self.max_length - own.max_tokens
            if n_room < 1:
                raise RequestError(
                    f"max_gen_toks={own.max_tokens} must be less than n_ctx={self.max_length}: choose a"
                    " larger n_ctx in --model_args, or a smaller max_gen_toks in --gen_kwargs"
                )
            n_cut += len(ids) > n_room
            prompts.append(ids[-n_room:])
            params.append(own)
            stops.append(until)
        if n_cut:
            _log.warning(
                "%d of %d contexts were cut on the left to fit, with what is generated, in n_ctx=%d",
                *(n_cut, len(requests), self.max_length),
            )
        texts = []
        outputs = self.llm.generate(prompts, params, progress=not disable_tqdm)
        for request, output, until in zip(requests, outputs, stops, strict=True):
            if output.error is not None:
                raise output.error
            text = postprocess_generated_text(output.text, until, self._think_end)
            self.cache_hook.add_partial("generate_until", request.args, text)
            texts.append(text)
        return texts

    def _params(self, given: Mapping[str, Any]) -> tuple[SamplingParams, list[str]]:
        """The parameters of a request, and its stop strings. RequestError for what would be ignored."""
        found: dict[str, Any] = dict(normalize_gen_kwargs(dict(given), self._max_gen_toks))
        if found.pop("do_sample") and "temperature" not in found:
            found["temperature"] = 1.0
        found = {name: value for name, value in found.items() if _NEUTRAL.get(name, _NEUTRAL) != value}
        found = {_RENAMED.get(name, name): value for name, value in found.items()}
        if unknown := sorted(found.keys() - _SAMPLING):
            raise RequestError(
                f"gen_kwargs has {unknown[0]!r:.100}, which nybble does not know; there are"
                f" {', '.join(sorted(_SAMPLING))}"
            )
        until = [text for text in found.pop("stop") if text]
        return SamplingParams(**found, stop=() if self._think_end else until), until

    def _id(self, found: int | None, name: str) -> int:
        if found is None:
            raise RequestError(f"the vocabulary of {self.llm.path} has no {name}, which the harness needs")
        return found


def main() -> None:
    """The harness's own command."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
