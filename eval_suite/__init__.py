"""Train image backbones, and measure what the training did to them.

The names of ``__init__.pyi`` are this package's public Python API; each is imported when it is first used, so that
``import eval_suite`` takes no time and no torch.

>>> import eval_suite as es
>>> backbone = es.load_backbone("timm:resnet50.a1_in1k")  # doctest: +SKIP
>>> record = es.evaluate(backbone, "ood", data="cifar10:data", outliers=["svhn:data/svhn"])  # doctest: +SKIP
>>> record["auroc"].value, record["auroc"].interval  # doctest: +SKIP
>>> es.compare([record_a, record_b], baseline="a")  # doctest: +SKIP
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
