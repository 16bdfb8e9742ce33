"""`LLM.chat` and its like: conversations become jobs, and these answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict, Unpack, overload

import numpy as np

from ...errors import RequestError
from ...tokenizer import Tokenizer
from ..chat.conversation import Conversation, Message
from ..chat.formats.base import NO_CALLS
from ..chat.template import ChatTemplate, RenderedChat
from ..chat.templates import ChatTemplates
from ..chat.tools import Tool, ToolChoice, checked_tool_choice, parameters_of
from ..executors.base import Ids
from ..generation.chat_tokenizer import ChatTokenizer
from ..generation.generator import Checked, Generator, OnNews
from ..generation.prompts import Prompts
from ..generation.request import Request
from ..generation.text import Text
from ..hooks.taps import Edits
from ..receipts.verification import Replay
from ..sampling.params import SamplingParams
from .chat_output import ChatOutput
from .chat_request import ChatRequest
from .chat_turn import ChatTurn
from .fitting import Overflow, fitting

Documents = Sequence[Mapping[str, Any]]


class ChatOptions(TypedDict, total=False):
    """The arguments of `LLM.chat` and `LLM.chat_stream`."""

    tools: Sequence[Tool] | None
    tool_choice: ToolChoice
    documents: Documents | None
    continue_final_message: bool | None
    chat_template_kwargs: Mapping[str, Any] | None
    template: str | None
    overflow: Overflow


class Chatter(Generator):
    """The part of an `LLM` that answers conversations."""

    _chat_templates: ChatTemplates | None

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Tool] | None = None,
        documents: Documents | None = None,
        add_generation_prompt: bool = True,
        continue_final_message: bool | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        template: str | None = None,
    ) -> RenderedChat:
        """The text of a conversation by the chat template, as the model was trained to see it, and its token
        ids, which are a prompt.

            chat = llm.render([{"role": "user", "content": "What is the capital of France?"}])
            llm.generate(chat.token_ids)

        `add_generation_prompt`: end where the answer begins. The other arguments, and what is raised: see
        `chat`.
        """
        conversation = Conversation.of(
            messages, tools, documents, chat_template_kwargs, add_generation_prompt, continue_final_message
        )
        return self._template(template, conversation).render(conversation, self._chat_tokenizer())

    @overload
    def chat(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatOutput: ...

    @overload
    def chat(
        self,
        messages: Sequence[Sequence[Message]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        edit: Edits | Sequence[Edits | None] | None = None,
        progress: bool = False,
        **options: Unpack[ChatOptions],
    ) -> list[ChatOutput]: ...

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        edit: Edits | Sequence[Edits | None] | None = None,
        progress: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatOutput | list[ChatOutput]:
        """Answers a conversation, or each of a list of conversations; by default greedily, up to 256 tokens.

            out = llm.chat([{"role": "user", "content": "What is the capital of France?"}])
            out.message.content, out.message.reasoning, out.message.tool_calls

        `messages`: {"role": "user", "content": "…"} and the like, as in the openai package; an answer's
        `message` can be put among them. Names of control tokens in them are plain text. A last message of the
        assistant is continued, unless `continue_final_message` is False.

        `tools`: what the model may call, each {"type": "function", "function": {"name": …, "description": …,
        "parameters": a JSON schema}}. `tool_choice`: "auto", "none", "required", or a tool's name, also as
        the openai package has it. A call is of one of the tools and follows its schema, by a grammar (extra
        `grammar`), which with "auto" begins with the call and leaves words alone. A schema or a format that
        cannot be enforced, or a missing extra, is an error for "required" and for a name; with "auto" the
        answer is then free, and what is no call in it is content. Beside a constraint in `params` there is
        no "auto" but what `json_schema` and `regex` leave: they or calls.

        `documents` and `chat_template_kwargs` are for the template, as {"enable_thinking": False}; one that
        it does not read is an error. `template`: the name of another template in the file, as "rag".

        `overflow`: what happens to a conversation that does not fit into the context: "error" raises
        RequestError; "drop_middle" leaves out the oldest turns after the system's message, and says so in
        `n_dropped_messages`.

        A list of conversations gives a list, and `params`, `edit` and `progress` are as in `generate`.

        Raises RequestError for messages or tools of another form, and if the template refuses them;
        ModelError if the template is broken.
        """
        turns: list[ChatTurn] = []

        def ids_of(conversation: Any) -> Ids:
            own = params[len(turns)] if isinstance(params, list) and len(turns) < len(params) else params
            turns.append(self._turn(conversation, own, **options))
            return np.asarray(turns[-1].prompt.token_ids, np.int32)

        self._begin()
        prompts = Prompts(messages, ids_of, "messages", is_one=_is_one(messages))
        jobs = map(self._answer_jobs, turns, self._checked_turns(prompts, turns, params, edit))
        if prompts.is_one:
            request = Request(self._driver, next(jobs))
            return turns[0].output(request.result())
        outputs = self._outputs(jobs, len(turns), progress)
        return [turn.output(output) for turn, output in zip(turns, outputs, strict=True)]

    def chat_stream(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatRequest:
        """Answers a conversation as `chat` does, and gives the answer piece by piece, with `for` or `async
        for`; leaving the loop ends the work. See `stream`.

            for delta in llm.chat_stream([{"role": "user", "content": "Name three colours."}]):
                print(delta.content, end="", flush=True)
        """
        turn, jobs = self._asked_turn(messages, params, edit, options)
        for job in jobs:
            job.waits = True
        return ChatRequest(Request(self._driver, jobs), turn)

    def chat_submit(
        self,
        messages: Sequence[Message],
        params: SamplingParams | None = None,
        *,
        edit: Edits | None = None,
        on_news: OnNews | None = None,
        **options: Unpack[ChatOptions],
    ) -> ChatRequest:
        """Answers a conversation as `chat` does, in the background; see `submit`."""
        turn, jobs = self._asked_turn(messages, params, edit, options)
        return ChatRequest(self._submitted(jobs, on_news), turn)

    def _asked_turn(
        self, messages: Any, params: Any, edit: Any, options: ChatOptions
    ) -> tuple[ChatTurn, Sequence[Text]]:
        """One conversation that is ready to run, and its jobs."""
        self._begin()
        turn = self._turn(messages, params, **options)
        prompts = Prompts(turn.prompt.token_ids, partial(np.asarray, dtype=np.int32), is_one=True)
        (checked,) = self._checked_turns(prompts, [turn], params, edit)
        return turn, self._answer_jobs(turn, checked)

    def _begin(self) -> None:
        self._check_usable()
        self.require_generation()

    def _turn(
        self,
        messages: Any,
        params: Any,
        *,
        tools: Any = None,
        tool_choice: Any = "auto",
        documents: Any = None,
        continue_final_message: bool | None = None,
        chat_template_kwargs: Any = None,
        template: str | None = None,
        overflow: Overflow = "error",
    ) -> ChatTurn:
        """A conversation, checked and rendered, and made to fit."""
        conversation = Conversation.of(
            messages, tools, documents, chat_template_kwargs, continue_final_message=continue_final_message
        )
        choice = checked_tool_choice(tool_choice, conversation.tools)
        if choice == "none":
            conversation = replace(conversation, tools=[])
        chosen = self._template(template, conversation)
        render = partial(chosen.render, tokenizer=self._chat_tokenizer())
        max_tokens = params.max_tokens if isinstance(params, SamplingParams) else SamplingParams().max_tokens
        prompt, n_dropped = fitting(conversation, render, self.n_ctx, max_tokens, overflow)
        schemas = {tool["function"]["name"]: parameters_of(tool) for tool in conversation.tools}
        is_told = any(name in prompt.text for name in schemas)
        if schemas and not is_told and chosen.answer_format.tools is NO_CALLS:
            raise RequestError(
                "this model cannot be told of `tools`, and calls none: its chat template does not show them;"
                " leave them out, or describe them in the system's message and read the answer yourself"
            )
        is_named = isinstance(choice, tuple)
        forced = choice if isinstance(choice, tuple) else tuple(schemas) if choice == "required" else ()
        return ChatTurn(prompt, chosen, schemas or None, forced, is_named, n_dropped)

    def _checked_turns(
        self, prompts: Prompts, turns: list[ChatTurn], params: Any, edit: Any
    ) -> list[Checked]:
        """What `_checked` gives, with the parameters that the turns need."""
        tokenizer = self._chat_tokenizer()
        given = prompts.matched("params", params, SamplingParams, SamplingParams(), "SamplingParams")
        own = []
        for i, turn in enumerate(turns):
            with prompts.naming(i):
                own.append(turn.params(given[i], tokenizer, self._grammars))
        return self._checked(prompts, own, edit)

    def _answer_jobs(self, turn: ChatTurn, checked: Checked) -> Sequence[Text]:
        ids, params, edit, on_token = checked
        tokenizer = self._chat_tokenizer()
        answer_format, control = turn.template.answer_format, tokenizer.control_names
        end_ids = [control[answer_format.end]] if answer_format.end in control else []
        text = ChatTokenizer(tokenizer, answer_format.shown_ids(control), end_ids)
        return self._jobs(ids, params, edit, on_token, text)

    def _replayed(self, replay: Replay) -> Request:
        """The text of a receipt, of a prompt or of a conversation, for `LLM.verify`."""
        self._begin()
        (checked,) = self._checked(self._prompts(replay.prompt_ids, is_one=True), replay.params, replay.edits)
        self._check_ids("eog_ids", replay.eog_ids)
        own, text = self._text.eog_ids, None
        if replay.eog_ids != own and isinstance(self._text, Tokenizer):
            text = ChatTokenizer(self._text, own - replay.eog_ids, replay.eog_ids)
        return Request(self._driver, [self._jobs(*checked, text)[replay.choice]])

    def _template(self, name: str | None, conversation: Conversation) -> ChatTemplate:
        if self._chat_templates is None:
            raise self._no_text()
        return self._chat_templates.find(name, bool(conversation.tools))

    def _chat_tokenizer(self) -> Tokenizer:
        if not isinstance(self._text, Tokenizer):
            raise self._no_text()
        return self._text

    def _no_text(self) -> RequestError:
        return RequestError(f"{self.path} has no tokenizer: it knows no text, and cannot chat")


def _is_one(messages: Any) -> bool:
    """Is it one conversation, and no list of them?"""
    is_list = isinstance(messages, Sequence) and not isinstance(messages, str | bytes) and len(messages) > 0
    return not (is_list and all(isinstance(item, list | tuple) for item in messages))
