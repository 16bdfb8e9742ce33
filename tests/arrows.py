"""Who may import whom, inside the package: the rooms, each with the rooms and files that it may import.

A room is a folder without the folders in it, which are rooms of their own; a loose file may be one, too. An
arrow to a room or a file covers all that is in it. Inside a room everybody may import everybody. There are no
circles, neither of files nor of folders. `test_imports.py` wants the table to be exact: it has all rooms, and
no arrow that nobody uses.
"""

ARROWS = {
    "gguf_io": "",
    "tokenizer": "gguf_io",
    "kernels": "gguf_io",
    "engine.chat": "tokenizer gguf_io",
    "engine.architectures": "engine.config engine.graph engine.keys engine.plan engine.tensor_shapes"
    " kernels.activation kernels.rope kernels.route gguf_io",
    "engine": "engine.architectures engine.chat tokenizer kernels gguf_io",
    "research": "engine gguf_io",
    "cli": "research engine kernels.object_cache kernels.sampling_kernels tokenizer gguf_io",
}
