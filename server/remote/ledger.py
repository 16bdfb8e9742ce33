"""What was asked of an engine and is not done: sent to its process, and after a death to the next one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from ...system.asker import AskerLeftError
from .errands import Errand, RemoteCall, RemotePrompt, RemoteText
from .messages import Answer, Begun, Cancel, News

_N_DEATHS_MAX = 3
"""Of processes that were at a request before anything came of it; then it is thought to be the cause."""

Send = Callable[[object], None]
OnNews = Callable[[], object]


class Ledger:
    """Errands in the order in which they came. `translated` gets what a process says that it has failed with,
    and gives what the front makes of it."""

    def __init__(self, translated: Callable[[BaseException], BaseException]) -> None:
        self.news = threading.Condition(threading.RLock())
        """Its lock is that of the ledger, and it is told when something has come."""
        self._translated = translated
        self._send: Send | None = None  # to the process; None: there is none
        self._errands: dict[int, Errand] = {}
        self._unsent: deque[int] = deque()
        self._n_keys = 0
        self._suspect: int | None = None  # is sent, and was there twice when a process died
        self._has_removed = False

    def add(self, errand: Errand) -> None:
        """Takes one in, and sends it if there is a process. Raises what pickling raises."""
        with self.news:
            self._sweep()
            self._n_keys += 1
            key = self._n_keys
            self._errands[key] = errand
            self._unsent.append(key)
            try:
                self._send_all()
            except BaseException:
                self._drop(key)
                raise

    def remove(self, text: RemoteText) -> None:
        """Nobody wants this text any more. It may be called at any moment, even by the garbage collection:
        so it changes nothing here by itself."""
        text.is_done = True
        self._has_removed = True
        send, key = self._send, text.prompt.key
        if send is not None and key is not None:
            send(Cancel(key, text.choice))

    def give_up(self, call: RemoteCall) -> None:
        """Nobody waits for this call any more: it ends here at once, and in the engine within a step."""
        with self.news:
            if call.is_done:
                return
            call.fail(AskerLeftError())
            self._has_removed = True
            if self._send is not None and call.key is not None:
                self._send(Cancel(call.key))

    def begin(self, send: Send) -> None:
        """There is a process, by `send`: all that waits is sent."""
        with self.news:
            self._send, self._suspect = send, None
            self._send_all()

    def read(self, message: object) -> bool:
        """Takes in what a process says; -> has a text failed?"""
        if isinstance(message, News):
            return self._read_news(message)
        with self.news:
            if isinstance(message, Answer):
                if isinstance(call := self._errands.get(message.key), RemoteCall):
                    error = message.error
                    if not call.is_done:
                        call.take(
                            message if error is None else message._replace(error=self._translated(error))
                        )
                    self._drop(message.key)
            elif isinstance(message, Begun):
                for key in message.keys:
                    if isinstance(errand := self._errands.get(key), RemotePrompt):
                        errand.has_begun = True
        return False

    def after_death(self, error: Callable[[str], BaseException]) -> None:
        """The process has died: those of whose work something has come fail with `error(what to do)`, the
        others wait for the next one."""
        failed: list[tuple[Errand, str]] = []
        with self.news:
            self._send = self._suspect = None
            self._unsent.clear()
            for key, errand in list(self._errands.items()):
                if errand.is_sent and errand.has_begun:
                    errand.n_deaths += 1
                if errand.is_done:
                    del self._errands[key]
                elif errand.has_come:
                    failed.append((errand, "ask again"))
                    del self._errands[key]
                elif errand.n_deaths >= _N_DEATHS_MAX:
                    failed.append((errand, "it was at this request three times, which is not tried again"))
                    del self._errands[key]
                else:
                    errand.forget_engine()
                    self._unsent.append(key)
        self._fail(failed, error)

    def fail_all(self, error: Callable[[], BaseException]) -> None:
        """Ends everything with an error, each with one of its own."""
        with self.news:
            failed = [(errand, "") for errand in self._errands.values() if not errand.is_done]
            self._errands.clear()
            self._unsent.clear()
            self._suspect = None
        self._fail(failed, lambda _: error())

    def _fail(self, failed: list[tuple[Errand, str]], error: Callable[[str], BaseException]) -> None:
        told: set[OnNews | None] = set()
        for errand, what_to_do in failed:
            errand.fail(error(what_to_do))
            if isinstance(errand, RemotePrompt):
                told |= {text.on_news for text in errand.texts}
        self._tell(told)

    def _read_news(self, message: News) -> bool:
        told: set[OnNews | None] = set()
        has_failed = False
        with self.news:
            for news in message.texts:
                prompt = self._errands.get(news.key)
                if not isinstance(prompt, RemotePrompt):
                    continue
                text = prompt.texts[news.choice]
                if not text.is_done:
                    text.take(news)
                    told.add(text.on_news)
                    if text.error is not None:
                        text.error, has_failed = self._translated(text.error), True
                if prompt.n_deaths:  # it is not what kills
                    prompt.n_deaths = 0
                    self._clear(news.key)
                if news.end is not None and prompt.is_done:
                    self._drop(news.key)
        self._tell(told)
        return has_failed

    def _tell(self, told: set[OnNews | None]) -> None:
        with self.news:
            self.news.notify_all()
        for on_news in told:
            if on_news is not None:
                on_news()

    def _send_all(self) -> None:
        """Sends what is not sent. Those that may have killed a process twice go one at a time."""
        if self._send is None:
            return
        held = []
        while self._unsent:
            key = self._unsent.popleft()
            errand = self._errands.get(key)
            if errand is None:
                continue
            if errand.is_done:
                self._drop(key)
            elif errand.n_deaths >= _N_DEATHS_MAX - 1 and self._suspect is not None:
                held.append(key)
            else:
                if errand.n_deaths >= _N_DEATHS_MAX - 1:
                    self._suspect = key
                errand.is_sent = True
                self._send(errand.message(key))
                if isinstance(errand, RemotePrompt):
                    for text in errand.texts:
                        if text.is_done:
                            self._send(Cancel(key, text.choice))
        self._unsent.extend(held)

    def _drop(self, key: int) -> None:
        self._errands.pop(key, None)
        self._clear(key)

    def _clear(self, key: int) -> None:
        """This one has not killed the process, if it was a suspect."""
        if self._suspect == key:
            self._suspect = None
            self._send_all()

    def _sweep(self) -> None:
        """Forgets what nobody wants, and no process knows of."""
        if self._has_removed and self._send is None:
            self._has_removed = False
            self._unsent = deque(key for key in self._unsent if not self._is_unwanted(key))

    def _is_unwanted(self, key: int) -> bool:
        if not self._errands[key].is_done:
            return False
        del self._errands[key]
        return True
