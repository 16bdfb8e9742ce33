"""`Config`: what the metadata says about a model, checked; what shapes and graph are made from."""

from dataclasses import MISSING, dataclass, fields

from ...gguf_io.display import Shown, brief
from .fields import ConfigFields


@dataclass(frozen=True, repr=False)
class Config(Shown, ConfigFields):
    """The numbers of a model, or of one of its layers (`at`): the fields, and what follows from them."""

    def _facts(self) -> dict[str, str]:
        """Without what keeps its default, which changes nothing."""
        defaults: dict[str, object] = {
            field.name: field.default if field.default_factory is MISSING else {} for field in fields(self)
        }
        values = {name: getattr(self, name) for name in defaults}
        return {name: brief(value) for name, value in values.items() if value != defaults[name]}

    @property
    def q_width(self) -> int:
        """Width of the queries: all heads side by side."""
        return self.n_heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Width of the keys."""
        return self.n_kv_heads * self.head_dim

    @property
    def v_width(self) -> int:
        """Width of the values."""
        return self.n_kv_heads * self.value_dim

    @property
    def qkv_width(self) -> int:
        """Width of queries, keys and values side by side."""
        return self.q_width + self.kv_width + self.v_width

    @property
    def heads_width(self) -> int:
        """Width of what the heads give: the input of the output matrix."""
        return self.n_heads * self.value_dim

    @property
    def n_own_kv_layers(self) -> int:
        """How many layers have keys and values of their own."""
        return self.n_layers + self.n_nextn - self.n_shared_kv_layers

    @property
    def has_own_kv(self) -> bool:
        """Does this layer have keys and values of its own?"""
        return self.layer < self.n_own_kv_layers

    @property
    def has_layer_inputs(self) -> bool:
        """Does each token bring something to every layer?"""
        return self.n_embd_per_layer > 0

    @property
    def n_chunk_experts(self) -> int:
        """How many smaller experts groups of experts share."""
        return self.n_experts // self.n_experts_per_group

    @property
    def chunk_expert_width(self) -> int:
        """Width of such a smaller expert."""
        return self.n_ff_chexp or self.head_dim

    @property
    def expert_width(self) -> int:
        """Width of what experts read and write."""
        return self.n_expert_latent or self.n_embd

    @property
    def mla_kv_width(self) -> int:
        """Width of the latent vector and the rotated key."""
        return self.kv_lora_rank + self.n_rot

    @property
    def mla_plain_dim(self) -> int:
        """How much of a head of latent attention is not rotated."""
        return self.mla_key_dim - self.n_rot

    @property
    def has_joint_kv(self) -> bool:
        """Are the matrices of latent attention's keys and values one?"""
        return not self.has_split_kv

    @property
    def n_lerps(self) -> int:
        """How many mixtures of a token with the one before there are, where their shares are fixed."""
        return 6 if self.gate_rank else 5

    @property
    def own_value_mix_rank(self) -> int:
        """The same for mixtures with the first layer's values, of which the first itself makes no use."""
        return self.in_context_rank if self.layer == 0 else self.value_mix_rank

    @property
    def kda_inner(self) -> int:
        """Width of the queries, keys, values and gates of Kimi Delta Attention: all heads side by side."""
        return self.kda_heads * self.kda_dim

    @property
    def hybrid_q_width(self) -> int:
        """Width of the queries of this layer, Kimi Delta Attention or latent attention."""
        return self.kda_inner if self.is_recurrent else self.n_heads * self.mla_key_dim

    @property
    def hybrid_heads_width(self) -> int:
        """Width of what the heads of this layer give, of the one kind or the other."""
        return self.kda_inner if self.is_recurrent else self.n_heads * self.mla_value_dim

    @property
    def ssm_channels(self) -> int:
        """Channels of a recurrent layer's convolution: values, and keys and queries of groups."""
        return self.ssm_inner + 2 * self.ssm_groups * self.ssm_state

    @property
    def ssm_dt_width(self) -> int:
        """Width of a mixer's time steps before their matrix."""
        return self.ssm_dt_rank or max(64, self.n_embd // 16)

    @property
    def ssm_group_width(self) -> int:
        """Width of a group of a mixer's heads."""
        return self.ssm_inner // self.ssm_groups

    @property
    def ssm_head_width(self) -> int:
        """Width of a recurrent layer's head."""
        return self.ssm_inner // self.ssm_heads

    @property
    def is_sliding(self) -> bool:
        """Does this layer see only `sliding_window` positions?"""
        return self.sliding_layers[self.layer]

    @property
    def is_stack_layer(self) -> bool:
        """Does the file have weights of this number, where there are two stacks?"""
        return self.layer < 2 * self.n_stack_layers

    @property
    def window(self) -> int:
        """How many positions this layer sees; 0: all."""
        return self.sliding_window if self.is_sliding else 0

    @property
    def is_recurrent(self) -> bool:
        """Does this layer keep a recurrent state instead of keys and values?"""
        return bool(self.recurrent_layers) and self.recurrent_layers[self.layer]

    @property
    def has_attention(self) -> bool:
        """Does this layer attend?"""
        return not self.is_recurrent

    @property
    def is_ffn_block(self) -> bool:
        """Where a block is only one thing: is it a feed-forward layer?"""
        return self.n_ff > 0

    @property
    def is_expert_block(self) -> bool:
        """Where a block is only one thing: is it a mixture of experts?"""
        return self.is_ffn_block and self.n_experts > 0

    @property
    def has_latent_experts(self) -> bool:
        """Where a block is only one thing: is it experts on a shorter vector?"""
        return self.is_expert_block and self.n_expert_latent > 0

    @property
    def is_dense_block(self) -> bool:
        """Where a block is only one thing: is it a feed-forward layer without experts?"""
        return self.is_ffn_block and self.n_experts == 0

    @property
    def is_attention_block(self) -> bool:
        """Where a block is only one thing: is it attention?"""
        return self.n_ff == 0 and self.n_kv_heads > 0

    @property
    def is_ssm_block(self) -> bool:
        """Where a block is only one thing: is it a mixer with a recurrent state?"""
        return self.n_ff == 0 and self.n_kv_heads == 0

    @property
    def has_experts(self) -> bool:
        """Is this layer's feed-forward layer a mixture of experts?"""
        is_late = self.layer >= self.n_dense_layers
        return self.n_experts > 0 and is_late and (self.layer + 1) % self.moe_layer_step == 0

    @property
    def is_dense(self) -> bool:
        """Is this layer's feed-forward layer an ordinary one?"""
        return not self.has_experts

    @property
    def has_shared_expert(self) -> bool:
        """Do all tokens of this layer go to one more expert?"""
        return self.has_experts and self.n_ff_shexp > 0
