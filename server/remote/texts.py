"""The texts that run in an engine's process, and the message of a step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

from ...engine.generation.chat_tokenizer import ChatTokenizer
from ...engine.generation.text_job import TextJob
from ...engine.llm import LLM
from .messages import Begin, Begun, Cancel, News, TextEnd, TextNews, portable


class Texts:
    """Begins texts, and sends what comes of them: a message for all of a step."""

    def __init__(self, llm: LLM, send: Callable[[object], None]) -> None:
        self._llm, self._send = llm, send
        self._lock = threading.Lock()
        self._running: dict[tuple[int, int], _Text] = {}
        self._waiting: list[tuple[int, TextJob]] = []  # whose first step the front does not know of

    def begin(self, asked: Begin) -> None:
        """Lets the texts of a prompt run. What they raise ends them alone."""
        llm = self._llm
        try:
            text = None if asked.marks is None else ChatTokenizer(llm.tokenizer, *asked.marks)
            jobs = llm.text_jobs(asked.ids, asked.params, asked.edit, text)
            with self._lock:
                for choice, job in enumerate(jobs):
                    self._running[asked.key, choice] = _Text(job)
                    self._waiting.append((asked.key, job))
            llm.submit_texts(jobs, self.tell_news)
        except Exception as error:
            end = TextEnd(None, portable(error))
            with self._lock:
                for choice in range(asked.params.n):
                    self._running.pop((asked.key, choice), None)
            self._send(
                News.of(
                    [
                        TextNews(asked.key, choice, (), (), None, 0, (0.0, 0.0), 0, None, end)
                        for choice in range(asked.params.n)
                    ]
                )
            )

    def cancel(self, asked: Cancel) -> None:
        """Ends a text; the front hears of it as of any end."""
        with self._lock:
            text = self._running.get((asked.key, asked.choice))
        if text is not None:
            self._llm.scheduler.remove(text.job)

    def tell_begun(self) -> None:
        """Before a step: says of which requests it has tokens for the first time."""
        if not self._waiting:
            return
        with self._lock:
            begun = dict.fromkeys(key for key, job in self._waiting if job.has_begun)
            self._waiting = [each for each in self._waiting if not (each[1].has_begun or each[1].is_done)]
        if begun:
            self._send(Begun(list(begun)))

    def tell_news(self) -> None:
        """After a step: sends what has come."""
        with self._lock:
            running = list(self._running.items())
        news = list(_news(running))
        ended = [each for each in news if each.end is not None]
        if ended:
            with self._lock:
                for each in ended:
                    self._running.pop((each.key, each.choice), None)
        if news:
            self._send(News.of(news))


class _Text:
    """A job, and how much of it was sent."""

    def __init__(self, job: TextJob) -> None:
        self.job = job
        self._n_sent = 0
        self._has_prompt = False

    def new(self, key: int, choice: int) -> TextNews | None:
        """What is new; None for nothing."""
        job = self.job
        is_done = job.is_done  # before the pieces: more may come in between
        pieces = [job.pieces.popleft() for _ in range(len(job.pieces))]
        if not pieces and not is_done:
            return None
        first = self._n_sent
        self._n_sent = last = len(job.token_ids) if is_done else first + sum(len(p.token_ids) for p in pieces)
        end = None
        if is_done:
            error = None if job.error is None else portable(job.error)
            end = TextEnd(job.finish_reason, error)
        of_prompt = None if self._has_prompt else job.prompt_logprobs
        self._has_prompt = True
        return TextNews(
            key,
            choice,
            [(str(piece), len(piece.token_ids)) for piece in pieces],
            job.token_ids[first:last],
            None if job.logprobs is None else job.logprobs[first:last],
            job.n_chosen,
            (job.times[2], job.times[3]),
            job.n_cached_tokens,
            of_prompt,
            end,
        )


def _news(running: Sequence[tuple[tuple[int, int], _Text]]) -> Iterator[TextNews]:
    for (key, choice), text in running:
        if (new := text.new(key, choice)) is not None:
            yield new
