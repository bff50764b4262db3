"""NIC: a picture's feature vector as the first word an LSTM reads, then the caption's words."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval_suite.backbones.backbone import Backbone
from eval_suite.backbones.embedding import embedding_of
from eval_suite.core.cards import BackboneCard
from eval_suite.tasks.caption.vocabulary import PAD, START, Vocabulary

State = tuple[Tensor, Tensor]


class NicDecoder(nn.Module):
    """Feature vectors to captions.

    Args:
        features: length of a feature vector.
        words: size of the vocabulary.
        embed: size of the word embedding, which the features are projected to.
        hidden: size of the LSTM's state.
        layers: layers of the LSTM.
        dropout: share of the LSTM's outputs dropped in training, also between its layers.

    Reference: Vinyals et al., Show and Tell, CVPR 2015, eq. 10-12; projection with batch normalisation as in the code
    that the CutMix paper's appendix D names.
    """

    def __init__(
        self, *, features: int, words: int, embed: int, hidden: int, layers: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.project = nn.Linear(features, embed)
        self.norm = nn.BatchNorm1d(embed, momentum=0.01)
        self.embedding = nn.Embedding(words, embed)
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(embed, hidden, layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, words)

    def loss(self, features: Tensor, captions: Tensor) -> Tensor:
        """Mean cross entropy of a word, padding left out.

        Args:
            features: (B, C).
            captions: (B, T) word numbers, each row ending in the end and then padding.
        """
        start = torch.full_like(captions[:, :1], START)
        read = torch.cat([start, captions[:, :-1]], dim=1)
        inputs = torch.cat([self._image(features)[:, None], self.embedding(read)], dim=1)
        said = self.lstm(inputs)[0][:, 1:]
        # The vocabulary's logits, most of the work, are made for true words only.
        counted = captions != PAD
        return F.cross_entropy(self.output(self.dropout(said[counted])), captions[counted])

    def begin(self, features: Tensor) -> State:
        """The LSTM's state (layers, B, hidden), twice, after it has read the features (B, C)."""
        state: State = self.lstm(self._image(features)[:, None])[1]
        return state

    def read(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one word (B,) each; returns what `output` makes the next word's logits of, (B, hidden), and the new state."""
        said, state = self.lstm(self.embedding(words)[:, None], state)
        return said[:, 0], state

    def _image(self, features: Tensor) -> Tensor:
        projected: Tensor = self.norm(self.project(features))
        return projected


class Reader:
    """Reads words as a decoder in evaluation mode does, and keeps what its first layer makes of each word.

    A search reads the same words over and over; half of a layer's product is then made once for each.

    Args:
        decoder: whose weights do not change while this is in use.
    """

    def __init__(self, decoder: NicDecoder) -> None:
        self._embedding = decoder.embedding
        self._layers = decoder.lstm.all_weights
        words, weight = decoder.embedding.num_embeddings, self._layers[0][0]
        self._known = torch.zeros(words, dtype=torch.bool, device=weight.device)
        self._products = weight.new_empty((words, len(weight)))

    def __call__(self, words: Tensor, state: State) -> tuple[Tensor, State]:
        """`NicDecoder.read`."""
        hidden, cell = state
        new_hidden, new_cell = torch.empty_like(hidden), torch.empty_like(cell)
        for layer, (into, recurrent, bias, recurrent_bias) in enumerate(self._layers):
            part = self._of_words(words) if layer == 0 else F.linear(new_hidden[layer - 1], into, bias)
            gates = torch.addmm(part.add_(recurrent_bias), hidden[layer], recurrent.T)
            enter, forget, candidate, leave = gates.chunk(4, dim=1)
            new_cell[layer] = forget.sigmoid_().mul_(cell[layer]).add_(enter.sigmoid_() * candidate.tanh_())
            torch.mul(leave.sigmoid_(), new_cell[layer].tanh(), out=new_hidden[layer])
        return new_hidden[-1], (new_hidden, new_cell)

    def _of_words(self, words: Tensor) -> Tensor:
        into, _, bias, _ = self._layers[0]
        new = words[~self._known[words]].unique()
        if len(new):
            self._products[new] = F.linear(self._embedding(new), into, bias)
            self._known[new] = True
        return self._products[words]


class Captioner(nn.Module):
    """A backbone and the decoder fitted to its features.

    Args:
        backbone: gives the feature maps.
        decoder: turns their means into captions.
        vocabulary: the decoder's words.

    Attributes:
        unreadable: training images that the fit had to do without.
    """

    def __init__(self, backbone: Backbone, decoder: NicDecoder, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.backbone, self.decoder, self.vocabulary = backbone, decoder, vocabulary
        self.unreadable: list[str] = []

    @property
    def card(self) -> BackboneCard:
        """The backbone's card."""
        return self.backbone.card


def pooled_features(backbone: Backbone, images: Tensor) -> Tensor:
    """The last feature map's mean over its places, or what stands for it: (B, C) of images (B, 3, H, W) in [0, 1]."""
    if backbone.card.feature_layer is None:
        return embedding_of(backbone).of(images).float()
    return backbone.features(images).float().mean(dim=(2, 3))
