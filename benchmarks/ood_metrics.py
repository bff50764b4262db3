"""Detection metrics: one sort for all six against a scikit-learn call for each.

scikit-learn: roc_auc_score, average_precision_score twice, and roc_curve twice, from which TNR at 95 % TPR, detection
accuracy and FPR at 95 % are read. The numbers are compared before anything is timed.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from timing import options, ratios, report, spread, take_turns

from eval_suite.tasks.ood.rates import Detection, detection

AIM = "<= 0.1"


def main() -> None:
    parser = options(__doc__, repeats=30, device=False)
    parser.add_argument("--items", type=int, default=10_000, help="confidences of each kind")
    parser.add_argument("--ties", action="store_true", help="round to three digits")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    known, outliers = rng.beta(5, 1, arguments.items), rng.beta(2, 1, arguments.items)
    if arguments.ties:
        known, outliers = known.round(3), outliers.round(3)
    found, expected = detection(known, outliers), with_scikit_learn(known, outliers)
    np.testing.assert_allclose(np.array(found, float), np.array(expected, float), rtol=0, atol=1e-10)
    seconds = take_turns(
        {
            "eval_suite": lambda: detection(known, outliers),
            "scikit-learn": lambda: with_scikit_learn(known, outliers),
        },
        arguments.repeats,
    )
    print(
        f"detection metrics, {arguments.items:,} + {arguments.items:,} confidences"
        f"{' with ties' if arguments.ties else ''}: {arguments.repeats} rounds, numbers equal to 1e-10"
    )
    for name, values in seconds.items():
        print(f"  {name:<13} {spread(values).scaled(1000).text('ms', 2)}")
    print(f"  time {report(ratios(seconds['eval_suite'], seconds['scikit-learn']), AIM)}")


def with_scikit_learn(known: NDArray[np.float64], outliers: NDArray[np.float64]) -> Detection:
    """The same six numbers by five calls."""
    scores = np.concatenate([known, outliers])
    is_known = np.arange(len(scores)) < len(known)
    fpr, tpr, _ = roc_curve(is_known, scores, drop_intermediate=False)
    fpr_out, tpr_out, _ = roc_curve(~is_known, -scores, drop_intermediate=False)
    return Detection(
        tnr=1 - fpr[np.argmax(tpr >= 0.95)],
        auroc=roc_auc_score(is_known, scores),
        accuracy=0.5 + 0.5 * (tpr - fpr).max(),
        aupr_in=average_precision_score(is_known, scores),
        aupr_out=average_precision_score(~is_known, -scores),
        fpr_outliers_positive=fpr_out[np.argmax(tpr_out >= 0.95)],
    )


if __name__ == "__main__":
    main()
