"""A first text, and where the time went.

    python examples/first_generation.py ["Once upon a time"]

The model is fetched and the kernels are compiled in the first run; later runs start in a second.
"""

import sys

import nybble

prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
params = nybble.SamplingParams(max_tokens=48, temperature=0.7, top_p=0.9, seed=1)

with nybble.LLM("smollm2", n_ctx=512) as llm:
    print(prompt, end="", flush=True)
    stream = llm.stream(prompt, params)
    for piece in stream:  # as they come; leaving the loop ends the work
        print(piece, end="", flush=True)

t = stream.timings
print(f"\n\nended by: {stream.finish_reason}")
print(f"loading {t.load_seconds:.2f} s, compiling {t.compile_seconds:.2f} s")
print(f"prompt: {t.n_prompt_tokens} tokens in {t.prefill_seconds:.3f} s")
print(
    f"text: {t.n_decode_tokens} more in {t.decode_seconds:.3f} s, {t.decode_tokens_per_second:.0f} a second"
)
