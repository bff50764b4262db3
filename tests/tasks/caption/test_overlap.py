"""BLEU, ROUGE-L and CIDEr-D: by hand, and to the last digit what the toolkit's own classes say."""

import math
import random

import pytest
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from eval_suite.tasks.caption.overlap import Words, bleu, cider_d, counted, rouge_l


def made_up(images: int, words: int, seed: int) -> Words:
    """Captions of up to 14 of a few words, also of none, and one to six references each."""
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(f"w{draw.randrange(words)}" for _ in range(draw.randint(0, 14)))

    return Words(
        [text() for _ in range(images)],
        [[text() for _ in range(draw.randint(1, 6))] for _ in range(images)],
    )


@pytest.mark.parametrize(("images", "words"), [(1, 3), (2, 1), (40, 4), (40, 12), (40, 300)])
def test_every_digit_is_the_toolkits(images: int, words: int) -> None:
    made = made_up(images, words, seed=images + words)
    said = {number: [text] for number, text in enumerate(made.candidates)}
    known = dict(enumerate(made.references))
    grams = counted(made)
    total, each = Bleu(4).compute_score(known, said, verbose=0)
    found = bleu(made, grams)
    assert found.scores == total
    assert found.each.tolist() == each
    assert rouge_l(made).tolist() == Rouge().compute_score(known, said)[1].tolist()
    assert cider_d(made, grams).tolist() == Cider().compute_score(known, said)[1].tolist()
    assert cider_d(made).tolist() == cider_d(made, grams).tolist()


def test_bleu_by_hand() -> None:
    found = bleu(
        Words(["the cat sat", "a dog ran off"], [["the cat sat down"], ["a dog ran", "the dog ran off now"]])
    )
    # 7 words, closest references 4 and 3 or 5 (the shorter of two equally close): 7 in all, so no penalty.
    assert found.statistics[:, :2].tolist() == [[3, 4], [4, 3]]
    assert found.statistics[:, 2:6].tolist() == [[3, 2, 1, 0], [4, 3, 2, 0]]
    assert found.statistics[:, 6:].tolist() == [[3, 2, 1, 0], [4, 3, 2, 1]]
    assert found.scores[:3] == pytest.approx([1.0, 1.0, 1.0])
    short = bleu(Words(["the cat"], [["the cat sat down"]]))
    assert short.scores[0] == pytest.approx(math.exp(1 - 4 / 2))


def test_rouge_by_hand() -> None:
    (found,) = rouge_l(Words(["a b c"], [["a x c d"]]))
    precision, recall = 2 / 3, 2 / 4
    assert found == pytest.approx((1 + 1.44) * precision * recall / (recall + 1.44 * precision))
    assert rouge_l(Words(["a b", "x"], [["a b"], ["a b"]])).tolist() == [1.0, 0.0]


def test_cider_rewards_what_few_images_share() -> None:
    words = Words(
        ["a red fox jumps high", "a blue bird sings now", "a blue bird sings now"],
        [["a red fox jumps high"], ["a blue bird sings now"], ["a grey stone lies there"]],
    )
    found = cider_d(words)
    assert found[:2] == pytest.approx([10.0, 10.0], rel=1e-6)
    # Of the third only "a" matches, which stands in every image and so counts nothing.
    assert found[2] == pytest.approx(0.0)
