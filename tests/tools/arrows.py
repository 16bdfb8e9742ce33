"""Who may import whom, inside the package: the rooms, each with the rooms and files that it may import.

A room is a folder without the folders in it, which are rooms of their own; a loose file may be one, too. An
arrow to a room or a file covers all that is in it. Inside a room everybody may import everybody. There are no
circles, neither of files nor of folders. `test_imports.py` wants the table to be exact: it has all rooms, and
no arrow that nobody uses.
"""

ARROWS = {
    "errors": "",
    "gguf_io.codecs": "",
    "system": "errors",
    "gguf_io": "system gguf_io.codecs errors",
    "engine.config": "gguf_io errors",
    "kernels.choices": "",
    "engine.plan.ops": "kernels.choices gguf_io",
    "engine.plan": "engine.plan.ops gguf_io errors",
    "engine.plan.graph": "engine.plan kernels.choices gguf_io errors",
    "engine.architectures.parts": "engine.plan kernels.choices engine.config gguf_io errors",
    "engine.architectures": "engine.architectures.parts kernels.choices engine.config errors",
    "architecture": "engine.architectures engine.config",
    "engine.hooks": "engine.plan gguf_io errors",
    "kernels.language": "",
    "kernels.target": "system errors",
    "kernels.codegen": "kernels.target kernels.language",
    "kernels.jit": "kernels.codegen kernels.target kernels.language system errors",
    "kernels.attention": "kernels.jit kernels.target kernels.language",
    "kernels.norm": "kernels.jit kernels.language",
    "kernels.elementwise": "kernels.norm kernels.jit kernels.language kernels.choices",
    "engine.executors.base": "kernels.elementwise kernels.attention engine.hooks engine.plan",
    "engine.executors.attention_probs": "engine.executors.base kernels.attention engine.hooks "
    "engine.plan.ops errors",
    "kernels.weights": "kernels.jit kernels.language gguf_io",
    "kernels.linear": "kernels.weights kernels.jit kernels.target kernels.language gguf_io",
    "engine.executors.numba.storage": "kernels.linear kernels.weights engine.executors.base "
    "kernels.attention kernels.jit kernels.target kernels.language engine.plan gguf_io system "
    "errors",
    "kernels.experts": "kernels.linear kernels.weights kernels.elementwise kernels.jit "
    "kernels.target kernels.language kernels.choices gguf_io",
    "kernels.position": "kernels.weights kernels.jit kernels.language kernels.choices gguf_io",
    "kernels.recurrent": "kernels.elementwise kernels.jit kernels.language",
    "engine.executors.numba.lower": "kernels.recurrent kernels.position kernels.experts "
    "engine.executors.numba.storage kernels.linear kernels.weights "
    "engine.executors.attention_probs kernels.elementwise kernels.norm kernels.attention "
    "kernels.jit kernels.language engine.plan errors",
    "engine.executors.numba": "engine.executors.numba.lower kernels.position "
    "engine.executors.numba.storage kernels.weights engine.executors.attention_probs "
    "engine.executors.base kernels.attention kernels.jit kernels.language engine.hooks "
    "engine.plan gguf_io system errors",
    "tokenizer": "gguf_io system errors",
    "engine.chat.formats": "errors",
    "engine.grammar": "tokenizer errors",
    "engine.chat": "engine.grammar engine.chat.formats tokenizer gguf_io system errors",
    "engine.executors.reference": "kernels.recurrent kernels.position kernels.experts "
    "kernels.linear engine.executors.attention_probs engine.executors.base kernels.elementwise "
    "kernels.norm kernels.attention engine.hooks engine.plan gguf_io",
    "engine.model": "engine.chat tokenizer engine.hooks engine.architectures engine.plan "
    "engine.config gguf_io errors",
    "kernels.sampling": "kernels.jit kernels.language",
    "engine.sampling": "kernels.sampling engine.grammar gguf_io errors",
    "engine.speculation": "engine.model errors",
    "engine.scheduler": "engine.speculation engine.executors.base kernels.attention engine.hooks "
    "engine.plan gguf_io system errors",
    "hub": "system errors",
    "engine.steering": "engine.hooks gguf_io errors",
    "engine.receipts": "engine.steering engine.scheduler engine.sampling engine.grammar "
    "kernels.target engine.hooks gguf_io system errors",
    "engine.generation": "engine.receipts hub engine.scheduler engine.speculation engine.sampling "
    "kernels.sampling engine.model engine.grammar tokenizer engine.executors.base engine.hooks "
    "gguf_io system errors",
    "engine.tracing": "engine.generation engine.scheduler engine.executors.reference "
    "engine.executors.base engine.hooks engine.plan gguf_io system errors",
    "engine.embedding": "engine.tracing engine.generation engine.scheduler engine.model "
    "engine.executors.reference tokenizer gguf_io errors",
    "engine.executors.choose": "engine.model engine.executors.reference engine.executors.numba "
    "engine.executors.base kernels.attention system errors",
    "engine.model_info": "engine.model tokenizer gguf_io",
    "engine.scoring": "engine.generation engine.scheduler engine.executors.base gguf_io system errors",
    "engine.answers": "engine.generation engine.receipts engine.sampling engine.chat engine.grammar "
    "tokenizer engine.executors.base engine.hooks gguf_io errors",
    "engine": "engine.answers engine.model_info engine.executors.choose engine.generation hub "
    "engine.sampling engine.model engine.chat tokenizer engine.executors.numba engine.hooks "
    "engine.config gguf_io errors",
    "engine.llm": "engine hub kernels.attention gguf_io system",
    "kernels.roofline": "kernels.jit kernels.target kernels.language",
    "engine.benchmark": "kernels.roofline engine.llm engine.executors.numba gguf_io errors",
    "engine.check": "engine.model engine.executors.numba kernels.attention gguf_io errors",
    "research": "engine.llm engine.tracing engine.generation engine.steering engine.hooks gguf_io "
    "system errors",
    "cli": "engine.benchmark kernels.jit kernels.target system errors",
    "engine.executors": "",
    "kernel": "kernels.position kernels.linear kernels.weights kernels.norm kernels.attention "
    "kernels.jit kernels.language engine.plan gguf_io",
    "kernels": "",
    "engine.backend": "engine.answers engine.model_info engine.embedding engine.generation "
    "engine.scheduler engine.sampling engine.chat engine.hooks",
    "cli.chat": "engine.backend cli engine.answers engine.sampling engine.chat system errors",
    "server.wire": "errors",
    "server.schema": "server.wire engine.sampling",
    "server.work": "server.schema server.wire engine.backend engine.embedding engine.steering "
    "engine.sampling engine.chat engine.hooks system errors",
    "server.models": "server.work server.wire engine hub errors",
    "server.apis": "server.models server.work server.schema server.wire engine.generation "
    "engine.sampling engine.chat engine.hooks system errors",
    "batch": "server.apis server.models server.work server.schema server.wire engine.llm "
    "engine.embedding system errors",
    "server.page": "",
    "server": "server.page server.apis server.models server.work server.schema server.wire "
    "engine.scheduler errors",
    "server.remote": "server.work engine hub kernels.attention system errors",
    "cli.options": "server.remote server.models server.work server.schema cli research engine hub "
    "kernels.attention system errors",
    "cli.commands": "server batch cli research engine.check engine.benchmark engine.llm "
    "engine.model_info engine.generation engine.receipts engine.steering hub engine.sampling "
    "kernels.sampling engine.model tokenizer kernels.jit engine.hooks gguf_io system errors",
    "testing": "engine.answers engine.model_info engine.embedding engine.generation "
    "engine.scheduler engine.sampling engine.chat tokenizer engine.hooks gguf_io errors",
    "sampling": "engine.sampling",
    "adapters": "engine.llm hub engine.sampling errors",
}
