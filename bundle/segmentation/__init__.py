"""The U-Net fine-tuned on the labels there are: warm start, loss, scores, evaluation, inference."""
