"""What a file is that is not GGUF, by its first bytes, for error messages."""

import os
import re

_CONVERT = "convert the model to GGUF (llama.cpp's convert_hf_to_gguf.py)"
_DOWNLOAD = "the download went wrong"
_UNPACK = "unpack it first"

_MAGICS: tuple[tuple[bytes | tuple[bytes, ...], str], ...] = (
    (b"gguf", "GGUF's magic is in capitals"),
    (b"lmgg", f"a legacy GGML file; {_CONVERT}"),
    (b"tjgg", f"a legacy GGJT file; {_CONVERT}"),
    (b"fmgg", f"a legacy GGMF file; {_CONVERT}"),
    (b"algg", "a legacy LoRA adapter (GGLA), which is no model"),
    (b"nsgg", "a saved session of llama.cpp, which is no model"),
    (b"qsgg", "a saved sequence of llama.cpp, which is no model"),
    (
        (b"\x80\2", b"\x80\3", b"\x80\4", b"\x80\5"),
        f"a Python pickle, perhaps a PyTorch checkpoint; {_CONVERT}",
    ),
    (b"\x89HDF", f"an HDF5 file, perhaps a Keras checkpoint; {_CONVERT}"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", f"a gzip archive; {_UNPACK}"),
    (b"BZh", f"a bzip2 archive; {_UNPACK}"),
    (b"\xfd7zXZ\0", f"an xz archive; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a Zstandard archive; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (b"Rar!", f"a RAR archive; {_UNPACK}"),
    (b"MZqFpD", "a llamafile: a program with a model inside, which `unzip` takes out of it"),
    (b"\x7fELF", "a program"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself: fetch that with `git lfs pull`"),
)
_HEAD_BYTES = 4096
_N_NAMED = 5


def describe(data: memoryview) -> str:
    """What the bytes of a file look like, and what to do; "" if they look like nothing known.

    `data` is the whole file, of which the first 4 KiB are looked at.
    """
    head = bytes(data[:_HEAD_BYTES])
    for magic, found in _MAGICS:
        if head.startswith(magic):
            return found
    if head.startswith(b"PK\x03\x04"):
        is_pytorch = re.match(rb".{26}[^/]+/(data\.pkl|\.format_version|\.data/)", head, re.DOTALL)
        if is_pytorch:
            return f"a PyTorch checkpoint; {_CONVERT}"
        return f"a ZIP archive; {_UNPACK}, or if it is a PyTorch checkpoint, {_CONVERT}"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") <= len(data):
        return f"a safetensors file; {_CONVERT}"
    if re.match(rb".{4}[\x04-\x3f]\0\0\0(blk\.|output|token_embd)", head, re.DOTALL):
        return "an importance matrix (imatrix) in the form before GGUF, which is no model"
    if re.match(rb"\x08[\x01-\x40](\x12[\x01-\x40][\w .-]|:[\x80-\xff]{0,4}[\0-\x7f]\n)", head):
        return "an ONNX model, which nybble does not run; look for the same model in GGUF"
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head|\?xml)", head, re.IGNORECASE):
        return f"an HTML or XML page; {_DOWNLOAD}: take the address of the file itself"
    if head.strip(b"\0") == b"":
        return f"nothing but zeros so far; {_DOWNLOAD}, or has not come to an end"
    return _text(head)


def _text(head: bytes) -> str:
    """Describes a text, such as the message that a server sends instead of a file; "" if it is no text."""
    try:
        text = head[:200].decode("ascii").strip()
    except UnicodeDecodeError:
        return ""
    if not text or not all(letter.isprintable() or letter.isspace() for letter in text):
        return ""
    if re.match(r'[{\[]\s*["{\[\]}]', text):
        return "JSON, perhaps a model's configuration or a server's error; open the GGUF file instead"
    return f"a text, perhaps what a server said instead of sending the file: {text.splitlines()[0]:.80}"


def describe_folder(path: str) -> str:
    """The end of an error message about a folder: which models are in it, or that none is."""
    names = sorted(os.listdir(path))
    models = [name for name in names if name.endswith(".gguf")]
    if models:
        more = f" and {len(models) - _N_NAMED} more" if len(models) > _N_NAMED else ""
        return f"; open a file in it: {', '.join(models[:_N_NAMED])}{more}"
    if any(name.endswith((".safetensors", "pytorch_model.bin")) for name in names):
        return f" with a model that is not GGUF; {_CONVERT}"
    return ", and there is no GGUF file in it"
