"""The NIC decoder against a loop over words."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from eval_suite.tasks.caption.model import NicDecoder
from eval_suite.tasks.caption.vocabulary import END, PAD, START

CAPTIONS = torch.tensor([[5, 6, 7, END], [8, END, PAD, PAD], [4, 4, END, PAD]])
FEATURES = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def decoder() -> NicDecoder:
    torch.manual_seed(1)
    return NicDecoder(features=6, words=11, embed=5, hidden=7, layers=2).eval()


def said_one_by_one(decoder: NicDecoder, features: Tensor, caption: list[int]) -> list[float]:
    state, last, losses = decoder.begin(features[None]), START, []
    for word in caption:
        said, state = decoder.read(torch.tensor([last]), state)
        logits = decoder.output(said)
        losses.append(float(F.cross_entropy(logits, torch.tensor([word]))))
        last = word
    return losses


def test_the_loss_is_the_mean_over_true_words(decoder: NicDecoder) -> None:
    with torch.inference_mode():
        losses = [
            loss
            for features, caption in zip(FEATURES, CAPTIONS.tolist(), strict=True)
            for loss in said_one_by_one(decoder, features, [word for word in caption if word != PAD])
        ]
        assert len(losses) == 9
        assert float(decoder.loss(FEATURES, CAPTIONS)) == pytest.approx(sum(losses) / 9, rel=1e-6)


def test_padding_changes_nothing(decoder: NicDecoder) -> None:
    wider = F.pad(CAPTIONS, (0, 3), value=PAD)
    assert torch.allclose(decoder.loss(FEATURES, wider), decoder.loss(FEATURES, CAPTIONS))


def test_captions_hang_on_the_picture_and_gradients_reach_it(decoder: NicDecoder) -> None:
    features = FEATURES.clone().requires_grad_()
    decoder.loss(features, CAPTIONS).backward()
    assert features.grad is not None
    assert bool((features.grad.abs().sum(dim=1) > 0).all())
    with torch.inference_mode():
        first = decoder.read(torch.tensor([START] * 3), decoder.begin(FEATURES))[0]
    assert not torch.allclose(first[0], first[1])


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(2)
    decoder = NicDecoder(features=6, words=11, embed=5, hidden=7, dropout=0.5)
    losses = {round(float(decoder.eval().loss(FEATURES, CAPTIONS).detach()), 6) for _ in range(4)}
    assert len(losses) == 1
    losses = {round(float(decoder.train().loss(FEATURES, CAPTIONS).detach()), 6) for _ in range(4)}
    assert len(losses) == 4
