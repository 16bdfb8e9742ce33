"""What speculation brings: tokens a second with drafts, against the same without.

    python bench/drafts.py smollm2 -t 2 --draft ngram

On a text that is copied, and on prose; the texts are the same with and without. With and without take turns,
each some hundred tokens; figures are medians.
"""

import argparse
import statistics
import time
from pathlib import Path

from table import print_table

import nybble

CODE = Path(__file__).with_name("table.py").read_text(encoding="utf-8")
PROMPTS = {
    "copying": f"The file table.py:\n\n{CODE}\n\nThe file table.py once more:\n\n{CODE[:400]}",
    "prose": "Once upon a time, in a small village by the sea, there lived a girl who",
}


def speed(llm: nybble.LLM, prompt: str, params: nybble.SamplingParams) -> tuple[float, list[int]]:
    """Tokens a second after the first one, and the tokens."""
    request = llm.stream(prompt, params)
    next(request)
    started, n_first = time.perf_counter(), len(request.token_ids)
    for _ in request:
        pass
    return (len(request.token_ids) - n_first) / (time.perf_counter() - started), request.token_ids


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("--draft", default="ngram", metavar="MODEL", help="what drafts (%(default)s)")
    parser.add_argument("-n", "--decode", type=int, default=200, metavar="N", help="tokens (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument("--turns", type=int, default=7, metavar="N", help="(%(default)s)")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [("model", "text", "temperature", "without", "with drafts")]
    for name in args.models:
        with nybble.LLM(name, n_ctx=2048, n_threads=args.threads, draft=args.draft) as llm:
            for (text, prompt), temperature in ((item, t) for item in PROMPTS.items() for t in (0.0, 0.7)):
                found: dict[int | None, list[float]] = {0: [], None: []}
                for turn in range(args.turns + 1):
                    texts = []
                    for n_draft, speeds in found.items():
                        params = nybble.SamplingParams(
                            max_tokens=args.decode, temperature=temperature, seed=turn, n_draft=n_draft
                        )
                        one, ids = speed(llm, prompt, params)
                        texts.append(ids)
                        if turn:
                            speeds.append(one)
                    if texts[0] != texts[1]:
                        raise SystemExit("drafts have changed the text")
                without, drafted = (statistics.median(speeds) for speeds in found.values())
                cells = f"{without:.1f}", f"{drafted:.1f} ({drafted / without:.2f}x)"
                rows.append((name, text, f"{temperature:g}", *cells))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
