"""What a chat template costs: starting the process that renders, rendering, and the whole way to ids.

    python bench/templates.py smollm2

For conversations of several lengths; medians, in milliseconds. "in process" is the same without the other
process: the difference is what its safety costs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from table import print_table

import nybble
from nybble.engine.chat.render_process import reply_to
from nybble.engine.chat.renderer import Renderer
from nybble.engine.chat.template import ChatTemplate

WORDS = "The quick brown fox <b>jumps</b> over the lazy dog, again and again. "
N_TURNS = (1, 10, 100)


def milliseconds(work: Callable[[], object], n: int = 50) -> float:
    """The median of n runs, after one that does not count."""
    work()
    times = []
    for _ in range(n):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1e3


def conversation(n_turns: int) -> list[dict[str, str]]:
    """Questions and answers, some 70 characters each."""
    turn = [{"role": "user", "content": WORDS}, {"role": "assistant", "content": WORDS}]
    return [*turn * (n_turns - 1), turn[0]]


def start(template: ChatTemplate) -> float:
    """Starting a process and rendering once in it, in milliseconds."""

    def once() -> None:
        renderer = Renderer()
        renderer.ask({"source": template.source, "variables": {"messages": conversation(1)}})
        renderer.close()

    return milliseconds(once, 5)


def rendering(llm: nybble.LLM, template: ChatTemplate, messages: list[dict[str, str]]) -> list[float]:
    """Milliseconds of the template in this process, of that in the other one, and of the way to ids."""
    variables = {"messages": messages, "add_generation_prompt": True}
    request = {"source": template.source, "variables": variables}
    return [
        milliseconds(lambda: reply_to(request)),
        milliseconds(lambda: template.probe(variables)),
        milliseconds(lambda: llm.render(messages)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    args = parser.parse_args()
    rows = [("model", "turns", "start", "in process", "render", "with ids", "tokens")]
    for model in args.models:
        with nybble.LLM(model, n_ctx=512) as llm:
            template = llm.chat_template
            if template is None:
                parser.error(f"{model} has no chat template")
            started = start(template)
            for n_turns in N_TURNS:
                costs = [f"{cost:.2f}" for cost in rendering(llm, template, conversation(n_turns))]
                n_tokens = len(llm.render(conversation(n_turns)).token_ids)
                rows.append((llm.path.stem, str(n_turns), f"{started:.0f}", *costs, str(n_tokens)))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
