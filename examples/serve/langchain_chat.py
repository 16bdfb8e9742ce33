"""LangChain on a model of this machine, by the OpenAI endpoint: a chain, streamed, and a tool.

pip install "nybble[server,grammar]" langchain-openai
nybble serve smollm2
python examples/serve/langchain_chat.py [http://127.0.0.1:8000/v1 [MODEL]]
"""

import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI


@tool
def multiply(a: int, b: int) -> int:
    """The product of two numbers."""
    return a * b


def main() -> None:
    url, model = [*sys.argv[1:], *("http://127.0.0.1:8000/v1", "smollm2")[len(sys.argv) - 1 :]][:2]
    chat = ChatOpenAI(base_url=url, model=model, api_key="not needed", temperature=0, max_tokens=64)

    prompt = ChatPromptTemplate([("system", "Answer in one sentence."), ("user", "What is {thing}?")])
    for piece in (prompt | chat | StrOutputParser()).stream({"thing": "a tide"}):
        print(piece, end="", flush=True)
    print()

    answer = chat.bind_tools([multiply], tool_choice="multiply").invoke("What is 17 times 23?")
    for call in answer.tool_calls:
        print(call["name"], call["args"], "=", multiply.invoke(call["args"]))


if __name__ == "__main__":
    main()
