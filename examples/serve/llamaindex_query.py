"""LlamaIndex on a model of this machine, by the OpenAI endpoint: a question about some notes.

pip install "nybble[server]" llama-index-llms-openai-like
nybble serve smollm2
python examples/serve/llamaindex_query.py [http://127.0.0.1:8000/v1 [MODEL]]
"""

import sys

from llama_index.core import Document, SummaryIndex
from llama_index.llms.openai_like import OpenAILike

NOTES = ["The harbour opens at six.", "The ferry to the island takes forty minutes."]


def main() -> None:
    url, model = [*sys.argv[1:], *("http://127.0.0.1:8000/v1", "smollm2")[len(sys.argv) - 1 :]][:2]
    llm = OpenAILike(
        api_base=url,
        model=model,
        api_key="not needed",
        is_chat_model=True,
        context_window=2048,
        temperature=0,
        max_tokens=64,
    )
    index = SummaryIndex.from_documents([Document(text=note) for note in NOTES])
    print(index.as_query_engine(llm=llm).query("How long does the ferry take?"))


if __name__ == "__main__":
    main()
