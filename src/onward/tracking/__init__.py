"""Where a run's numbers go beside its own folder: TensorBoard, MLflow, Weights & Biases, or a tracker of one's own."""
