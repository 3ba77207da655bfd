"""The weights of a crop's utility: what the editor's choice was learned to be from score and content."""

import torch
from torch import Tensor, nn

FEATURES = 54  # columns of cropping.features


class Choice(nn.Module):
    """Utility of a candidate as a weighted sum of its features (`cropping.features`).

    One line for crops of a given ratio and one for those of any: a free ratio is a choice of shape too. The weights
    belong to one network, whose score is the first feature; the second is the appeal.
    """

    fixed: Tensor
    free: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fixed", torch.zeros(FEATURES))
        self.register_buffer("free", torch.zeros(FEATURES))

    def weights(self, free: bool) -> Tensor:
        """Utility for each unit of each feature, [F]."""
        return self.free if free else self.fixed
