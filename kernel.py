"""For those who write a kernel or call one of nybble's: what kernels are written in, and some of them.

    from nybble.kernel import F32, I64, PointerTo, Record, kernel, load, share, store

docs/own_kernels.md writes one; docs/kernels.md and docs/quantized_linear.md go through nybble's.
"""

from .engine.plan.rope import rope_frequencies as rope_frequencies
from .gguf_io import formats as formats
from .gguf_io.codecs.k_quants import scales_and_mins as scales_and_mins
from .gguf_io.dequantize import dequantize as dequantize
from .gguf_io.formats import BlockFormat as BlockFormat
from .gguf_io.quantize import quantize as quantize
from .kernels.attention.cache_type import (
    CACHE_TYPES as CACHE_TYPES,
    CacheArray as CacheArray,
    CacheType as CacheType,
)
from .kernels.attention.kv_cache import (
    allocate_kv_cache as allocate_kv_cache,
    bind_cache_write as bind_cache_write,
    page_table as page_table,
)
from .kernels.attention.plain import bind_attend as bind_attend
from .kernels.attention.plain_scratch import attention_scratch as attention_scratch
from .kernels.attention.reference import attention_reference as attention_reference
from .kernels.jit.kernel import Call as Call, Kernel as Kernel, kernel as kernel
from .kernels.language.exponential import exp as exp
from .kernels.language.pointer import (
    F16 as F16,
    F32 as F32,
    I8 as I8,
    I16 as I16,
    I32 as I32,
    I64 as I64,
    U8 as U8,
    U16 as U16,
    Element as Element,
    Pointer as Pointer,
    cast as cast,
)
from .kernels.language.record import PointerTo as PointerTo, Record as Record
from .kernels.language.rows import (
    aligned_zeros as aligned_zeros,
    padded_width as padded_width,
    share as share,
)
from .kernels.language.simd import (
    absolute as absolute,
    add_lanes as add_lanes,
    bf16_to_f32 as bf16_to_f32,
    bits_to_f32 as bits_to_f32,
    bytes_to_i32 as bytes_to_i32,
    concatenate as concatenate,
    dot_signed as dot_signed,
    dot_spill as dot_spill,
    dot_start as dot_start,
    dot_start_signed as dot_start_signed,
    dot_sum as dot_sum,
    dot_unsigned as dot_unsigned,
    dot_words as dot_words,
    evens as evens,
    f32_to_bits as f32_to_bits,
    fma as fma,
    interleave as interleave,
    join as join,
    lane_numbers as lane_numbers,
    load as load,
    load_splat as load_splat,
    matrix_end as matrix_end,
    matrix_product as matrix_product,
    matrix_start as matrix_start,
    matrix_store as matrix_store,
    max_lanes as max_lanes,
    maximum as maximum,
    minimum as minimum,
    odds as odds,
    part as part,
    prefetch as prefetch,
    reduce_add as reduce_add,
    reduce_max as reduce_max,
    repeat as repeat,
    round_to_i32 as round_to_i32,
    splat as splat,
    spread_max as spread_max,
    sqrt as sqrt,
    store as store,
    tile as tile,
    to_f16 as to_f16,
    to_f32 as to_f32,
    to_i8 as to_i8,
    to_i16 as to_i16,
    transpose as transpose,
    where_less as where_less,
)
from .kernels.language.source import called as called, inlined as inlined
from .kernels.language.spans import one_span as one_span
from .kernels.language.unpack import Table as Table, lookup as lookup
from .kernels.linear.linear import linear_reference as linear_reference
from .kernels.linear.packed_product import working_memory as working_memory
from .kernels.linear.quantize_activations import quantize_reference as quantize_reference
from .kernels.linear.quantized import bind_quantized_linear as bind_quantized_linear
from .kernels.norm.rms_norm import bind_rms_norm as bind_rms_norm, rms_norm_reference as rms_norm_reference
from .kernels.position.rope import (
    bind_rope as bind_rope,
    rope_angles as rope_angles,
    rope_reference as rope_reference,
)
from .kernels.weights.pack import pack as pack
