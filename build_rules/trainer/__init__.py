"""What the trainer's document says: hints, labels, preprocessing, tiling, anchors, and the words it may use."""
