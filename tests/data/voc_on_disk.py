"""A devkit of one image, and the annotation that tests damage."""

from pathlib import Path

from PIL import Image

BOX = (2, 3, 20, 15)


def annotation(
    *,
    name: str = "dog",
    box: tuple[float, ...] = BOX,
    size: tuple[int, int] = (40, 30),
    head: str = "",
    file: str = "000001.jpg",
    difficult: int = 0,
) -> str:
    sides = "".join(f"<{s}>{v}</{s}>" for s, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return (
        f"{head}<annotation><filename>{file}</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        f"<object><name>{name}</name><difficult>{difficult}</difficult>"
        f"<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part><bndbox>{sides}</bndbox></object></annotation>"
    )


def write_devkit(root: Path) -> Path:
    """One image, one dog, in the test split of 2007."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / "VOC2007" / folder).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(root / "VOC2007/JPEGImages/000001.jpg")
    (root / "VOC2007/Annotations/000001.xml").write_text(annotation())
    (root / "VOC2007/ImageSets/Main/test.txt").write_text("000001\n")
    return root
