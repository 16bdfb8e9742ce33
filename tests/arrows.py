"""Who may import whom, inside the package: the rooms, each with the rooms and files that it may import.

A room is a folder without the folders in it, which are rooms of their own; a loose file may be one, too. An
arrow to a room or a file covers all that is in it. Inside a room everybody may import everybody. There are no
circles, neither of files nor of folders. `test_imports.py` wants the table to be exact: it has all rooms, and
no arrow that nobody uses.
"""

ARROWS = {
    "errors": "",
    "gguf_io.codecs": "",
    "system": "",
    "gguf_io": "system gguf_io.codecs errors",
    "tokenizer": "gguf_io errors",
    "engine.chat": "tokenizer gguf_io errors",
    "engine.config": "gguf_io errors",
    "kernels.names": "",
    "engine.plan.ops": "kernels.names gguf_io",
    "engine.plan": "engine.plan.ops gguf_io errors",
    "engine.hooks": "engine.plan engine.plan.ops gguf_io errors",
    "engine.executor": "engine.hooks",
    "kernels.language": "",
    "kernels.target": "system errors",
    "kernels.codegen": "kernels.target kernels.language",
    "kernels.jit": "kernels.codegen kernels.target kernels.language system errors",
    "kernels.sampling": "kernels.jit kernels.language",
    "engine.sampling": "kernels.sampling gguf_io errors",
    "engine.diagnosis": "engine.sampling engine.executor engine.hooks engine.plan engine.plan.ops gguf_io",
    "engine.context": "engine.diagnosis engine.sampling engine.executor engine.hooks engine.plan "
    "gguf_io errors",
    "engine.plan.graph": "engine.plan engine.plan.ops kernels.names gguf_io errors",
    "engine.architectures.parts": "engine.plan.graph engine.plan kernels.names engine.config gguf_io errors",
    "engine.architectures": "engine.architectures.parts engine.plan.graph kernels.names engine.config "
    "gguf_io errors",
    "engine.model": "engine.architectures engine.plan.graph engine.hooks engine.plan engine.config "
    "engine.chat tokenizer gguf_io errors",
    "engine.prompt": "errors",
    "kernels.norm": "kernels.jit kernels.language",
    "kernels.elementwise": "kernels.norm kernels.jit kernels.language kernels.names",
    "kernels.recurrent": "kernels.elementwise kernels.jit kernels.language",
    "engine.recurrent_reference": "kernels.recurrent engine.plan.ops gguf_io",
    "engine.reference_states": "engine.plan",
    "kernels.attention": "kernels.jit kernels.target kernels.language",
    "kernels.weights": "kernels.jit kernels.language gguf_io gguf_io.codecs",
    "kernels.linear": "kernels.weights kernels.jit kernels.target kernels.language gguf_io",
    "kernels.experts": "kernels.linear kernels.weights kernels.elementwise kernels.jit kernels.target "
    "kernels.language kernels.names gguf_io",
    "kernels.position": "kernels.weights kernels.jit kernels.language kernels.names gguf_io",
    "engine.reference_ops": "kernels.position kernels.experts kernels.linear kernels.attention "
    "engine.reference_states engine.recurrent_reference kernels.recurrent "
    "kernels.elementwise kernels.norm engine.plan.ops gguf_io",
    "engine.reranking": "tokenizer gguf_io errors",
    "engine.trace": "engine.context engine.hooks gguf_io system errors",
    "engine.embedding": "engine.trace engine.reranking engine.reference_ops engine.prompt engine.model "
    "engine.context engine.diagnosis gguf_io errors",
    "engine.compile_notice": "kernels.jit system",
    "engine.memory": "kernels.language",
    "engine.caches": "engine.memory kernels.attention kernels.language engine.plan",
    "engine.packed_matrix": "kernels.linear kernels.weights gguf_io errors",
    "engine.step": "engine.memory kernels.linear kernels.jit",
    "engine.kv_cache": "engine.step engine.caches engine.memory kernels.attention engine.plan.ops",
    "engine.probs": "kernels.attention engine.hooks engine.plan.ops errors",
    "engine.buffers": "engine.memory engine.plan engine.plan.ops",
    "engine.expert_steps": "engine.step engine.packed_matrix engine.memory kernels.experts engine.plan "
    "engine.plan.ops gguf_io",
    "engine.lowering": "engine.packed_matrix kernels.position kernels.recurrent kernels.elementwise "
    "kernels.norm kernels.jit engine.plan engine.plan.ops",
    "engine.packing": "engine.packed_matrix kernels.weights kernels.language gguf_io",
    "engine.program": "engine.packing engine.lowering engine.expert_steps engine.buffers engine.step "
    "engine.packed_matrix engine.memory kernels.position kernels.experts "
    "kernels.linear kernels.weights kernels.recurrent kernels.elementwise "
    "engine.plan engine.plan.ops gguf_io errors",
    "engine.recurrent_cache": "engine.step engine.packed_matrix engine.caches engine.memory kernels.recurrent "
    "kernels.jit engine.plan.ops",
    "engine.team": "kernels.jit errors",
    "engine.thread_count": "",
    "engine.plan_runner": "engine.thread_count engine.team engine.recurrent_cache engine.program "
    "engine.probs engine.kv_cache engine.step engine.packed_matrix engine.caches "
    "engine.memory kernels.position kernels.weights kernels.attention engine.hooks "
    "engine.plan engine.plan.ops gguf_io",
    "engine.numba_executor": "engine.plan_runner engine.program engine.packed_matrix engine.caches "
    "kernels.jit engine.hooks engine.plan engine.config",
    "engine.reference": "engine.probs engine.reference_ops kernels.position engine.reference_states "
    "engine.hooks engine.plan engine.plan.ops engine.config gguf_io",
    "engine.executors": "engine.reference engine.numba_executor engine.packed_matrix "
    "engine.compile_notice engine.model engine.sampling kernels.sampling "
    "engine.executor errors",
    "engine.generation": "engine.context engine.sampling kernels.sampling engine.hooks tokenizer gguf_io",
    "engine.linear_path": "engine.plan engine.plan.ops gguf_io errors",
    "engine.unembedding": "engine.linear_path engine.reference_ops engine.plan engine.plan.ops gguf_io "
    "errors",
    "hub": "system errors",
    "engine.llm": "hub engine.unembedding engine.linear_path engine.generation engine.executors "
    "engine.embedding engine.trace engine.reranking engine.prompt engine.model "
    "engine.context engine.sampling engine.hooks engine.config engine.chat "
    "tokenizer gguf_io system errors",
    "kernels.roofline": "kernels.jit kernels.target kernels.language",
    "engine.benchmark": "kernels.roofline engine.llm engine.team engine.memory gguf_io errors",
    "engine.footprint": "engine.numba_executor engine.buffers engine.packed_matrix engine.caches "
    "engine.plan system errors",
    "engine.verdict": "engine.footprint engine.program engine.model gguf_io errors",
    "research": "engine.llm engine.linear_path engine.trace engine.prompt engine.hooks gguf_io system errors",
    "cli": "research engine.verdict engine.benchmark engine.llm hub engine.generation "
    "engine.embedding engine.prompt engine.model engine.sampling kernels.sampling "
    "kernels.jit engine.hooks tokenizer gguf_io system errors",
    "engine": "",
    "engine.batch": "engine.numba_executor engine.plan_runner",
    "kernels": "",
}
