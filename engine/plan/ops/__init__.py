"""The operations that a plan is made of: what they have in common (`base`), and their families."""

from .base import Op as Op
from .dense import (
    Activate as Activate,
    Add as Add,
    AddVector as AddVector,
    Attention as Attention,
    Clamp as Clamp,
    Embed as Embed,
    GeluMul as GeluMul,
    JoinColumns as JoinColumns,
    LayerNorm as LayerNorm,
    Linear as Linear,
    Mul as Mul,
    PositionEmbed as PositionEmbed,
    QueryScale as QueryScale,
    RepeatColumns as RepeatColumns,
    RmsNorm as RmsNorm,
    Rope as Rope,
    Scale as Scale,
    ScaleColumns as ScaleColumns,
    SelectRows as SelectRows,
    SiluMul as SiluMul,
    SoftCap as SoftCap,
    SwigluOai as SwigluOai,
    TakeColumns as TakeColumns,
    Xielu as Xielu,
)
from .experts import (
    ExpertLinear as ExpertLinear,
    ExpertSum as ExpertSum,
    HeadLinear as HeadLinear,
    Route as Route,
)
from .recurrent import (
    Bonus as Bonus,
    CausalConv as CausalConv,
    Decay as Decay,
    DeltaRule as DeltaRule,
    GatedLinearAttention as GatedLinearAttention,
    GeneralizedDeltaRule as GeneralizedDeltaRule,
    L2Norm as L2Norm,
    LightningAttention as LightningAttention,
    Recurrent as Recurrent,
    SelectiveScan as SelectiveScan,
    TokenShift as TokenShift,
)
from .residual_streams import (
    KeepOutliers as KeepOutliers,
    MatchLength as MatchLength,
    MeanOfStreams as MeanOfStreams,
    MixStreams as MixStreams,
    PoolStreams as PoolStreams,
    Shift as Shift,
)
