"""Images in class folders."""

from functools import partial
from pathlib import Path
from typing import ClassVar

from eval_suite.core.errors import InputError
from eval_suite.data.layouts.base import (
    WITHOUT_SPLITS,
    ImageLayout,
    Layout,
    class_folders,
    common_classes,
    folder_content,
    folders,
    listing,
)


class ClassFolders(ImageLayout):
    """Class folders: PATH/{train,val,test}/<class>/, or PATH/<class>/ as the one split ``all``."""

    name: ClassVar[str] = "folder"

    @staticmethod
    def read(path: Path) -> Layout:
        """Class folders: PATH/{train,val,test}/<class>/, or PATH/<class>/ as the one split ``all``.

        Raises:
            InputError: if there is none, or they differ between the splits.
        """
        splits = [name for name in ("train", "val", "test") if (path / name).is_dir()]
        if splits:
            return class_folders(path, splits, common_classes(path, splits), ("val", "test"))
        classes = folders(path)
        if not classes:
            raise InputError(
                f"expected images in PATH/{{train,val,test}}/<class>/ or PATH/<class>/ of {path}, found {listing(path)}"
            )
        return Layout({WITHOUT_SPLITS: partial(folder_content, path, "", classes)})
