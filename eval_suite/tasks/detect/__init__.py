"""The detect task: detectors fine-tuned on Pascal VOC from any backbone."""
